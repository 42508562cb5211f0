"""Servers that are away, topics that are missing or differ, and a doctor who says so, on real parts."""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AdminClient,
    NewTopic,
)

from deploy.child import Child, free_port
from deploy.real import RealKafka, RealRedis
from schemas.topics import TOPICS
from streams.config import load_settings
from tests.integration.product import (
    Product,
    link,
    notification,
    running_product,
    wait_for,
)

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("real_stack")]


def test_topics_are_planned_created_once_and_then_left_alone(real_product: Product) -> None:
    before, made, after = real_product.topics[:3]
    assert (before["code"], {t["action"] for t in before["topics"]}) == (1, {"create"})
    assert (made["code"], sorted(made["created"])) == (0, sorted(t.name for t in TOPICS))
    assert (after["code"], {t["action"] for t in after["topics"]}) == (0, {"ok"})
    again = real_product.ehps("topics", "apply")
    assert (again["created"], again["differing"]) == ([], [])


def test_doctor_finds_nothing_wrong_while_all_runs(real_product: Product) -> None:
    real_product.settle()
    report = real_product.ehps("doctor")
    assert (report["ok"], report["problems"]) == (True, [])


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RealKafka, RealRedis]]:
    """A broker and Redis that may be killed, where somebody made two of the topics by hand."""
    folder = tmp_path_factory.mktemp("servers")
    with RealKafka(folder / "kafka") as kafka, RealRedis(folder / "redis") as redis:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        by_hand = [
            NewTopic("agency.police.v1", 3, 1),
            NewTopic("ehps.scores.v1", 4, 1, config={"cleanup.policy": "compact"}),
        ]
        for future in admin.create_topics(by_hand).values():
            future.result(timeout=30)
        yield kafka, redis


@pytest.fixture(scope="module")
def bare(servers: tuple[RealKafka, RealRedis], tmp_path_factory: pytest.TempPathFactory) -> Product:
    """Those servers, on which nothing of ours runs."""
    kafka, redis = servers
    folder = tmp_path_factory.mktemp("bare")
    environment = {
        "EHPS_KAFKA": kafka.bootstrap,
        "EHPS_REDIS": redis.url,
        "EHPS_DATA_DIR": str(folder),
        "EHPS_LOG_PARTITIONS": "4",
    }
    settings = load_settings(kafka=kafka.bootstrap, redis=redis.url, data_dir=folder)
    return Product(environment, folder, settings)


def test_doctor_names_what_is_missing_and_the_command_for_it(bare: Product) -> None:
    said = {p["problem"]: p["do"] for p in bare.ehps("doctor", code=1)["problems"]}
    missing = f"{len(TOPICS) - 2} topics are missing"
    assert any(what.startswith(missing) and do == "ehps topics apply" for what, do in said.items())
    assert any("no authority is set up" in what for what in said)


def test_topics_that_differ_are_reported_and_left_as_they_are(bare: Product) -> None:
    said = bare.ehps("topics", "apply", code=1)
    assert len(said["created"]) == len(TOPICS) - 2
    differing = {topic["topic"]: topic["detail"] for topic in said["differing"]}
    assert differing.keys() == {"agency.police.v1", "ehps.scores.v1"}
    assert "3 partitions, not 4" in differing["agency.police.v1"]
    assert "cleanup.policy is compact, not delete" in differing["ehps.scores.v1"]
    planned = bare.ehps("topics", "plan", code=1)
    assert {t["topic"] for t in planned["topics"] if t["action"] == "differs"} == set(differing)


def test_doctor_says_that_no_scorer_runs(real_product: Product) -> None:
    other = {"EHPS_GROUP_PREFIX": "nobody"}
    problems = real_product.ehps("doctor", code=1, **other)["problems"]
    said = {p["problem"]: p["do"] for p in problems}
    assert said["nobody reads as nobody-scorer"] == "start `ehps worker scorer`"
    assert said["nobody reads as nobody-intake"] == "start `ehps worker intake`"


def test_a_worker_waits_for_redis_and_says_which(real_product: Product, tmp_path: Path) -> None:
    port = free_port()
    address = f"redis://127.0.0.1:{port}/0"
    own = {"EHPS_REDIS": address, "EHPS_GROUP_PREFIX": "waiting"}
    with real_product.worker("scorer", wait=False, **own) as child:
        log = _log_of(real_product)
        wait_for("the worker to wait", lambda: b"worker.waiting" in log.read_bytes())
        assert address.encode() in log.read_bytes()
        assert child.alive()
        with RealRedis(tmp_path / "redis", port):
            wait_for("the worker to start", lambda: b"worker.start" in log.read_bytes())
            wait_for("the worker to score", lambda: b"scorer.batch" in log.read_bytes())


def test_a_worker_waits_for_a_broker_that_is_away(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    log = tmp_path / "worker.log"
    with RealRedis(tmp_path / "redis") as redis:
        own = {"EHPS_KAFKA": address, "EHPS_REDIS": redis.url, "EHPS_DATA_DIR": str(tmp_path)}
        command = [sys.executable, "-m", "streams.cli", "worker", "intake"]
        child = Child(command, log, {**os.environ, **own})
        try:
            wait_for("the worker to wait", lambda: log.exists() and b"waiting" in log.read_bytes())
            assert address.encode() in log.read_bytes()
            assert child.alive()
        finally:
            child.kill()


def test_work_goes_on_after_the_broker_or_redis_was_away(
    servers: tuple[RealKafka, RealRedis], tmp_path: Path
) -> None:
    kafka, redis = servers
    words = ("--kafka", kafka.bootstrap, "--redis", redis.url)
    with running_product(tmp_path / "stack", lambda _: words) as product:
        _survive(product, kafka, redis)


def _survive(product: Product, kafka: RealKafka, redis: RealRedis) -> None:
    product.tell(link("outage", "f-outage"), notification("outage"))
    redis.kill()
    product.send(_message(notification("outage", "amber")))
    time.sleep(1.0)
    redis.start()
    product.settle()
    kafka.kill()
    time.sleep(1.0)
    kafka.start()
    product.tell(notification("outage", "red"))
    kinds = [c["kind"] for c in product.explain("f-outage")["contributions"]]
    grades = {kind.rsplit(".", 1)[-1] for kind in kinds if kind.startswith("police.notification")}
    assert grades == {"green", "amber", "red"}
    assert product.ehps("reconcile")["unaccounted"] == 0
    assert product.ehps("replay", "--verify")["replay_differences"] == 0


def test_a_redis_that_evicts_is_refused(real_product: Product, tmp_path: Path) -> None:
    with RealRedis(tmp_path / "redis") as redis:
        from redis import Redis

        with Redis.from_url(redis.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        said = real_product.ehps("doctor", "--redis", redis.url, code=1)
    assert "noeviction" in said["error"]


def _message(of: dict[str, object]) -> tuple[str, str, bytes, dict[str, str]]:
    return "agency.police.v1", str(of["subject"]), json.dumps(of).encode(), {}


def _log_of(product: Product) -> Path:
    return max(product.data_dir.glob("extra-*.log"), key=lambda path: path.stat().st_mtime_ns)
