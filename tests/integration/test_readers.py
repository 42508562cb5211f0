"""A reader that its group gave up, because it was busy for too long, goes on by itself."""

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from streams import kafka as clients
from tests.integration.conftest import Kafka

PATIENCE_S = 10.0  # the client refuses less than its group waits for a sign of life
DEADLINE_S = 30.0


@pytest.fixture
def topic(kafka: Kafka) -> str:
    return kafka.new_topic("slow-reader", partitions=1)


@pytest.fixture
def reader(kafka: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Consumer]:
    monkeypatch.setattr(clients, "POLL_S_MAX", PATIENCE_S)
    reader = clients.consumer(kafka.bootstrap, topic)
    yield reader
    reader.close()


def test_a_reader_that_was_busy_for_longer_than_its_group_waits_joins_it_again(
    kafka: Kafka, topic: str, reader: Consumer
) -> None:
    joined: list[list[int]] = []

    def assigned(reader: Consumer, places: list[TopicPartition]) -> None:
        joined.append([place.partition for place in places])
        reader.assign(places)

    reader.subscribe([topic], on_assign=assigned)
    put(kafka, topic, b"before")
    assert next_of(reader).value() == b"before"
    reader.commit()

    time.sleep(PATIENCE_S + 2.0)

    put(kafka, topic, b"after")
    assert next_of(reader).value() == b"after"
    assert joined == [[0], [0]]


def put(kafka: Kafka, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(topic, value)
    assert producer.flush(DEADLINE_S) == 0


def next_of(reader: Consumer) -> Message:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if found := clients.good(clients.drain(reader, 10, 0.2)):
            return found[0]
    raise AssertionError(f"nothing came in {DEADLINE_S:g} s")
