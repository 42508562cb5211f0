"""Real worker processes: what their pages say while servers fail, how they stop, and that a stuck one ends itself."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Producer

from deploy.child import free_port
from deploy.embedded import EmbeddedBroker, EmbeddedValkey
from deploy.health import problem
from ehps.library import Library
from ehps.log import RecordKind, pack_other
from schemas.topics import LOG
from streams.config import Settings
from streams.history import Groups
from streams.kafka import Sender, producer
from streams.logwriter import EHPS, LogWriter
from streams.loops import CRASH_CODE
from streams.redisclient import connect
from streams.store import RedisStore
from streams.throttle import NoThrottle
from tests.integration.living import LA, eventually, page

pytestmark = pytest.mark.timeout(120)


class Worker:
    """One worker process.

    Attributes:
        port: of its pages.
        log: file of its log lines.
    """

    def __init__(self, folder: Path, kafka: str, redis: str, role: str, **environment: str) -> None:
        self.port, self.log = free_port(), folder / "worker.log"
        settings = {
            "EHPS_KAFKA": kafka,
            "EHPS_REDIS": redis,
            "EHPS_EMBEDDED": "true",
            "EHPS_DATA_DIR": str(folder),
            "EHPS_METRICS_PORT": str(self.port),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streams.cli", "worker", role],
                env={**os.environ, **settings, **environment},
                stdout=log,
                stderr=log,
            )

    def ready(self) -> bool:
        """Whether it says so."""
        return self.says("/ready") == (200, "ok\n")

    def says(self, what: str) -> tuple[int, str]:
        """A page, (0, "") while nobody answers."""
        try:
            return page(f"http://127.0.0.1:{self.port}{what}")
        except OSError:
            return 0, ""


@contextmanager
def running(
    folder: Path, kafka: str, redis: str, role: str, **environment: str
) -> Iterator[Worker]:
    worker = Worker(folder, kafka, redis, role, **environment)
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.process.wait()


@contextmanager
def suspended(valkey: EmbeddedValkey) -> Iterator[None]:
    """A Redis that accepts connections and never answers."""
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(valkey.pid, signal.SIGCONT)


def write_log(kafka: str, beats: int) -> int:
    """A control and so many heartbeats on each partition of the log; returns the records of one partition."""
    control = Library.packaged().default_control(LA, datetime(2024, 1, 8, tzinfo=UTC))
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 20})
    for partition in range(4):
        for number in range(beats + 1):
            kind = RecordKind.HEARTBEAT if number else RecordKind.CONTROL
            moment = f"2024-01-{8 + number // 1440:02}T{number // 60 % 24:02}:{number % 60:02}:00Z"
            value = (
                f'{{"la":"{LA}","time":"{moment}","sources":{{}}}}'
                if number
                else control.model_dump_json()
            )
            producer.produce(
                LOG, value.encode(), b"", partition, headers=[(EHPS, pack_other(kind, LA))]
            )
            producer.poll(0)
    assert producer.flush(30) == 0
    return beats + 1


def test_pages_tell_of_a_redis_that_is_away_and_of_its_return(tmp_path: Path) -> None:
    with (
        EmbeddedBroker() as broker,
        EmbeddedValkey(tmp_path / "valkey") as valkey,
        running(tmp_path, broker.bootstrap, valkey.url, "scorer") as worker,
    ):
        eventually(worker.ready)
        assert problem(worker.port) is None
        valkey.kill()
        write_log(broker.bootstrap, 3)
        eventually(lambda: "waits out" in worker.says("/ready")[1])
        assert worker.says("/healthz")[0] == 200  # it knows, and goes on trying
        assert "Redis does not answer" in (problem(worker.port) or "")
        valkey.start()
        eventually(worker.ready)
        store = RedisStore(connect(valkey.url))
        eventually(lambda: all(store.offset(partition) == 4 for partition in range(4)))


def test_a_worker_waits_for_its_servers_and_says_so(tmp_path: Path) -> None:
    with running(tmp_path, "127.0.0.1:1", "redis://127.0.0.1:1/0", "scorer") as worker:
        said = eventually(lambda: worker.says("/ready")[1])
        assert "waits for Kafka and Redis" in said
        assert worker.says("/healthz") == (200, "ok\n")
        assert worker.says("/")[0] == 404


def test_sigterm_drains_what_is_in_hand_within_the_deadline(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker, EmbeddedValkey(tmp_path / "valkey") as valkey:
        written = write_log(broker.bootstrap, 4000)
        with running(tmp_path, broker.bootstrap, valkey.url, "scorer") as worker:
            store, groups = RedisStore(connect(valkey.url)), Groups(broker.bootstrap)
            eventually(lambda: store.offset(0))
            worker.process.send_signal(signal.SIGTERM)
            code = worker.process.wait(Settings().drain_s)
        told = groups.committed("ehps-scorer", [(LOG, partition) for partition in range(4)])
        stands = {(LOG, partition): store.offset(partition) for partition in range(4)}
    assert code == 0, worker.log.read_text()[-2000:]
    assert told == stands  # nothing half done
    assert any(0 < offset < written for offset in stands.values())  # it was in the midst of it


def test_a_worker_that_hangs_ends_itself_and_says_why(tmp_path: Path) -> None:
    with (
        EmbeddedBroker() as broker,
        EmbeddedValkey(tmp_path / "valkey") as valkey,
        running(tmp_path, broker.bootstrap, valkey.url, "scorer", EHPS_STALL_S="5") as worker,
    ):
        eventually(worker.ready)
        with suspended(valkey):
            write_log(broker.bootstrap, 3)
            eventually(lambda: "made no progress" in worker.says("/healthz")[1])
            code = worker.process.wait(60)
    assert code == CRASH_CODE
    assert '"reason": "made no progress for 5 s"' in worker.log.read_text()


def test_a_worker_that_cannot_drain_is_gone_at_the_deadline(tmp_path: Path) -> None:
    with (
        EmbeddedBroker() as broker,
        EmbeddedValkey(tmp_path / "valkey") as valkey,
        running(
            tmp_path,
            broker.bootstrap,
            valkey.url,
            "intake",
            EHPS_DRAIN_S="2",
            EHPS_SWEEP_S="0.1",
        ) as worker,
    ):
        eventually(worker.ready)
        with suspended(valkey):
            eventually(lambda: worker.says("/ready")[0] == 503)
            worker.process.send_signal(signal.SIGTERM)
            code = worker.process.wait(30)
    assert code == CRASH_CODE
    assert "not drained 2 s after SIGTERM" in worker.log.read_text()


def test_the_embedded_broker_has_no_time_so_it_stops_no_heartbeat() -> None:
    with EmbeddedBroker({LOG: 1}) as broker:
        log = LogWriter(Sender(producer(broker.bootstrap), NoThrottle()), 1)

        assert log.broker_time("E06000023") is None
