"""Keeps producers within what the embedded broker can hold.

A partition of librdkafka's mock cluster keeps the newest 5 MiB (and 100,000 batches) in memory and
drops older ones without a word. So before a record is produced its topic must have room: every
reader that matters has to be close enough behind. A real broker needs none of this: use
`NoThrottle` there.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AdminClient,
    OffsetSpec,
)

from streams.errors import StreamsError

LIMIT_BYTES = 2 << 20
"""Unread bytes allowed in a partition: 2 of 5 MiB, since sizes are means and producers several."""
SEGMENTS_GROUP = "ehps-segments"
"""Group under which the archiver of the embedded stack commits: the reader that every topic has."""
BACKLOG_RECORDS_MAX = 50_000
"""Each record may be a batch of its own, and the broker keeps 100,000 batches."""
GRANT_BYTES_MAX = 256 << 10
GRANT_SECONDS_MAX = 1.0
"""What may be produced before looking again: small and short, as others hold grants too."""
RECORD_OVERHEAD_BYTES = 100
"""Headers of a batch of one record, rounded up."""
FIRST_MEAN_BYTES = 4096
"""Assumed size of a record until the sizes that were really announced outweigh it."""

LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the package does not type it
_MEAN_WEIGHT = 0.02
_BACK_OFF_S = (0.002, 0.020)
_REQUEST_TIMEOUT_S = 5.0


class ThrottleStalled(StreamsError):
    """A reader did not make room before the deadline: it is stopped or stuck."""


class NoThrottle:
    """For real brokers, which keep what they accept: there is always room."""

    def room(self, topic: str, nbytes: int, records: int = 1) -> None:
        """Return at once."""

    def close(self) -> None:
        """Nothing is held."""


class Throttle:
    """Blocks a producer while the readers of a topic are too far behind. Thread-safe.

    Args:
        bootstrap: Address of the embedded broker, "host:port".
        readers: Consumer groups that must have read a topic's records before they may be dropped;
            the archiver is always one of them, and the only one of a topic that is not named here.
        limit_bytes: Unread bytes allowed in any partition, > 0.
        producer: The producer whose records are announced. Given, what still waits in its queue
            counts as unread, and its delivery reports are served while a call blocks.
        deadline_s: Longest that one call may block, in seconds.
    """

    def __init__(
        self,
        bootstrap: str,
        readers: Mapping[str, Sequence[str]],
        limit_bytes: int = LIMIT_BYTES,
        *,
        producer: Producer | None = None,
        deadline_s: float = 60.0,
    ) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
        self._readers = {topic: tuple(groups) for topic, groups in readers.items()}
        self._limit_bytes = limit_bytes
        self._producer = producer
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._grants: dict[str, tuple[float, float]] = {}
        self._mean_bytes: dict[str, float] = {}
        self._partitions: dict[str, list[TopicPartition]] = {}

    def room(self, topic: str, nbytes: int, records: int = 1) -> None:
        """Return when `records` records of `nbytes` bytes in all may be produced to `topic`.

        Cheap for each record (a dictionary look-up) while readers keep up; two requests to the
        broker, about 0.5 ms, for every 256 KiB or second. Announce a record before producing it.

        Raises:
            ValueError: `nbytes` is more than a partition may hold unread: announce in smaller
                pieces.
            ThrottleStalled: No room within the deadline.
        """
        cost = nbytes + records * RECORD_OVERHEAD_BYTES
        if cost > self._limit_bytes:
            msg = f"{cost} bytes at once for {topic}: the limit is {self._limit_bytes}, send less"
            raise ValueError(msg)
        with self._lock:
            mean = self._mean_bytes.get(topic, FIRST_MEAN_BYTES)
            mean += (cost / max(records, 1) - mean) * _MEAN_WEIGHT
            self._mean_bytes[topic] = mean
            free, expires = self._grants.get(topic, (0.0, 0.0))
            if cost > free or time.monotonic() > expires:
                free = max(self._wait(topic, cost, mean), cost)
                expires = time.monotonic() + GRANT_SECONDS_MAX
            self._grants[topic] = (free - cost, expires)

    def close(self) -> None:
        """Forget grants; the connection goes with the object."""
        with self._lock:
            self._grants.clear()

    def _wait(self, topic: str, cost: float, mean: float) -> float:
        """Wait until `cost` bytes fit; returns the bytes granted."""
        deadline = time.monotonic() + self._deadline_s
        delay_s, delay_max_s = _BACK_OFF_S
        while True:
            backlog, where = self._backlog(topic)
            backlog += len(self._producer) if self._producer is not None else 0
            free = self._limit_bytes - backlog * mean
            # An empty topic always has room, however large the mean.
            if (free >= cost or not backlog) and backlog < BACKLOG_RECORDS_MAX:
                return min(free, GRANT_BYTES_MAX)
            if time.monotonic() >= deadline:
                msg = (
                    f"no room in {topic} after {self._deadline_s:g} s: {where}; "
                    "start that reader again, or use a real broker (make stack)"
                )
                raise ThrottleStalled(msg)
            if self._producer is not None:
                self._producer.poll(delay_s)
            else:
                time.sleep(delay_s)
            delay_s = min(delay_s * 2, delay_max_s)

    def _backlog(self, topic: str) -> tuple[int, str]:
        """Unread records of the fullest partition for its slowest reader; and which that is."""
        partitions = self._partitions_of(topic)
        ends = self._admin.list_offsets(
            dict.fromkeys(partitions, LATEST),
            request_timeout=_REQUEST_TIMEOUT_S,
        )
        end = {at.partition: future.result().offset for at, future in ends.items()}
        worst, where = 0, "the producer's own queue is full"
        for group in {SEGMENTS_GROUP, *self._readers.get(topic, ())}:
            for number, offset in self._committed(group, partitions).items():
                behind = end[number] - offset
                if behind > worst:
                    worst = behind
                    where = f"group {group} is {behind} records behind in partition {number}"
        return worst, where

    def _committed(self, group: str, partitions: list[TopicPartition]) -> dict[int, int]:
        request = [ConsumerGroupTopicPartitions(group, partitions)]
        futures: dict[str, Future[Any]] = self._admin.list_consumer_group_offsets(
            request, request_timeout=_REQUEST_TIMEOUT_S
        )
        answer = futures[group].result().topic_partitions
        # A group that never committed (a negative offset) has everything still to read.
        return {at.partition: max(at.offset, 0) for at in answer}

    def _partitions_of(self, topic: str) -> list[TopicPartition]:
        known = self._partitions.get(topic)
        if known is None:
            metadata = self._admin.list_topics(topic, timeout=_REQUEST_TIMEOUT_S)
            known = [TopicPartition(topic, number) for number in metadata.topics[topic].partitions]
            self._partitions[topic] = known
        return known
