"""A running system under test: an embedded stack with its workers, and what agencies tell it."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.topics import AGENCY_TOPICS, CONTROL, DECISIONS, LINKS, LOG
from streams.history import Groups
from streams.kafka import watermarks
from streams.publish import publisher
from streams.redisclient import connect
from streams.up import Stack, running, set_live

LA = "E06000023"
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Living:
    """A stack whose workers run.

    Attributes:
        pages: base address of each worker's pages: intake, then scorer.
    """

    stack: Stack
    pages: tuple[str, str]

    @property
    def settings(self) -> Any:
        """Where everything is."""
        return self.stack.settings

    def redis(self) -> Any:
        """A client of its Redis."""
        return connect(self.settings.redis)

    def publish(
        self,
        topic: str,
        documents: Sequence[dict[str, Any] | bytes],
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Send messages, confirmed."""
        sender = publisher(self.settings)
        for document in documents:
            raw = document if isinstance(document, bytes) else orjson.dumps(document)
            key = b"" if isinstance(document, bytes) else document["subject"].encode()
            sender.send(topic, key, raw, headers)
        sender.flush()

    def settle(self) -> None:
        """Wait until everything sent has gone all the way."""
        groups, settings = Groups(self.settings.kafka), self.settings
        agents = (LINKS, DECISIONS, CONTROL)
        groups.wait(settings.agents_group, self._ends(agents), DEADLINE_S)
        groups.wait(settings.intake_group, self._ends(AGENCY_TOPICS), DEADLINE_S)
        groups.wait(settings.scorer_group, self._ends((LOG,)), DEADLINE_S)
        self.stack.segments.drain()

    def _ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        marks = {topic: watermarks(self.settings.kafka, topic) for topic in topics}
        return {
            (topic, partition): high
            for topic, found in marks.items()
            for partition, (_, high) in found.items()
            if high
        }


@contextmanager
def living(folder: Path, *authorities: str, **environment: str) -> Iterator[Living]:
    """A stack with an intake and a scorer, live in some authorities, until the block ends."""
    port = two_free_ports()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EHPS_METRICS_PORT", str(port))
        patch.setenv("EHPS_DATA_DIR", str(folder))  # commands find the stack there
        for name, value in environment.items():
            patch.setenv(name, value)
        with running(
            folder, kafka=None, redis=None, workers=(("intake",), ("scorer",)), note=str
        ) as stack:
            for la in authorities:
                set_live(stack, la)
            pages = tuple(f"http://127.0.0.1:{port + number}" for number in range(2))
            yield Living(stack, pages)


def two_free_ports() -> int:
    """The first of two neighbouring ports that nobody listens on."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def page(address: str) -> tuple[int, str]:
    """Code and text of a page."""
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310  (loopback)
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


def eventually(ask: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """The first truthy answer."""
    deadline = time.monotonic() + deadline_s
    while not (answer := ask()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return answer


def subject(number: int) -> str:
    """A pseudonym."""
    return f"person-{number:032x}"


def told(
    kind: str, person: int, name: str, data: dict[str, Any], *, la: str = LA, days_ago: float = 1
) -> dict[str, Any]:
    """A CloudEvent of type `kind`.v1 about a person."""
    moment = (datetime.now(UTC) - timedelta(days=days_ago)).replace(microsecond=0).isoformat()
    return {
        "specversion": "1.0",
        "id": name,
        "source": f"urn:example:{kind.partition('.')[0]}",
        "type": f"{kind}.v1",
        "subject": subject(person),
        "time": moment,
        "recordedtime": moment,
        "la": la,
        "data": data,
    }


def linked(person: int, *, la: str = LA) -> dict[str, Any]:
    """A person becomes a child of the family of the same number."""
    data = {"family": f"f-{person}", "role": "child", "born": "2018-03", "confidence": 1.0}
    return told("link.person", person, f"link-{la}-{person}", data, la=la, days_ago=30)


def police(person: int, name: str, *, grade: str = "red", la: str = LA) -> dict[str, Any]:
    """A police notification."""
    data = {"grade": grade, "child_present": True, "domestic_abuse": True}
    return told("police.notification", person, name, data, la=la)
