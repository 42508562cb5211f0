"""Kafka clients as EHPS needs them: confirmed deliveries, one partitioner, reads that do not wait in vain."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.errors import BrokerUnavailable, DeliveryFailed
from streams.ports import Reader
from streams.segments import Record, read_segments

REQUEST_S = 10.0
DELIVERY_S = 30.0
"""A delivery not confirmed by then has failed; the broker may be gone."""


def producer(bootstrap: str) -> Producer:
    """A producer that loses nothing: idempotent, all replicas, and the partitioner that every other client uses."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
            "linger.ms": 2,
            "batch.size": 262_144,
            "queue.buffering.max.messages": 1_000_000,
            "message.timeout.ms": int(DELIVERY_S * 1000),
            "log_level": 3,
        }
    )


def consumer(
    bootstrap: str, group: str, *, reset: str = "earliest", eof: bool = False, wait_ms: int = 100
) -> Consumer:
    """A consumer that commits only when told to.

    Args:
        wait_ms: longest that the broker holds back an empty answer. A real one answers as soon as
            there is a record; the embedded one always waits it out.
    """
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": reset,
            "fetch.wait.max.ms": wait_ms,
            "fetch.queue.backoff.ms": 5,
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 1_000,
            "max.poll.interval.ms": 120_000,
            "log_level": 3,
            "enable.partition.eof": eof,
        }
    )


class _Batch:
    """Deliveries of one batch. A late report of a batch that was given up must not count for the next."""

    def __init__(self) -> None:
        self.sent = self.confirmed = 0
        self.failed: str | None = None

    def delivered(self, error: KafkaError | None, _message: Message) -> None:
        self.confirmed += 1
        if error is not None:
            self.failed = error.str()


class Sender:
    """Produces a batch and confirms it: only callbacks tell whether a record arrived, `flush` does not.

    For one thread: each has a sender, and a producer, of its own.
    """

    def __init__(self, client: Producer, throttle: Any) -> None:
        """Wrap a producer; `throttle` keeps within what an embedded broker can hold."""
        self._client, self._throttle, self._batch = client, throttle, _Batch()

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: str | bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int | None = None,
    ) -> None:
        """Queue one record."""
        self._throttle.room(topic, len(value or b"") + 200)
        place: dict[str, Any] = {} if partition is None else {"partition": partition}
        while True:
            try:
                self._client.produce(
                    topic,
                    value,
                    key,
                    headers=list(headers),
                    on_delivery=self._batch.delivered,
                    **place,
                )
                break
            except BufferError:
                self._client.poll(0.01)
        self._batch.sent += 1
        self._client.poll(0)

    def confirm(self) -> None:
        """Wait until every record sent since the last call is with the broker.

        Raises:
            DeliveryFailed: one is not, and cannot be told apart from one that is: do the batch again.
        """
        batch, deadline = self._batch, time.monotonic() + DELIVERY_S + 5
        self._batch = _Batch()
        while batch.confirmed < batch.sent and time.monotonic() < deadline:
            self._client.flush(0.5)
        if batch.failed or batch.confirmed < batch.sent:
            raise DeliveryFailed(
                batch.failed
                or f"{batch.sent - batch.confirmed} records were not confirmed in {DELIVERY_S:g} s"
            )


def drain(client: Reader, count: int, wait_s: float) -> list[Message]:
    """Up to `count` records; waits for the first only: `consume(n, t)` would wait `t` out for the n-th."""
    first: list[Message] = client.consume(1, wait_s)
    return first + client.consume(count - 1, 0) if first and count > 1 else first


def good(messages: Iterable[Message]) -> list[Message]:
    """Records without the client's own notices.

    Raises:
        KafkaException: the broker reports something that waiting does not mend.
    """
    result = []
    for message in messages:
        error = message.error()
        if error is None:
            result.append(message)
        elif error.code() not in _PASSING:
            raise KafkaException(error)
    return result


_PASSING = {
    KafkaError._PARTITION_EOF,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
}


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key: murmur2 as in Kafka's Java client."""
    return (_murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    mask, mix = 0xFFFFFFFF, 0x5BD1E995
    value = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * mix & mask
        word = (word ^ word >> 24) * mix & mask
        value = value * mix & mask ^ word
    rest = data[whole:]
    if rest:
        value = (value ^ int.from_bytes(rest, "little")) * mix & mask
    value = (value ^ value >> 13) * mix & mask
    return value ^ value >> 15


def partitions_of(bootstrap: str, topic: str) -> int:
    """How many partitions a topic has; 0: it does not exist.

    Raises:
        BrokerUnavailable: nobody answers.
    """
    try:
        metadata = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2}).list_topics(
            topic, timeout=REQUEST_S
        )
    except KafkaException as error:
        raise BrokerUnavailable(
            f"Kafka does not answer at {bootstrap}: start it (`ehps up` or `make stack`), or set EHPS_KAFKA"
        ) from error
    found = metadata.topics.get(topic)
    return 0 if found is None or found.error is not None else len(found.partitions)


def watermarks(bootstrap: str, topic: str) -> dict[int, tuple[int, int]]:
    """(first offset kept, next offset) of every partition."""
    reader = consumer(bootstrap, "ehps-watermarks")
    try:
        count = partitions_of(bootstrap, topic)
        return {
            p: reader.get_watermark_offsets(TopicPartition(topic, p), timeout=REQUEST_S)
            for p in range(count)
        }
    finally:
        reader.close()


def committed(bootstrap: str, group: str, topic: str, partitions: int) -> dict[int, int]:
    """Committed offsets of a group; -1001 where it never committed."""
    reader = consumer(bootstrap, group)
    try:
        places = reader.committed(
            [TopicPartition(topic, p) for p in range(partitions)], timeout=REQUEST_S
        )
        return {place.partition: place.offset for place in places}
    finally:
        reader.close()


def read_topic(
    bootstrap: str,
    topic: str,
    segments: Path | None = None,
    partitions: Sequence[int] | None = None,
) -> Iterator[Record]:
    """Every record of a topic up to its present end, partition by partition: segments first, then the topic.

    Raises:
        BrokerUnavailable: nobody answers.
    """
    ends = watermarks(bootstrap, topic)
    for partition in ends if partitions is None else partitions:
        yield from read_kept(bootstrap, topic, partition, 0, ends[partition], segments)


def read_kept(
    bootstrap: str,
    topic: str,
    partition: int,
    start: int,
    marks: tuple[int, int],
    segments: Path | None = None,
) -> Iterator[Record]:
    """Records of one partition from `start` on that are kept: in segments first, then in the topic.

    Args:
        marks: (first offset that the topic keeps, offset to end before).
    """
    low, end = marks
    if segments is not None:
        for record in read_segments(segments, topic, partition, start):
            if record.offset < end:
                start = record.offset + 1
                yield record
    yield from read_range(bootstrap, topic, partition, max(low, start), end)


def read_range(
    bootstrap: str, topic: str, partition: int, start: int, end: int
) -> Iterator[Record]:
    """Records of one partition with start <= offset < end."""
    if start >= end:
        return
    reader = consumer(bootstrap, "ehps-reader", eof=True)
    try:
        reader.assign([TopicPartition(topic, partition, start)])
        deadline = time.monotonic() + REQUEST_S
        while time.monotonic() < deadline:
            for message in drain(reader, 5000, 1.0):
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    return
                if error is not None:
                    continue
                deadline = time.monotonic() + REQUEST_S
                record = record_of(message)
                if record.offset >= end:
                    return
                yield record
                if record.offset + 1 >= end:
                    return
        raise BrokerUnavailable(
            f"{topic} partition {partition} could not be read to its end at {bootstrap}"
        )
    finally:
        reader.close()


def headers_of(message: Message) -> list[tuple[str, bytes]]:
    """A message's headers; one without a value reads as empty."""
    found: Any = message.headers() or ()
    return [(name, value if isinstance(value, bytes) else b"") for name, value in found]


def record_of(message: Message) -> Record:
    """A consumed message as a record."""
    key = message.key()
    headers = headers_of(message)
    return Record(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        key,
        message.value(),
        headers,
    )
