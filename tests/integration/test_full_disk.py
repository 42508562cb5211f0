"""A full disk is waited out: nothing is lost, it is told in words, and all goes on by itself once there is room."""

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AdminClient,
    NewTopic,
)

from deploy.embedded import EmbeddedBroker, Segments, SegmentsIncomplete
from deploy.real import RealKafka, RealRedis
from ehps.advance import Step
from streams import room
from streams.kafka import watermarks
from streams.patience import passes
from streams.ports import Write
from streams.redisclient import connect, reason_of
from streams.segments import read_segments, segment_path
from streams.store import RedisStore
from tests.chaos.disks import POSSIBLE, REASON, full_disk
from tests.integration.living import eventually

pytestmark = [pytest.mark.timeout(120), pytest.mark.skipif(not POSSIBLE, reason=REASON)]
NoRoom = Callable[[int], AbstractContextManager[None]]


@contextlib.contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A disk of its own; the test is skipped where none may be mounted."""
    words = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", str(folder)]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("no small disk may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def filled(folder: Path, left: int = 0) -> Callable[[], None]:
    """Fill a disk but for some bytes; returns what makes room again."""
    balloon, free = folder / "balloon", os.statvfs(folder)
    with balloon.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_bsize - left)
    return balloon.unlink


@pytest.fixture(params=["a limit on files", "a disk"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, NoRoom]]:
    """A folder, and what takes the room of a process that writes there."""
    if request.param == "a limit on files":
        yield tmp_path, full_disk
        return
    with small_disk(tmp_path, 8) as folder:

        @contextlib.contextmanager
        def fill(_pid: int) -> Iterator[None]:
            make_room = filled(folder)
            try:
                yield
            finally:
                make_room()

        yield folder, fill


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({"police.v1": 1}) as server:
        yield server


def produce(broker: EmbeddedBroker, first: int, count: int) -> None:
    client = Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(first, first + count):
        client.produce("police.v1", str(number).encode() * 50)
    assert client.flush(20) == 0


def test_the_archiver_waits_for_room_and_then_has_every_record(
    broker: EmbeddedBroker, disk: tuple[Path, NoRoom]
) -> None:
    folder, no_room = disk
    with Segments(broker.bootstrap, folder / "segments") as segments:
        produce(broker, 0, 100)
        segments.drain()
        with no_room(os.getpid()):
            produce(broker, 100, 200)
            said = eventually(lambda: segments.waits_for)
            with pytest.raises(SegmentsIncomplete, match=r"the disk of .* is full"):
                segments.drain(0.1)
        segments.drain()
        assert segments.waits_for is None
        records = list(read_segments(folder / "segments", "police.v1", 0))

    assert "all goes on by itself once there is room" in said
    assert [record.value for record in records] == [str(n).encode() * 50 for n in range(300)]


def test_half_a_write_leaves_nothing_behind(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with Segments(broker.bootstrap, tmp_path / "segments") as segments:
        produce(broker, 0, 10)
        segments.drain()
        path = segment_path(tmp_path / "segments", "police.v1", 0)
        size, (soft, hard) = path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 7, hard))
        try:
            produce(broker, 10, 10)
            eventually(lambda: segments.waits_for)
            assert path.stat().st_size == size
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        segments.drain()

    assert len(list(read_segments(tmp_path / "segments", "police.v1", 0))) == 20


def test_a_commit_that_redis_has_no_room_for_passes_once_there_is_room(
    disk: tuple[Path, NoRoom],
) -> None:
    folder, no_room = disk
    with RealRedis(folder) as server, connect(server.url) as client:
        store, pid = RedisStore(client), server.pid
        assert pid is not None
        store.commit([Write(0, 0, _step(1), b"{}")])
        with no_room(pid):
            refused = eventually(lambda: _refusal(store))
            told = [found.cause for found in room.redis_server(client)]
        eventually(lambda: _refusal(store) is None)

        assert passes(refused)
        assert reason_of(refused) == "Redis cannot write to its disk"
        assert told == ["redis_disk_full"]
        assert [found.cause for found in room.redis_server(client)] == []


def test_a_broker_whose_disk_was_full_has_all_that_it_confirmed_and_takes_the_rest(
    real_stack: None, tmp_path: Path
) -> None:
    confirmed: list[int] = []
    with small_disk(tmp_path, 200) as folder, RealKafka(folder / "kafka") as kafka:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        admin.create_topics([NewTopic("police.v1", 1, 1)])["police.v1"].result(30)
        make_room = filled(folder, left=300_000)
        client = Producer(
            {"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True, "log_level": 0}
        )
        for number in range(200):
            client.produce(
                "police.v1",
                os.urandom(5_000),
                on_delivery=lambda error, _, n=number: confirmed.append(n) if not error else None,
            )
        eventually(lambda: client.poll(0.1) is not None and _gone(kafka.pid))
        before = len(confirmed)
        make_room()
        kafka.restart()

        assert client.flush(60) == 0
        assert before < 200
        assert sorted(confirmed) == list(range(200))
        assert watermarks(kafka.bootstrap, "police.v1") == {0: (0, 200)}


def _gone(pid: int | None) -> bool:
    return pid is not None and not Path(f"/proc/{pid}").exists()


def _step(offset: int) -> Step:
    return Step(offset, b"state", {}, {}, [], [], 1)


def _refusal(store: RedisStore) -> Exception | None:
    """What Redis says of one more commit, of two partitions at once."""
    stands = {partition: store.offset(partition) for partition in (0, 1)}
    try:
        store.commit([Write(p, at, _step(at + 1), b"{}") for p, at in stands.items()])
    except Exception as error:  # noqa: BLE001  (whatever it is, it is what the test is about)
        return error
    return None
