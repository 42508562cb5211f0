"""A full disk is waited out: nothing is lost, it is told in words, and all goes on by itself once there is room."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from deploy.embedded import EmbeddedBroker, Segments, SegmentsIncomplete
from deploy.real import RealRedis
from ehps.advance import Step
from streams import room
from streams.patience import passes
from streams.redisclient import connect, reason_of
from streams.segments import read_segments
from streams.store import RedisStore
from tests.chaos.disks import POSSIBLE, REASON, full_disk
from tests.integration.living import eventually

pytestmark = [pytest.mark.timeout(60), pytest.mark.skipif(not POSSIBLE, reason=REASON)]


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({"police.v1": 1}) as server:
        yield server


def produce(broker: EmbeddedBroker, first: int, count: int) -> None:
    client = Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(first, first + count):
        client.produce("police.v1", str(number).encode())
    assert client.flush(20) == 0


def test_the_archiver_waits_for_room_and_then_has_every_record(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with Segments(broker.bootstrap, tmp_path / "segments") as segments:
        produce(broker, 0, 100)
        segments.drain()
        with full_disk(os.getpid()):
            produce(broker, 100, 200)
            said = eventually(lambda: segments.waits_for)
            with pytest.raises(SegmentsIncomplete, match=r"the disk of .* is full"):
                segments.drain(0.1)
        segments.drain()
        assert segments.waits_for is None

    assert "all goes on by itself once there is room" in said
    records = list(read_segments(tmp_path / "segments", "police.v1", 0))
    assert [record.value for record in records] == [str(n).encode() for n in range(300)]


def test_half_a_write_leaves_nothing_behind(broker: EmbeddedBroker, tmp_path: Path) -> None:
    import resource

    with Segments(broker.bootstrap, tmp_path / "segments") as segments:
        produce(broker, 0, 10)
        segments.drain()
        path = tmp_path / "segments" / "police.v1" / "0.seg"
        size, (_, hard) = path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 7, hard))
        try:
            produce(broker, 10, 10)
            eventually(lambda: segments.waits_for)
            assert path.stat().st_size == size
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        segments.drain()

    assert len(list(read_segments(tmp_path / "segments", "police.v1", 0))) == 20


def test_a_commit_that_redis_has_no_room_for_passes_once_there_is_room(tmp_path: Path) -> None:
    with RealRedis(tmp_path) as server, connect(server.url) as client:
        store, pid = RedisStore(client), server.pid
        assert pid is not None
        store.commit(0, 0, _step(1), b"{}")
        with full_disk(pid):
            refused = eventually(lambda: _refusal(store))
            told = [found.cause for found in room.redis_server(client)]
        eventually(lambda: _refusal(store) is None)

        assert passes(refused)
        assert reason_of(refused) == "Redis cannot write to its disk"
        assert told == ["redis_disk_full"]
        assert [found.cause for found in room.redis_server(client)] == []


def _step(offset: int) -> Step:
    return Step(offset, b"state", {}, {}, [], [], 1)


def _refusal(store: RedisStore) -> Exception | None:
    """What Redis says of one more commit."""
    offset = store.offset(0)
    try:
        store.commit(0, offset, _step(offset + 1), b"{}")
    except Exception as error:  # noqa: BLE001  (whatever it is, it is what the test is about)
        return error
    return None
