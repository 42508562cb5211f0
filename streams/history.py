"""History: an authority's past, told in log days as if it happened now.

Day after day: that day's messages are produced, intake is waited for, and then a heartbeat for the
end of the day goes to every partition of the log. So each message is known at the log time at which
it was known then, and time passes between them, which is what timers live from. An authority that is
live already has its own clock: a backfill into it is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import NamedTuple, Protocol

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from ehps.library import Library
from schemas.control import Control, Heartbeat
from schemas.topics import AGENCY_TOPICS, LOG, UNLINKED, source_of
from streams.config import Settings
from streams.content import library as library_of
from streams.errors import StreamsError
from streams.kafka import Sender, partitions_of, producer
from streams.logwriter import LogWriter
from streams.publish import Publisher, room_of
from streams.store import HISTORY, LIVE, Registry
from streams.throttle import LATEST

DAY_S = 86_400
WAIT_DEADLINE_S = 60.0
"""Longest that a consumer group may make no progress at all before the backfill gives up."""
_POLL_S = (0.002, 0.05)
_REQUEST_S = 10.0

Place = tuple[str, int]


class NotDrained(StreamsError):
    """A consumer group does not get on: its worker is stopped or stuck."""


class AlreadyLive(StreamsError):
    """The authority has a live clock: its past cannot be told as past any more."""


class Item(NamedTuple):
    """One message of the past and the second (since 1970) at which EHPS would have had it."""

    known_s: int
    topic: str
    key: bytes
    value: bytes


class Day(NamedTuple):
    """A log day that is told: its end (s since 1970), its messages, and all messages so far."""

    end_s: int
    messages: int
    total: int


class Clock(Protocol):
    """Writes controls and heartbeats of one authority to every partition of the log."""

    def control(self, control: Control) -> None:
        """Write a control and confirm it."""

    def beat(self, heartbeat: Heartbeat) -> None:
        """Write a heartbeat and confirm it."""


class Groups:
    """Committed offsets of consumer groups, over one connection."""

    def __init__(self, bootstrap: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})

    def committed(self, group: str, places: Iterable[Place]) -> dict[Place, int]:
        """Offsets that a group has finished; 0 where it never committed."""
        wanted = [TopicPartition(*place) for place in places]
        if not wanted:
            return {}
        request = [ConsumerGroupTopicPartitions(group, wanted)]
        answer = self._admin.list_consumer_group_offsets(request, request_timeout=_REQUEST_S)
        found = answer[group].result().topic_partitions
        return {(at.topic, at.partition): max(at.offset, 0) for at in found}

    def ends(self, topic: str) -> dict[Place, int]:
        """Next offset of every partition of a topic that has records."""
        count = len(self._admin.list_topics(topic, timeout=_REQUEST_S).topics[topic].partitions)
        asked = {TopicPartition(topic, number): LATEST for number in range(count)}
        found = self._admin.list_offsets(asked, request_timeout=_REQUEST_S)
        ends = {(at.topic, at.partition): future.result().offset for at, future in found.items()}
        return {at: end for at, end in ends.items() if end}

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


class Backfill:
    """Tells one authority's past.

    Args:
        la: ONS code of the authority.
        publisher: sends the messages.
        clock: writes control and heartbeats to the log.
        wait: called with the offsets to reach after each day's messages: returns once every reader
            between them and the log has finished them.
        library: names the content that the first control puts in force.
    """

    def __init__(
        self,
        la: str,
        publisher: Publisher,
        clock: Clock,
        wait: Callable[[Mapping[Place, int]], None],
        library: Library,
    ) -> None:
        self._la = la
        self._publisher = publisher
        self._clock = clock
        self._wait = wait
        self._library = library
        self._signs: dict[str, datetime] = {}

    def run(self, items: Iterable[Item]) -> Iterator[Day]:
        """Publish `items`, messages of this authority in order of `known_s`, a day at a time."""
        total, next_end = 0, 0
        for number, group in groupby(items, key=lambda item: item.known_s // DAY_S):
            begin = number * DAY_S
            if not next_end:
                next_end = begin + DAY_S
                self._begin(begin)
            while next_end <= begin:
                yield self._end_day(next_end, 0, total)
                next_end += DAY_S
            count = self._publish(group)
            total += count
            yield self._end_day(next_end, count, total)
            next_end += DAY_S

    def _begin(self, begin_s: int) -> None:
        """The first control and heartbeat; a second backfill repeats them, and ids and times tell."""
        moment = datetime.fromtimestamp(begin_s, UTC)
        self._clock.control(self._library.default_control(self._la, moment, "live"))
        self._clock.beat(Heartbeat(la=self._la, time=moment, sources={}))

    def _publish(self, items: Iterable[Item]) -> int:
        """Send a day's messages and wait until they are on the log.

        Links go first: a link and its person's first event often come on one day, and which of two
        topics is read first would otherwise decide what is parked.
        """
        day = list(items)
        self._send([item for item in day if item.topic not in AGENCY_TOPICS])
        events = [item for item in day if item.topic in AGENCY_TOPICS]
        for item in events:
            self._signs[source_of(item.topic)] = datetime.fromtimestamp(item.known_s, UTC)
        self._send(events)
        return len(day)

    def _send(self, items: list[Item]) -> None:
        before = dict(self._publisher.ends)
        for item in items:
            self._publisher.send(item.topic, item.key, item.value)
        self._publisher.flush()
        ends = self._publisher.ends
        self._wait({at: end for at, end in ends.items() if end > before.get(at, 0)})

    def _end_day(self, end_s: int, count: int, total: int) -> Day:
        moment = datetime.fromtimestamp(end_s, UTC)
        self._clock.beat(Heartbeat(la=self._la, time=moment, sources=dict(self._signs)))
        return Day(end_s, count, total)


def backfill(
    settings: Settings, registry: Registry, la: str, items: Iterable[Item]
) -> Iterator[Day]:
    """Tell the past of an authority that is not live, over the workers that run.

    Raises:
        AlreadyLive: its clock is the real one; publish without history, and it is known now.
    """
    if registry.authorities().get(la) == LIVE:
        msg = f"{la} is live already: its past cannot be told as past; publish without --history"
        raise AlreadyLive(msg)
    # Before anything else: from here on the live heartbeat writer leaves the authority alone.
    registry.set_authority(la, HISTORY)
    client = producer(settings.kafka)
    room = room_of(settings, client)
    clock = LogWriter(Sender(client, room), partitions_of(settings.kafka, LOG))
    wait = waiting(settings, Groups(settings.kafka))
    return Backfill(la, Publisher(client, room), clock, wait, library_of(settings.content)).run(
        items
    )


def waiting(settings: Settings, groups: Groups) -> Callable[[Mapping[Place, int]], None]:
    """A function that returns once intake and agents have finished what was produced."""

    def wait(ends: Mapping[Place, int]) -> None:
        events = {at: end for at, end in ends.items() if at[0] in AGENCY_TOPICS}
        groups.wait(settings.intake_group, events)
        groups.wait(settings.agents_group, {at: ends[at] for at in ends.keys() - events.keys()})
        if events:  # those of people without a family are parked, or released, by the agents
            groups.wait(settings.agents_group, groups.ends(UNLINKED))

    return wait
