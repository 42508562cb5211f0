"""Consumer groups seen from outside: how far they are, who is in them, and waiting for them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.errors import BrokerUnavailable, StreamsError
from streams.kafka import REQUEST_S, consumer, watermarks

WAIT_DEADLINE_S = 60.0
"""Longest that a consumer group may make no progress at all before waiting for it is given up."""
_POLL_S = (0.002, 0.05)
_SOON = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError._TRANSPORT,
}
"""A broker that has just started finds its groups in a moment."""

Place = tuple[str, int]


class NotDrained(StreamsError):
    """A consumer group does not get on: its worker is stopped or stuck."""


class Groups:
    """Committed offsets of consumer groups. Looks on: it joins none of them."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._lookers: dict[str, Consumer] = {}

    def committed(self, group: str, places: Iterable[Place]) -> dict[Place, int]:
        """Offsets that a group has finished; 0 where it never committed.

        Raises:
            BrokerUnavailable: nobody answers.
        """
        wanted = [TopicPartition(*place) for place in places]
        if not wanted:
            return {}
        # Not the admin client's call: before the broker has a coordinator, that one ends the process.
        looker = self._lookers.get(group)
        if looker is None:
            looker = self._lookers[group] = consumer(self._bootstrap, group)
        deadline = time.monotonic() + REQUEST_S
        while True:
            try:
                found = looker.committed(wanted, timeout=REQUEST_S)
                return {(at.topic, at.partition): max(at.offset, 0) for at in found}
            except KafkaException as error:
                if error.args[0].code() not in _SOON or time.monotonic() > deadline:
                    raise BrokerUnavailable(
                        f"Kafka at {self._bootstrap} does not tell the offsets of group {group}: "
                        f"{error.args[0].str()}"
                    ) from error
                time.sleep(0.1)

    def wait(
        self, group: str, ends: Mapping[Place, int], deadline_s: float = WAIT_DEADLINE_S
    ) -> None:
        """Return once the group has committed up to `ends`.

        Raises:
            NotDrained: it made no progress for `deadline_s` seconds.
        """
        delay, deadline, best = _POLL_S[0], time.monotonic() + deadline_s, -1
        while True:
            done = self.committed(group, ends)
            behind = {
                at: end - done.get(at, 0) for at, end in ends.items() if done.get(at, 0) < end
            }
            if not behind:
                return
            if (now := sum(done.values())) > best:
                best, deadline = now, time.monotonic() + deadline_s
            if time.monotonic() > deadline:
                (topic, partition), count = next(iter(behind.items()))
                msg = (
                    f"group {group} is {count} records behind in {topic} partition {partition} and "
                    f"made no progress for {deadline_s:g} s: is its worker running? (`ehps doctor`)"
                )
                raise NotDrained(msg)
            time.sleep(delay)
            delay = min(delay * 1.5, _POLL_S[1])

    def ends(self, topic: str) -> dict[Place, int]:
        """Next offset of every partition of a topic that has records."""
        marks = watermarks(self._bootstrap, topic)
        return {(topic, partition): high for partition, (_, high) in marks.items() if high}

    def members(self, groups: Sequence[str]) -> dict[str, int]:
        """How many readers each group has; nothing where the broker cannot tell (the embedded one cannot)."""
        admin = AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 2})
        answers = admin.describe_consumer_groups(list(groups), request_timeout=REQUEST_S)
        found = {}
        for group, future in answers.items():
            with contextlib.suppress(KafkaException):
                found[group] = len(future.result().members)
        return found
