"""Whether Redis, and the disk of the embedded stack's segments, keep what they are given and have room for more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import redis

from streams.checks import Finding
from streams.config import Settings
from streams.redisclient import policy_of

ROOM_MIN_BYTES = 64 << 20
"""Less room than this on the disk of the segments is told."""


def archive(settings: Settings) -> Iterator[Finding]:
    """Whether the embedded stack's archiver has room to write."""
    if settings.segments is None or not settings.segments.exists():
        return
    free = shutil.disk_usage(settings.segments).free
    if free < ROOM_MIN_BYTES:
        what = f"the disk of {settings.segments} has {free >> 20} MiB left: the archiver waits, and so does all else"
        yield Finding("disk_full", what, "make room on it; all goes on by itself then")


def redis_server(server: redis.Redis) -> Iterator[Finding]:
    """Whether one server of Redis keeps what it is given."""
    policy = policy_of(server)
    if policy is None:
        what = "Redis hides its eviction policy: a lost key would look like a new family"
        yield Finding("policy_hidden", what, "ask its operator for maxmemory-policy noeviction")
    elif policy != "noeviction":
        do = "CONFIG SET maxmemory-policy noeviction, then `ehps rebuild`: states may be gone already"
        yield Finding("redis_evicts", f"Redis may evict keys ({policy})", do)
    info: Any = server.info()
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if most and used > 0.9 * most:
        what = f"Redis holds {used / most:.0%} of the memory that it may use"
        yield Finding("redis_full", what, "give it more: a full Redis refuses every commit")
    if info.get("aof_last_write_status", "ok") != "ok" or _dump_refuses(server, info):
        what = "Redis cannot write to its disk, and refuses every commit until it can"
        yield Finding("redis_disk_full", what, "make room on its disk; all goes on by itself then")


def _dump_refuses(server: redis.Redis, info: Mapping[str, Any]) -> bool:
    """Whether a dump failed, on a server that then refuses writes."""
    if info.get("rdb_last_bgsave_status", "ok") == "ok":
        return False
    try:
        asked = server.config_get("stop-writes-on-bgsave-error", "save")
    except redis.ResponseError:
        return True
    return asked.get("stop-writes-on-bgsave-error") == "yes" and bool(asked.get("save"))
