"""Both local stacks behave like Kafka and Redis, and the embedded one loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from redis import Redis

from deploy.embedded import EmbeddedBroker, EmbeddedValkey, Segments, SegmentsIncomplete
from deploy.real import RealKafka, RealRedis
from streams.segments import SegmentDamaged, end_offset, read_segments, segment_path
from streams.throttle import SEGMENTS_GROUP, NoThrottle, Throttle, ThrottleStalled
from tests.integration.conftest import Kafka

pytestmark = pytest.mark.timeout(180)


def test_records_keep_key_value_headers_and_order(kafka: Kafka) -> None:
    topic = kafka.new_topic()
    _produce(kafka.bootstrap, topic, [b"a", b"b", None], headers=[("ehps", b"\x01\x02")])
    consumer = _consumer(kafka.bootstrap, "reader")
    consumer.assign([TopicPartition(topic, 0, 0)])
    got = _take(consumer, 3)
    consumer.close()
    assert got == [(0, b"k", b"a"), (1, b"k", b"b"), (2, b"k", None)]


def test_a_group_resumes_at_its_committed_offset(kafka: Kafka) -> None:
    topic = kafka.new_topic()
    group = f"group-{topic}"
    _produce(kafka.bootstrap, topic, [b"0", b"1", b"2", b"3"])
    first = _consumer(kafka.bootstrap, group)
    first.subscribe([topic])
    _take(first, 4)
    first.commit(offsets=[TopicPartition(topic, 0, 2)], asynchronous=False)
    first.close()
    second = _consumer(kafka.bootstrap, group)
    second.subscribe([topic])
    started = time.monotonic()
    got = _take(second, 2)
    second.close()
    assert [offset for offset, _, _ in got] == [2, 3]
    assert time.monotonic() - started < 10


def test_an_offset_out_of_range_is_an_error(kafka: Kafka) -> None:
    topic = kafka.new_topic()
    _produce(kafka.bootstrap, topic, [b"0"])
    consumer = _consumer(kafka.bootstrap, "out-of-range")
    consumer.assign([TopicPartition(topic, 0, 77)])
    message = _first(consumer)
    consumer.close()
    assert message == KafkaError._AUTO_OFFSET_RESET


def test_topics_have_the_partitions_asked_for(kafka: Kafka) -> None:
    topic = kafka.new_topic(partitions=1)
    consumer = _consumer(kafka.bootstrap, "metadata")
    metadata = consumer.list_topics(topic, timeout=10)
    consumer.close()
    assert list(metadata.topics[topic].partitions) == [0]


def test_segments_hold_every_record_when_the_broker_dropped_the_first(
    embedded_kafka: Kafka,
) -> None:
    topic = embedded_kafka.new_topic(partitions=2)
    segments = _segments(embedded_kafka)
    count, size = 24_000, 1_000
    producer = Producer(_settings(embedded_kafka.bootstrap) | {"linger.ms": 5})
    throttle = Throttle(embedded_kafka.bootstrap, {}, producer=producer)
    for number in range(count):
        value = number.to_bytes(4, "big") + os.urandom(size - 4)
        throttle.room(topic, size)
        producer.produce(topic, value, key=b"k", partition=0, headers=[("n", str(number))])
        producer.poll(0)
    assert producer.flush(30) == 0
    segments.drain()
    low, high = _watermarks(embedded_kafka.bootstrap, topic)
    records = list(read_segments(segments.directory, topic, 0))
    assert (low > 0, high) == (True, count)
    assert [record.offset for record in records] == list(range(count))
    assert all(int.from_bytes(r.value[:4], "big") == r.offset for r in records if r.value)
    assert records[-1].headers == [("n", str(count - 1).encode())]
    assert records[-1].timestamp_ms > 1_600_000_000_000
    assert next(read_segments(segments.directory, topic, 0, 20_000)).offset == 20_000
    assert end_offset(segments.directory, topic, 0) == count


def test_without_the_throttle_the_archiver_reports_what_was_dropped(tmp_path: Path) -> None:
    with EmbeddedBroker({"full.v1": 1}) as broker:
        _produce(broker.bootstrap, "full.v1", [os.urandom(50_000) for _ in range(200)])
        with (
            Segments(broker.bootstrap, tmp_path / "segments") as segments,
            pytest.raises(SegmentsIncomplete, match=r"full\.v1"),
        ):
            segments.drain(20)


def test_a_slow_reader_holds_the_producer_until_it_commits(embedded_kafka: Kafka) -> None:
    topic = embedded_kafka.new_topic(partitions=1)
    throttle = Throttle(embedded_kafka.bootstrap, {topic: ["slow"]}, deadline_s=2)
    producer = Producer(_settings(embedded_kafka.bootstrap))
    sent = 0
    with pytest.raises(ThrottleStalled, match=r"group slow is .* records behind"):  # noqa: PT012
        while sent < 10_000:
            throttle.room(topic, 10_000)
            producer.produce(topic, os.urandom(10_000), partition=0)
            producer.flush()
            sent += 1
    assert 150 < sent < 350
    reader = _consumer(embedded_kafka.bootstrap, "slow")
    reader.commit(offsets=[TopicPartition(topic, 0, sent)], asynchronous=False)
    _segments(embedded_kafka).drain()
    throttle.room(topic, 10_000)
    reader.close()


def test_room_is_cheap_while_readers_keep_up(embedded_kafka: Kafka) -> None:
    topic = embedded_kafka.new_topic(partitions=1)
    throttle = Throttle(embedded_kafka.bootstrap, {})
    throttle.room(topic, 100)
    started = time.monotonic()
    for _ in range(1_000):
        throttle.room(topic, 100)
    assert time.monotonic() - started < 0.5
    NoThrottle().room(topic, 1 << 30)
    with pytest.raises(ValueError, match="limit"):
        throttle.room(topic, 3 << 20)


def test_the_archive_is_found_by_the_throttle_under_its_group(embedded_kafka: Kafka) -> None:
    topic = embedded_kafka.new_topic(partitions=1)
    _produce(embedded_kafka.bootstrap, topic, [b"x"] * 10)
    _segments(embedded_kafka).drain()
    consumer = _consumer(embedded_kafka.bootstrap, SEGMENTS_GROUP)
    committed = consumer.committed([TopicPartition(topic, 0)], timeout=10)
    consumer.close()
    assert committed[0].offset == 10


def test_a_torn_tail_is_ignored_and_damage_is_reported(embedded_kafka: Kafka) -> None:
    topic = embedded_kafka.new_topic(partitions=1)
    _produce(embedded_kafka.bootstrap, topic, [b"first", b"second", b"third"])
    segments = _segments(embedded_kafka)
    segments.drain()
    path = segment_path(segments.directory, topic, 0)
    content = path.read_bytes()
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        assert end_offset(segments.directory, topic, 0) <= 2
    path.write_bytes(content.replace(b"second", b"Second"))
    with pytest.raises(SegmentDamaged, match="checksum"):
        end_offset(segments.directory, topic, 0)
    path.write_bytes(content)


def test_segments_of_an_earlier_run_are_put_aside(tmp_path: Path) -> None:
    directory = tmp_path / "segments"
    for value in (b"first run", b"second run"):
        with EmbeddedBroker({"t.v1": 1}) as broker, Segments(broker.bootstrap, directory):
            _produce(broker.bootstrap, "t.v1", [value])
    previous = tmp_path / "segments.previous"
    assert [r.value for r in read_segments(directory, "t.v1", 0)] == [b"second run"]
    assert [r.value for r in read_segments(previous, "t.v1", 0)] == [b"first run"]


def test_segments_can_be_read_by_nobody_else(tmp_path: Path) -> None:
    directory = tmp_path / "stack" / "segments"
    directory.mkdir(0o755, parents=True)
    with EmbeddedBroker() as broker, Segments(broker.bootstrap, directory):
        modes = {path.name: path.stat().st_mode & 0o777 for path in directory.parent.iterdir()}
    assert modes == {"segments": 0o700, "segments.previous": 0o700}


def test_valkey_never_evicts_and_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom deploy.embedded import EmbeddedValkey\n"
        "server = EmbeddedValkey(Path(sys.argv[1])).start()\n"
        "print(server.url, server.pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        url, pid = parent.stdout.readline().split()
        with Redis.from_url(url) as client:
            policy = client.config_get("maxmemory-policy")
        parent.send_signal(signal.SIGKILL)
    assert policy == {"maxmemory-policy": "noeviction"}
    assert _gone(int(pid))


def test_redis_keeps_its_data_over_a_restart_and_a_kill(tmp_path: Path) -> None:
    with RealRedis(tmp_path / "redis") as server, Redis.from_url(server.url) as client:
        client.set("k", "v")
        server.restart()
        kept = client.get("k")
        client.set("k", "w")
        # The append-only file is written before the reply; only a power cut could lose this.
        server.kill()
        server.start()
        assert (kept, client.get("k")) == (b"v", b"w")


def test_embedded_valkey_starts_empty(tmp_path: Path) -> None:
    for _ in range(2):
        with EmbeddedValkey(tmp_path) as server, Redis.from_url(server.url) as client:
            assert client.dbsize() == 0
            client.set("k", "v")


@pytest.mark.usefixtures("real_stack")
def test_two_kafkas_run_side_by_side_and_one_survives_a_kill(tmp_path: Path) -> None:
    with RealKafka(tmp_path / "a") as one, RealKafka(tmp_path / "b") as two:
        assert one.bootstrap != two.bootstrap
        address = one.bootstrap
        one.kill()
        one.start()
        assert one.bootstrap == address


@pytest.mark.usefixtures("real_stack")
def test_the_stack_command_says_where_it_is_and_cleans_up(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.stack", "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stack:
        assert stack.stdout is not None
        lines = [stack.stdout.readline().split() for _ in range(2)]
        said = json.loads((tmp_path / "stack.json").read_text())
        stack.send_signal(signal.SIGTERM)
        assert stack.wait(60) == 0
    assert said == {
        "kafka": lines[0][1],
        "redis": lines[1][1],
        "embedded": False,
        "pid": stack.pid,
    }
    assert not (tmp_path / "stack.json").exists()


@pytest.mark.usefixtures("real_stack")
@pytest.mark.parametrize("name", ["Kafka", "Redis"])
def test_the_stack_command_ends_when_a_server_ends_and_says_which(
    tmp_path: Path, name: str
) -> None:
    command = [sys.executable, "-m", "deploy.stack", "--data-dir", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as stack:
        assert stack.stdout is not None
        assert stack.stderr is not None
        try:
            _, redis = (stack.stdout.readline().split()[1] for _ in range(2))
            info: Any = Redis.from_url(redis).info("server")
            pids = {"Kafka": _kafka_in(tmp_path), "Redis": int(info["process_id"])}
            os.kill(pids[name], signal.SIGKILL)
            assert stack.wait(60) == 1
            assert f"{name}: it ended (code 137)" in stack.stderr.read()
        finally:
            stack.terminate()
    assert all(_gone(pid) for pid in pids.values())
    assert not (tmp_path / "stack.json").exists()


def test_a_system_whose_embedded_valkey_ends_says_so_and_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streams.cli", "up", "--json"]
    with subprocess.Popen(
        command,
        env={**os.environ, "EHPS_DATA_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as system:
        assert system.stdout is not None
        assert system.stderr is not None
        try:
            said = json.loads(system.stdout.readline())
            info: Any = Redis.from_url(said["redis"]).info("server")
            os.kill(int(info["process_id"]), signal.SIGKILL)
            assert system.wait(60) == 1
            assert "Valkey: it ended (code 137)" in system.stderr.read()
        finally:
            system.terminate()
    assert all(_gone(pid) for pid in said["workers"])
    assert not (tmp_path / "stack.json").exists()


def _kafka_in(folder: Path) -> int:
    """The process of the broker whose files are in a folder: not the shell that keeps it."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True
    )
    found = [
        line
        for line in listed.stdout.splitlines()
        if "kafka.Kafka" in line and str(folder) in line and "ehps-server" not in line
    ]
    assert len(found) == 1
    return int(found[0].split()[0])


def _settings(bootstrap: str) -> dict[str, str | int | bool]:
    return {
        "bootstrap.servers": bootstrap,
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": "lz4",
        "partitioner": "murmur2_random",
    }


def _produce(
    bootstrap: str,
    topic: str,
    values: list[bytes] | list[bytes | None],
    headers: list[tuple[str, str | bytes | None]] | None = None,
) -> None:
    errors: list[object] = []
    producer = Producer(_settings(bootstrap))
    for value in values:
        producer.produce(
            topic,
            value,
            key=b"k",
            partition=0,
            headers=headers or [],
            on_delivery=lambda error, _: errors.append(error) if error else None,
        )
    assert producer.flush(30) == 0
    assert errors == []


def _consumer(bootstrap: str, group: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest" if group.startswith("group-") else "error",
            "session.timeout.ms": 6000,
        }
    )


def _take(consumer: Consumer, count: int) -> list[tuple[int | None, bytes | None, bytes | None]]:
    got: list[tuple[int | None, bytes | None, bytes | None]] = []
    deadline = time.monotonic() + 30
    while len(got) < count and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None:
            assert message.error() is None
            got.append((message.offset(), message.key(), message.value()))
    return got


def _first(consumer: Consumer) -> int | None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None:
            error = message.error()
            return None if error is None else error.code()
    return None


def _watermarks(bootstrap: str, topic: str) -> tuple[int, int]:
    consumer = _consumer(bootstrap, "watermarks")
    try:
        return consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    finally:
        consumer.close()


def _segments(kafka: Kafka) -> Segments:
    assert kafka.segments is not None
    return kafka.segments


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False
