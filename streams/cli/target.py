"""Which Kafka and Redis a command talks to, and whether they answer."""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from streams.cli.output import Misused, Problem

if TYPE_CHECKING:
    import redis

    from streams.config import Settings

ANSWER_S = 2.0
"""How long a server may take to accept a connection, in seconds."""
_HELP = "start one with `ehps up` (or `make stack`), or say where it is with"


def settings_of(kafka: str | None, redis_url: str | None) -> Settings:
    """Settings from flags, environment and the running stack's file, in this order of weight."""
    from streams.config import load_settings
    from streams.errors import ConfigError

    try:
        found, given = load_settings(redis=redis_url), load_settings(redis=redis_url, kafka=kafka)
    except ConfigError as exc:
        raise Misused(str(exc)) from exc
    if given.kafka == found.kafka:
        return found
    # Another broker than the stack's: what the file says of the stack's broker is not true of it.
    embedded = found.embedded if "EHPS_EMBEDDED" in os.environ else False
    segments = found.segments if "EHPS_SEGMENTS" in os.environ else None
    return given.model_copy(update={"embedded": embedded, "segments": segments})


def require_kafka(settings: Settings) -> None:
    """End the command with one sentence where no broker listens."""
    addresses = [part.strip() for part in settings.kafka.split(",") if part.strip()]
    if not any(_listens(address) for address in addresses):
        msg = f"No Kafka answers at {settings.kafka}: {_HELP} --kafka or EHPS_KAFKA."
        raise Problem(msg)


def require_redis(settings: Settings) -> redis.Redis:
    """A client of a Redis that answers and never evicts."""
    from streams.redisclient import connect

    parts = [urlsplit(url) for url in settings.redis.split(",")]
    addresses = [f"{part.hostname}:{part.port or 6379}" for part in parts if part.hostname]
    if addresses and not any(map(_listens, addresses)):
        shown = ",".join(addresses)
        msg = f"No Redis answers at {shown}: {_HELP} --redis or EHPS_REDIS."
        raise Problem(msg)
    return connect(settings.redis)


def require_la(la: str) -> None:
    """Ends the command where `--la` is no ONS code."""
    from schemas.envelope import LA_PATTERN

    if not re.fullmatch(LA_PATTERN, la):
        raise Misused("--la is an ONS code: a letter and eight digits, like E06000023.")


def require_log(settings: Settings) -> int:
    """Partitions of the log; ends the command where there is none."""
    from schemas.topics import LOG
    from streams.kafka import partitions_of

    require_kafka(settings)
    count = partitions_of(settings.kafka, LOG)
    if not count:
        msg = f"Kafka at {settings.kafka} has no topic {LOG}: run `ehps topics apply`."
        raise Problem(msg)
    return count


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_S):
            return True
    except (OSError, ValueError):
        return False
