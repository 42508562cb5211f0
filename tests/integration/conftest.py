"""Brokers and servers of the integration tests: started once a session, skipped where lacking."""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AdminClient,
    NewTopic,
)

from deploy import real
from deploy.embedded import EmbeddedBroker, EmbeddedValkey, Segments

_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Kafka:
    """A running broker under test.

    Attributes:
        bootstrap: Address of the broker.
        embedded: Whether it is librdkafka's mock cluster (5 MiB a partition, in memory).
        segments: The archive of the embedded broker, None for a real one.
        create: Creates a topic by name and partition count.
    """

    bootstrap: str
    embedded: bool
    segments: Segments | None
    create: Callable[[str, int], None]

    def new_topic(self, stem: str = "test", partitions: int = 4) -> str:
        """Create a topic that no other test has and return its name."""
        name = f"{stem}.{os.getpid()}-{next(_NUMBERS)}.v1"
        self.create(name, partitions)
        return name


@pytest.fixture(scope="session", params=["embedded", "real"])
def kafka(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kafka]:
    """The embedded broker with its archive, then a real Kafka where this machine can run one."""
    directory = tmp_path_factory.mktemp("kafka")
    if request.param == "embedded":
        yield from _embedded(directory)
    else:
        yield from _real(directory)


@pytest.fixture(scope="session")
def embedded_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """An embedded broker with its archive, for what only it does."""
    yield from _embedded(tmp_path_factory.mktemp("embedded"))


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    """Address of a server without persistence: the wheel's Valkey."""
    with EmbeddedValkey() as server:
        yield server.url


@pytest.fixture(scope="session")
def real_stack() -> None:
    """Skip the test where no real Kafka can run."""
    possible, reason = real.available()
    if not possible:
        pytest.skip(reason)


def _embedded(directory: Path) -> Iterator[Kafka]:
    with (
        EmbeddedBroker() as broker,
        Segments(broker.bootstrap, directory / "segments") as segments,
    ):
        yield Kafka(
            broker.bootstrap,
            embedded=True,
            segments=segments,
            create=lambda name, partitions: broker.create_topics({name: partitions}),
        )


def _real(directory: Path) -> Iterator[Kafka]:
    possible, reason = real.available()
    if not possible:
        pytest.skip(reason)
    with real.RealKafka(directory / "node") as node:
        admin = AdminClient({"bootstrap.servers": node.bootstrap})

        def create(name: str, partitions: int) -> None:
            futures = admin.create_topics([NewTopic(name, partitions, replication_factor=1)])
            futures[name].result(timeout=30)

        yield Kafka(node.bootstrap, embedded=False, segments=None, create=create)
