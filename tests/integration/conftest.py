"""Brokers and servers of the integration tests: started once a session, skipped where lacking."""

import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AdminClient,
    NewTopic,
)

from deploy import real
from deploy.embedded import EmbeddedBroker, EmbeddedValkey, Segments
from tests.integration.product import Product, run_ehps, running_product

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
    if request.param == "embedded":
        yield from _embedded(tmp_path_factory.mktemp("kafka"))
    else:
        yield from _real(tmp_path_factory.mktemp("kafka"))


@pytest.fixture(scope="session", params=["embedded", "real"])
def product(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    """`ehps up` on the embedded stack, then on a real Kafka and Redis where they can run."""
    if request.param == "embedded":
        with running_product(tmp_path_factory.mktemp("embedded"), lambda _: ()) as found:
            yield found
    else:
        yield request.getfixturevalue("real_product")


@pytest.fixture(scope="session")
def real_product(real_stack: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """`ehps up` on a real Kafka, whose topics were planned and applied first, and a real Redis."""
    said: list[dict[str, Any]] = []
    folder = tmp_path_factory.mktemp("product")
    with (
        real.RealKafka(folder / "kafka") as kafka_server,
        real.RealRedis(folder / "redis") as redis_server,
    ):

        def prepare(environment: dict[str, str]) -> tuple[str, ...]:
            for words in (("topics", "plan"), ("topics", "apply"), ("topics", "plan")):
                done = run_ehps(
                    *words, "--kafka", kafka_server.bootstrap, "--json", environment=environment
                )
                said.append({"code": done.returncode, **json.loads(done.stdout)})
            return "--kafka", kafka_server.bootstrap, "--redis", redis_server.url

        with running_product(folder / "stack", prepare) as found:
            found.topics = said
            yield found


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
