"""A running EHPS as its users see it: commands, topics, and clients of their own with no code of ours."""

import hashlib
import io
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from confluent_kafka import Consumer, Producer, TopicPartition

from deploy.child import Child
from schemas.topics import AGENCY_TOPICS, CONTROL, DECISIONS, LINKS, LOG
from streams.cli.app import run
from streams.config import Settings, load_settings
from streams.groups import Groups
from streams.kafka import watermarks_of

LA = "E06000023"
LOG_PARTITIONS = 4
READY_DEADLINE_S = 90.0
COMMAND_DEADLINE_S = 100.0
Found = TypeVar("Found")
SETTLE_DEADLINE_S = 60.0
_NUMBERS = itertools.count(1)


@dataclass
class Product:
    """Servers and workers of one `ehps up`, and ways to use them.

    Attributes:
        environment: What commands of this product run with.
        data_dir: Folder of its logs and `stack.json`.
        settings: Addresses and groups.
        topics: What `topics plan`, `apply` and `plan` again said before anything ran.
    """

    environment: dict[str, str]
    data_dir: Path
    settings: Settings
    topics: list[dict[str, Any]] = field(default_factory=list)

    def ehps(self, *words: str, code: int = 0, **environment: str) -> dict[str, Any]:
        """Run a command with --json, in this process for speed; returns its document."""
        said, noted = io.StringIO(), io.StringIO()
        with (
            patch.dict(os.environ, {**self.environment, **environment}),
            redirect_stdout(said),
            redirect_stderr(noted),
        ):
            ended = run([*words, "--json"])
        assert ended == code, (words, ended, said.getvalue(), noted.getvalue())
        document: dict[str, Any] = json.loads(said.getvalue().splitlines()[-1])
        return document

    def send(self, *messages: tuple[str, str | None, bytes, Mapping[str, str]]) -> None:
        """Produce (topic, key, value, headers) as anybody would."""
        producer = Producer({"bootstrap.servers": self.settings.kafka, "acks": "all"})
        failures: list[str] = []
        for topic, key, value, headers in messages:
            producer.produce(
                topic,
                value,
                key,
                headers=dict(headers),
                on_delivery=lambda error, _: failures.append(str(error)) if error else None,
            )
        assert producer.flush(30) == 0
        assert not failures, failures

    def tell(self, *events: dict[str, Any]) -> None:
        """Send events and links to the topics of their types, and wait until they are scored."""
        self.send(
            *((_topic(event), event["subject"], json.dumps(event).encode(), {}) for event in events)
        )
        self.settle()

    def settle(self) -> None:
        """Wait until everything on the input topics is on the log, and the log is scored."""
        settings, groups = self.settings, Groups(self.settings.kafka)
        for group, topics in (
            (settings.agents_group, (LINKS, DECISIONS, CONTROL)),
            (settings.intake_group, AGENCY_TOPICS),
            (settings.scorer_group, (LOG,)),
        ):
            ends = {
                (topic, partition): high
                for topic, marks in watermarks_of(settings.kafka, topics).items()
                for partition, (_, high) in marks.items()
                if high
            }
            groups.wait(group, ends, SETTLE_DEADLINE_S)

    def read(self, topic: str) -> list[Any]:
        """Every message of a topic up to its present end, with a plain consumer."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.settings.kafka,
                "group.id": "somebody-else",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
            }
        )
        found: list[Any] = []
        for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            place = TopicPartition(topic, partition, 0)
            low, high = consumer.get_watermark_offsets(place, timeout=10)
            place.offset = low
            consumer.assign([place])
            count = 0
            while count < high - low:
                message = consumer.poll(10)
                assert message is not None, f"{topic} {partition} could not be read to its end"
                assert message.error() is None, message.error()
                found.append(message)
                count += 1
        consumer.close()
        return found

    def documents(self, topic: str) -> list[dict[str, Any]]:
        """Every message of a topic as JSON."""
        return [json.loads(message.value()) for message in self.read(topic)]

    def alerts(self, family: str) -> list[dict[str, Any]]:
        """Alerts of one family of `LA`, in the order of the log, each once."""
        mine = [a for a in self.documents("ehps.alerts.v1") if a["family"] == f"{LA}:{family}"]
        mine.sort(key=lambda a: (a["position"]["offset"], a["position"]["sequence"]))
        return list({(a["alert_id"], a["state"]): a for a in mine}.values())

    def explain(self, family: str) -> dict[str, Any]:
        """What `ehps explain` says of a family."""
        return self.ehps("explain", family)

    @contextmanager
    def worker(self, *roles: str, wait: bool = True, **environment: str) -> Iterator[Child]:
        """One more worker process, killed at the end; `wait` until it has started."""
        command = [sys.executable, "-m", "streams.cli", "worker", *roles]
        log = self.data_dir / f"extra-{next(_NUMBERS)}.log"
        log.touch()
        child = Child(command, log, {**os.environ, **self.environment, **environment})
        try:
            if wait:
                child.wait_ready(lambda: b'"worker.start"' in log.read_bytes(), READY_DEADLINE_S)
            yield child
        finally:
            child.kill()


@contextmanager
def running_product(
    data_dir: Path, prepare: Callable[[dict[str, str]], tuple[str, ...]]
) -> Iterator[Product]:
    """`ehps up` until the block ends.

    Args:
        data_dir: folder of the stack.
        prepare: called with the environment before it starts; returns further words for `ehps up`.
    """
    environment = {
        "EHPS_DATA_DIR": str(data_dir),
        "EHPS_LOG_PARTITIONS": str(LOG_PARTITIONS),
        "EHPS_SWEEP_S": "2",
        "EHPS_PSEUDONYM_KEY": "a key for tests, of 32 characters",
    }
    data_dir.mkdir(parents=True, exist_ok=True)
    words = prepare(environment)
    log = data_dir / "up.log"
    log.touch()
    command = [sys.executable, "-m", "streams.cli", "up", "--la", LA, "--json", *words]
    child = Child(command, log, {**os.environ, **environment})
    try:
        child.wait_ready(lambda: b'{"ok":true' in log.read_bytes(), READY_DEADLINE_S)
        yield Product(environment, data_dir, load_settings(data_dir=data_dir))
    finally:
        child.stop(30)


def run_ehps(
    *words: str, environment: Mapping[str, str] | None = None, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as a shell would."""
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", *words],
        env={**os.environ, **(environment or {})},
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_DEADLINE_S,
    )


def person(name: str) -> str:
    """A pseudonym."""
    return "person-" + hashlib.sha256(name.encode()).hexdigest()[:32]


def ago(**duration: float) -> str:
    """A moment in the past as text."""
    return (datetime.now(UTC) - timedelta(**duration)).strftime("%Y-%m-%dT%H:%M:%SZ")


def event(kind: str, who: str, data: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """An event by hand, of yesterday unless `fields` say otherwise."""
    return {
        "specversion": "1.0",
        "id": f"{kind}-{next(_NUMBERS)}-{time.time_ns()}",
        "source": f"urn:test:{kind.partition('.')[0]}",
        "type": f"{kind}.v1",
        "subject": person(who),
        "time": ago(days=1),
        "recordedtime": ago(hours=20),
        "la": LA,
        "data": dict(data),
        **fields,
    }


def link(who: str, family: str, **fields: Any) -> dict[str, Any]:
    """A link: who belongs to which family."""
    data = {"family": family, "role": "child", "born": "2019-05", "confidence": 1.0}
    return event("link.person", who, data, **fields)


def notification(who: str, grade: str = "green", **fields: Any) -> dict[str, Any]:
    """A police notification."""
    return event("police.notification", who, {"grade": grade}, **fields)


def _topic(message: Mapping[str, Any]) -> str:
    kind = str(message["type"])
    if kind.startswith("link."):
        return LINKS
    if kind.startswith("record."):
        kind = str(message["data"]["type"])
    return f"agency.{kind.split('.')[0]}.v1"


def wait_for(
    what: str, ready: Callable[[], Found | None], deadline_s: float = SETTLE_DEADLINE_S
) -> Found:
    """What `ready()` returns, as soon as that is something true; fail with `what` at the deadline."""
    deadline = time.monotonic() + deadline_s
    while not (found := ready()):
        assert time.monotonic() < deadline, f"{what}: not within {deadline_s:g} s"
        time.sleep(0.05)
    return found
