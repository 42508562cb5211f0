"""Doctor names the cause of each fault, by a constant name, with what to do."""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from redis import Redis

from deploy.embedded import EmbeddedBroker, EmbeddedValkey
from ehps.log import RecordKind, pack_other
from ehps.state import Authority, Partition
from schemas.topics import LINKS, LOG, dead_letter_topic
from streams import checks, room
from streams.cli.app import run
from streams.config import Settings
from streams.doctor import examine
from streams.kafka import producer
from streams.logwriter import EHPS
from streams.ports import Stretch
from streams.registry import LIVE, Registry
from streams.store import tag
from streams.topicadmin import apply, plan
from streams.up import Workers
from tests.integration.conftest import Kafka
from tests.integration.living import LA, eventually

pytestmark = pytest.mark.timeout(120)
NOWHERE = "127.0.0.1:1"


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as server:
        yield server


@pytest.fixture(autouse=True)
def short_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing runs in most of these tests: there is nothing to wait for."""
    monkeypatch.setattr(checks, "STUCK_S", 0.02)


@pytest.fixture
def settings(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[Settings]:
    """A broker that others of these tests have written to, and a Redis of its own."""
    with EmbeddedValkey(tmp_path / "valkey") as valkey:
        yield Settings(
            kafka=broker.bootstrap,
            redis=valkey.url,
            embedded=True,
            group_prefix=f"g{time.monotonic_ns()}",
        )


def causes(settings: Settings) -> dict[str, str]:
    """Cause -> sentence."""
    report = examine(settings)
    assert report["ok"] == (not report["problems"])
    assert all(found["do"] for found in report["problems"])
    return {found["cause"]: found["problem"] for found in report["problems"]}


def test_a_broker_that_is_gone_and_a_redis_that_is_gone_are_named(settings: Settings) -> None:
    no_broker = causes(settings.model_copy(update={"kafka": NOWHERE}))
    no_redis = causes(settings.model_copy(update={"redis": f"redis://{NOWHERE}/0"}))
    assert no_broker.keys() == {"broker_gone"}
    assert "redis_gone" in no_redis
    assert "broker_gone" not in no_redis


def test_the_command_reports_what_is_away_and_exits_with_1(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["doctor", "--kafka", NOWHERE, "--redis", settings.redis, "--json"])
    report = orjson.loads(capsys.readouterr().out)
    assert (code, report["ok"]) == (1, False)
    assert [found["cause"] for found in report["problems"]] == ["broker_gone"]


def test_a_redis_that_evicts_is_named(settings: Settings) -> None:
    Redis.from_url(settings.redis).config_set("maxmemory-policy", "allkeys-lru")
    assert "allkeys-lru" in causes(settings)["redis_evicts"]


def test_a_redis_that_is_nearly_full_is_named(settings: Settings) -> None:
    Redis.from_url(settings.redis).config_set("maxmemory", 1 << 20)
    assert "redis_full" in causes(settings)


def test_states_that_stand_before_what_was_committed_are_a_redis_that_went_back(
    settings: Settings,
) -> None:
    heartbeat(settings, datetime.now(UTC), datetime.now(UTC))
    commit(settings, settings.scorer_group, LOG, 0, 1)
    found = causes(settings)
    assert "partition 0 stands at 0, 1 was committed" in found["states_behind"]
    assert "log_differs" not in found


@pytest.mark.parametrize(
    ("seal", "said"),
    [
        ({"topic_id": "another", "digest": ""}, "another topic"),
        ({"topic_id": "embedded", "digest": "0" * 64}, "is not the one that was applied"),
    ],
)
def test_states_of_another_log_are_told(
    settings: Settings, seal: dict[str, str], said: str
) -> None:
    heartbeat(settings, datetime.now(UTC), datetime.now(UTC))
    client = Redis.from_url(settings.redis)
    client.mset({f"{tag(0)}:offset": 1, f"{tag(0)}:guard": orjson.dumps(seal)})
    assert said in causes(settings)["log_differs"]


def test_look_ups_that_redis_lost_are_named_until_they_are_read_again(settings: Settings) -> None:
    commit(settings, settings.agents_group, LINKS, 0, 3)
    assert f"{LINKS} is held up to 0, 3 was finished" in causes(settings)["lookups_behind"]
    Registry(Redis.from_url(settings.redis)).learn(Stretch(LINKS, 0, 0, 3))
    assert "lookups_behind" not in causes(settings)


def test_scorers_of_another_group_on_the_same_states_are_named(settings: Settings) -> None:
    heartbeat(settings, datetime.now(UTC), datetime.now(UTC))
    client = Redis.from_url(settings.redis)
    seal = {"topic_id": "embedded", "digest": "0" * 64, "group": "trial-scorer"}
    client.mset({f"{tag(0)}:guard": orjson.dumps(seal)})
    assert "1 partitions were last committed by trial-scorer" in causes(settings)["two_owners"]
    client.mset({f"{tag(0)}:guard": orjson.dumps(seal | {"group": settings.scorer_group})})
    assert "two_owners" not in causes(settings)


def test_a_disk_without_room_for_segments_is_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = settings.model_copy(update={"segments": tmp_path})
    assert "disk_full" not in causes(here)
    monkeypatch.setattr(room, "ROOM_MIN_BYTES", 1 << 60)
    assert "the archiver waits" in causes(here)["disk_full"]


def test_states_that_stand_behind_the_end_of_the_log_are_told(settings: Settings) -> None:
    Redis.from_url(settings.redis).set(f"{tag(0)}:offset", 1 << 40)
    assert "the states stand at" in causes(settings)["log_differs"]


def test_a_partition_that_grows_while_its_offset_stands_is_stuck(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat(settings, datetime.now(UTC), datetime.now(UTC))
    now = datetime.now(UTC)
    monkeypatch.setattr(time, "sleep", lambda _: heartbeat(settings, now, now))
    found = causes(settings)["stuck"]
    assert "ehps.log.v1 partition 0 is stuck" in found
    assert "1 more came" in found


def test_a_worker_that_ends_again_and_again_is_named_with_its_cause(
    settings: Settings, tmp_path: Path
) -> None:
    Redis.from_url(settings.redis).config_set("maxmemory-policy", "allkeys-lru")
    heartbeat(settings, datetime.now(UTC), datetime.now(UTC))
    here = settings.model_copy(update={"data_dir": tmp_path})
    workers = Workers(here, [("scorer",)], note=lambda _: None)
    workers.start()
    try:
        eventually(lambda: workers.tend() or workers.restarts >= 2)
        found = causes(here)
    finally:
        workers.stop()
    assert "scorer ended 2 times in the last 5 minutes" in found["crashing"]
    assert "has maxmemory-policy allkeys-lru: set it to noeviction" in found["crashing"]
    assert "stuck" not in found


def test_a_partition_that_moves_is_not_stuck(settings: Settings) -> None:
    before = checks.Look(settings).take()
    for partition in range(4):
        commit(settings, settings.scorer_group, LOG, partition, 1)
    after = checks.Look(settings).take()
    moved = {(LOG, 0): 1, (LOG, 1): 1, (LOG, 2): 1, (LOG, 3): 1}
    assert after.done[settings.scorer_group] == moved
    stuck = [one for one in checks.flow(before, after) if "ehps.log.v1" in one.problem]
    assert stuck == []


def test_a_heartbeat_clock_that_differs_from_the_broker_is_told(settings: Settings) -> None:
    Registry(Redis.from_url(settings.redis)).set_authority(LA, LIVE)
    now = datetime.now(UTC)
    heartbeat(settings, now + timedelta(minutes=20), now)
    assert "20 minutes ahead of the broker's" in causes(settings)["clock_differs"]
    heartbeat(settings, now, now)
    assert "clock_differs" not in causes(settings)


def test_a_machine_whose_clock_is_behind_the_broker_is_told(settings: Settings) -> None:
    now = datetime.now(UTC)
    heartbeat(settings, now + timedelta(hours=1), now + timedelta(hours=1))
    found = [one.problem for one in checks.clock(settings, [])]
    assert found == ["this machine's clock is 60 minutes behind the broker's"]


def test_messages_that_are_refused_now_are_told_with_the_chief_reason(settings: Settings) -> None:
    client = producer(settings.kafka)
    for number in range(checks.REFUSED_HOUR_MAX + 1):
        reason = b"unknown_code" if number else b"not_json"
        headers = [("__streams.errors.exception", reason)]
        client.produce(dead_letter_topic("housing"), b"{}", headers=headers)
    client.flush(10)
    found = causes(settings)["refusing"]
    assert found == "21 messages from housing were refused in the last hour, 20 for unknown_code"


def test_letters_of_another_day_are_not_a_problem_of_now(settings: Settings) -> None:
    client = producer(settings.kafka)
    long_ago = int((time.time() - 7200) * 1000)
    for _ in range(checks.REFUSED_HOUR_MAX + 1):
        client.produce(dead_letter_topic("police"), b"{}", timestamp=long_ago)
    client.flush(10)
    assert list(checks.refused(settings, {"police": 21})) == []


def test_an_authority_without_heartbeats_is_told() -> None:
    now = int(time.time())
    control = {"id": "c1"}
    fresh, stale = Authority(time=now, control=control), Authority(time=now - 3600, control=control)
    still = checks.authorities({LA: LIVE}, [Partition({LA: fresh}), Partition({LA: stale})])
    well = checks.authorities({LA: LIVE}, [Partition({LA: fresh})])
    past = checks.authorities({LA: "history"}, [Partition({LA: stale})])
    assert [one.cause for one in still] == ["no_heartbeat"]
    assert (list(well), list(past)) == ([], [])


def test_authorities_without_a_control_or_with_two_are_told() -> None:
    now = int(time.time())
    one, two = (Authority(time=now, control={"id": name}) for name in ("a", "b"))
    several = checks.authorities({LA: LIVE}, [Partition({LA: one}), Partition({LA: two})])
    assert [found.cause for found in checks.authorities({}, [])] == ["no_authority"]
    assert [found.cause for found in checks.authorities({LA: LIVE}, [])] == ["no_control"]
    assert [found.cause for found in several] == ["two_controls"]


def test_missing_and_differing_topics_and_roles_that_nobody_runs_are_named(
    kafka: Kafka, redis: str
) -> None:
    if kafka.embedded:
        pytest.skip("the embedded broker makes topics by itself and knows no members")
    Redis.from_url(redis).flushall()
    here = Settings(kafka=kafka.bootstrap, redis=redis, group_prefix=f"g{time.monotonic_ns()}")
    kafka.create(LOG, 2)  # kept for ever it is not
    first = causes(here)
    apply(here.kafka, plan(here.kafka, 2, embedded=False))
    then = eventually(lambda: steady(here))
    reader = scorer_of(here)
    deadline = time.monotonic() + 30
    while not reader.assignment() and time.monotonic() < deadline:
        reader.poll(0.1)
    running = eventually(lambda: steady(here))
    with closing(scorer_of(here)) as newcomer:  # and the first does not answer the group
        newcomer.poll(0.5)
        eventually(lambda: "rebalancing" in causes(here))
    reader.close()
    assert {"topics_missing", "topics_differ", "no_scorer", "no_intake"} <= first.keys()
    assert "retention.ms" in first["topics_differ"]
    assert "topics_missing" not in then
    assert "no_scorer" not in running
    assert "no_intake" in running


def scorer_of(settings: Settings) -> Consumer:
    """A member of the scorers' group that reads when it is asked to."""
    reader = Consumer(
        {"bootstrap.servers": settings.kafka, "group.id": settings.scorer_group, "log_level": 2}
    )
    reader.subscribe([LOG])
    return reader


def steady(settings: Settings) -> dict[str, str] | None:
    """Causes, once the broker has leaders for topics that it has just made."""
    found = causes(settings)
    return None if "broker_unsteady" in found else found


def heartbeat(settings: Settings, told: datetime, appended: datetime) -> None:
    """A heartbeat on partition 0 of the log, with the broker's time of it."""
    value = orjson.dumps({"la": LA, "time": told, "sources": {}})
    client = Producer({"bootstrap.servers": settings.kafka})
    client.produce(
        LOG,
        value,
        b"",
        0,
        timestamp=int(appended.timestamp() * 1000),
        headers=[(EHPS, pack_other(RecordKind.HEARTBEAT, LA))],
    )
    client.flush(10)


def commit(settings: Settings, group: str, topic: str, partition: int, offset: int) -> None:
    """A group is told an offset."""
    client = Consumer({"bootstrap.servers": settings.kafka, "group.id": group})
    client.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
    client.close()
