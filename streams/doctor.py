"""What runs, what is wrong, and what to do about it."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import redis

from ehps.library import KERNEL_VERSION
from ehps.state import Partition
from schemas.topics import AGENCY_TOPICS, CONTROL, DECISIONS, LINKS, LOG, TOPICS, UNLINKED
from streams.config import Settings
from streams.deadletters import SOURCES
from streams.history import Groups
from streams.kafka import partitions_of, watermarks
from streams.store import LIVE, RedisStore, Registry

SILENT_S_MAX = 7 * 86_400
"""A source silent for longer is told; the policy has its own limits for step-downs."""
LAG_RECORDS_MAX = 10_000
PACKAGES = ("confluent-kafka", "faust-streaming", "redis", "pydantic", "numpy", "river", "orjson")


def examine(settings: Settings, client: redis.Redis) -> dict[str, Any]:
    """The state of a running system as one document; `problems` holds sentences with what to do."""
    problems: list[dict[str, str]] = []
    log_partitions = partitions_of(settings.kafka, LOG)
    ends = _ends(settings)
    dead = _dead_letters(settings)
    report: dict[str, Any] = {
        "kafka": settings.kafka,
        "redis": settings.redis,
        "embedded": settings.embedded,
        "versions": versions(),
        "log_partitions": log_partitions,
        "redis_server": _redis_server(client, problems),
        "lag": _lag(settings, ends, problems),
        "authorities": _authorities(client, log_partitions, problems),
        "dead_letters": dead,
        "problems": problems,
    }
    missing = [topic.name for topic in TOPICS if topic.name not in ends]
    if missing:
        _add(
            problems,
            f"{len(missing)} topics are missing, such as {missing[0]}",
            "ehps topics apply",
        )
    if dead:
        total = sum(dead.values())
        report["notes"] = [f"{total} messages were refused; see `ehps dlq list`"]
    return {"ok": not problems, **report}


def versions() -> dict[str, str]:
    """Versions of what is installed, and of the kernel."""
    found = {"python": platform.python_version(), "kernel": str(KERNEL_VERSION)}
    for package in ("ehps", *PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _add(problems: list[dict[str, str]], what: str, fix: str) -> None:
    problems.append({"problem": what, "do": fix})


def _ends(settings: Settings) -> dict[str, dict[int, tuple[int, int]]]:
    names = (*AGENCY_TOPICS, LINKS, DECISIONS, CONTROL, LOG)
    rest = [topic.name for topic in TOPICS if topic.name not in names]
    return {
        name: watermarks(settings.kafka, name)
        for name in (*names, *rest)
        if partitions_of(settings.kafka, name)
    }


def _lag(
    settings: Settings,
    ends: dict[str, dict[int, tuple[int, int]]],
    problems: list[dict[str, str]],
) -> list[dict[str, Any]]:
    groups = Groups(settings.kafka)
    rows: list[dict[str, Any]] = []
    readers = [
        (settings.intake_group, AGENCY_TOPICS),
        (settings.agents_group, (LINKS, DECISIONS, CONTROL, UNLINKED)),
        (settings.scorer_group, (LOG,)),
    ]
    for group, topics in readers:
        for topic in topics:
            marks = ends.get(topic, {})
            done = groups.committed(group, [(topic, partition) for partition in marks])
            for partition, (low, high) in marks.items():
                behind = high - max(done.get((topic, partition), 0), low)
                if high > low:
                    rows.append(
                        {"group": group, "topic": topic, "partition": partition, "lag": behind}
                    )
        behind = sum(row["lag"] for row in rows if row["group"] == group)
        if behind > LAG_RECORDS_MAX:
            role = group.rsplit("-", 1)[-1].replace("agents", "intake")
            _add(
                problems, f"{group} is {behind} records behind", f"start more `ehps worker {role}`"
            )
    return rows


def _redis_server(client: redis.Redis, problems: list[dict[str, str]]) -> dict[str, str]:
    info: Any = client.info()
    try:
        policy = str(client.config_get("maxmemory-policy").get("maxmemory-policy", "unknown"))
    except redis.ResponseError:
        policy = "hidden"
        _add(
            problems,
            "Redis hides its eviction policy: a lost key would look like a new family",
            "ask its operator for maxmemory-policy noeviction",
        )
    if policy not in ("noeviction", "hidden"):
        _add(problems, f"Redis may evict keys ({policy})", "CONFIG SET maxmemory-policy noeviction")
    return {
        "version": str(info.get("valkey_version") or info.get("redis_version")),
        "policy": policy,
        "memory": str(info.get("used_memory_human")),
    }


def _authorities(
    client: redis.Redis, log_partitions: int, problems: list[dict[str, str]]
) -> dict[str, Any]:
    registry, store = Registry(client), RedisStore(client)
    modes = registry.authorities()
    if not modes:
        _add(problems, "no authority is set up: its events are refused", "ehps up --la CODE")
    states = [Partition.decode(store.partition_state(p)) for p in range(log_partitions)]
    return {
        la: _authority(la, mode, registry, states, problems) for la, mode in sorted(modes.items())
    }


def _authority(
    la: str, mode: str, registry: Registry, states: list[Partition], problems: list[dict[str, str]]
) -> dict[str, Any]:
    held = [state.authorities[la] for state in states if la in state.authorities]
    controls = {str((authority.control or {}).get("id")) for authority in held}
    if len(controls) > 1:
        _add(
            problems,
            f"{la}: partitions have different controls in force",
            "wait a minute, look again",
        )
    if not held or controls == {"None"}:
        _add(problems, f"{la}: no control is in force", "start a scorer: `ehps worker scorer`")
    times = [authority.time for authority in held]
    signs = registry.signs(la)
    now = datetime.now(UTC).timestamp() if mode == LIVE else max(times, default=0)
    silent = sorted(source for source, at in signs.items() if now - at > SILENT_S_MAX)
    if mode == LIVE and times and now - min(times) > 15 * 60:
        minutes = round((now - min(times)) / 60)
        _add(
            problems,
            f"{la}: log time stands still for {minutes} minutes",
            "start a worker: `ehps worker intake scorer`",
        )
    control = next((authority.control for authority in held if authority.control), None) or {}
    return {
        "mode": mode,
        "log_time": _iso(min(times, default=0)),
        "stage": control.get("stage"),
        "control": control.get("id"),
        "release": str(control.get("release", ""))[:12],
        "sources": {source: _iso(at) for source, at in sorted(signs.items())},
        "silent": silent,
    }


def _dead_letters(settings: Settings) -> dict[str, int]:
    found = {}
    for source in SOURCES:
        marks = watermarks(settings.kafka, f"ehps.dead-letter.{source}.v1")
        found[source] = sum(high for _, high in marks.values())
    return {source: count for source, count in found.items() if count}


def _iso(seconds: int) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else None
