"""What runs, what is wrong, and what to do about it."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from typing import Any

import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ehps.library import KERNEL_VERSION
from ehps.state import Partition
from schemas.topics import LOG, dead_letter_topic
from streams import checks, room
from streams.checks import Finding, Look
from streams.config import Settings
from streams.deadletters import SOURCES
from streams.errors import BrokerUnavailable
from streams.guard import LogGuard
from streams.kept import Kept
from streams.redisclient import ERRORS as REDIS_ERRORS
from streams.redisclient import client_of, masters, policy_of, shown
from streams.registry import LIVE, Registry
from streams.store import RedisStore
from streams.worker import topic_id

SILENT_S_MAX = 7 * 86_400
"""A source silent for longer is told; the policy has its own limits for step-downs."""
ANSWER_S = 3.0
PACKAGES = ("confluent-kafka", "faust-streaming", "redis", "pydantic", "numpy", "river", "orjson")


def examine(settings: Settings) -> dict[str, Any]:
    """The state of a system as one document; `problems` holds causes, sentences and what to do.

    What cannot be looked at, because a server is away, is left out.
    """
    report: dict[str, Any] = {
        "kafka": settings.kafka,
        "redis": shown(settings.redis),
        "embedded": settings.embedded,
        "versions": versions(),
    }
    found = [*checks.crashing(settings)]
    kafka, client = _kafka(settings, found), _redis(settings, found)
    if client is not None:
        servers = masters(client)
        report["redis_server"] = _server(servers[0]) | {"masters": len(servers)}
        for server in servers:
            found += room.redis_server(server)
    if kafka:
        try:
            found += _broker(settings, client, report)
        except BrokerUnavailable as error:
            found.append(Finding("broker_unsteady", str(error), "look again in a minute"))
    problems = [finding._asdict() for finding in found]
    return {"ok": not problems, **report, "problems": problems}


def versions() -> dict[str, str]:
    """Versions of what is installed, and of the kernel."""
    found = {"python": platform.python_version(), "kernel": str(KERNEL_VERSION)}
    for package in ("ehps", *PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _broker(
    settings: Settings, client: redis.Redis | None, report: dict[str, Any]
) -> Iterator[Finding]:
    """What the topics say."""
    yield from checks.topics(settings)
    yield from room.archive(settings)
    report["log_partitions"] = len(Kept(settings).watermarks(LOG))
    report["dead_letters"] = refused = _dead_letters(settings)
    yield from checks.refused(settings, refused)
    if report["log_partitions"]:
        yield from _flow(settings, client, report)


def _flow(
    settings: Settings, client: redis.Redis | None, report: dict[str, Any]
) -> Iterator[Finding]:
    """Everything that moves, in two looks; and the states, if Redis is there."""
    before = Look(settings).take()
    if any(before.behind().values()):
        time.sleep(checks.STUCK_S)
    after = Look(settings).take()
    report["lag"] = [
        {"group": group, "topic": topic, "partition": partition, "lag": count}
        for (group, topic, partition), count in after.behind().items()
    ]
    known = {finding.problem.partition(" ")[0] for finding in checks.crashing(settings)}
    yield from chain(checks.members(after), checks.flow(before, after, known))
    if client is None:
        return
    store, registry = RedisStore(client), Registry(client)
    yield from checks.lookups(after, registry)
    yield from checks.owners(after, store)
    yield from checks.states(
        after, store, LogGuard(Kept(settings), topic_id(settings), settings.scorer_group)
    )
    states = [Partition.decode(store.partition_state(p)) for p in after.marks[LOG]]
    held = registry.authorities()
    report["authorities"] = {
        la: _authority(la, mode, registry, states) for la, mode in sorted(held.items())
    }
    yield from checks.authorities(held, states)
    yield from checks.clock(settings, [la for la, mode in held.items() if mode == LIVE])


def _kafka(settings: Settings, found: list[Finding]) -> bool:
    try:
        AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0}).list_topics(
            timeout=ANSWER_S
        )
    except KafkaException:
        do = (
            "start it (`ehps up` or `make stack`), or say where it is with --kafka or EHPS_KAFKA; "
            "if it ran there until now, its own log says why it ended, such as a full disk"
        )
        found.append(Finding("broker_gone", f"no Kafka answers at {settings.kafka}", do))
        return False
    return True


def _redis(settings: Settings, found: list[Finding]) -> redis.Redis | None:
    try:
        return client_of(settings.redis, ANSWER_S)
    except REDIS_ERRORS as error:
        do = "start it (`ehps up` or `make stack`), or say where it is with --redis or EHPS_REDIS"
        what = f"no Redis answers at {shown(settings.redis)} ({type(error).__name__})"
        found.append(Finding("redis_gone", what, do))
        return None


def _server(server: redis.Redis) -> dict[str, Any]:
    info: Any = server.info()
    return {
        "version": str(info.get("valkey_version") or info.get("redis_version")),
        "policy": policy_of(server) or "hidden",
        "memory": str(info.get("used_memory_human")),
    }


def _authority(la: str, mode: str, registry: Registry, states: list[Partition]) -> dict[str, Any]:
    held = [state.authorities[la] for state in states if la in state.authorities]
    times = [authority.time for authority in held]
    signs = registry.signs(la)
    now = datetime.now(UTC).timestamp() if mode == LIVE else max(times, default=0)
    control = next((authority.control for authority in held if authority.control), None) or {}
    return {
        "mode": mode,
        "log_time": _iso(min(times, default=0)),
        "stage": control.get("stage"),
        "control": control.get("id"),
        "release": str(control.get("release", ""))[:12],
        "sources": {source: _iso(at) for source, at in sorted(signs.items())},
        "silent": sorted(source for source, at in signs.items() if now - at > SILENT_S_MAX),
    }


def _dead_letters(settings: Settings) -> dict[str, int]:
    found, kept = {}, Kept(settings)
    for source in SOURCES:
        marks = kept.watermarks(dead_letter_topic(source))
        found[source] = sum(high for _, high in marks.values())
    return {source: count for source, count in found.items() if count}


def _iso(seconds: int) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else None
