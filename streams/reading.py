"""Whole topics read: what is kept in segments first, then what the broker holds, up to its present end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from confluent_kafka import KafkaError, TopicPartition

from streams.errors import BrokerUnavailable
from streams.kafka import REQUEST_S, consumer, drain, record_of, watermarks
from streams.segments import Record, read_segments


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
