"""Composition root of a worker: settings, clients, stores, core, services; nothing starts before `run_worker`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import faust
import redis
from confluent_kafka.admin import AdminClient

from ehps.library import Library
from schemas.topics import AGENCY_TOPICS, ALERTS, CONTROL, DECISIONS, LINKS, LOG, SCORES
from streams.agents import Controls, Decisions, Links, Pulse
from streams.app import Loop, Take, build
from streams.config import Settings
from streams.content import library as library_of
from streams.errors import BrokerUnavailable, ConfigError, RedisUnavailable
from streams.intake import Intake
from streams.kafka import Sender, partitions_of, producer
from streams.logs import configure, logger
from streams.logwriter import LogWriter
from streams.recover import recover
from streams.scorer import Scorer
from streams.store import RedisStore, Registry, connect
from streams.throttle import NoThrottle, Throttle

ROLES = ("intake", "scorer")
WAIT_S = (0.2, 5.0)
T = TypeVar("T")


def run_worker(roles: list[str], settings: Settings) -> None:
    """Run roles in this process until SIGTERM or Ctrl-C. Agents and timers run with intake.

    Raises:
        ConfigError: an unknown role, or a server set up in a way that would lose data.
    """
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        raise ConfigError(
            f"unknown role {unknown[0] if unknown else '(none)'}; roles: {', '.join(ROLES)}"
        )
    configure(settings.log_level)
    library = library_of(settings.content)
    client = _wait(lambda: connect(settings.redis))
    partitions = _wait(lambda: _log_partitions(settings))
    loops: list[Loop] = []
    takes: dict[str, Take] = {}
    pulse: Callable[[], None] | None = None
    sweep: Callable[[], int] | None = None
    if "scorer" in roles:
        loops.append(_scorer(settings, client, library))
    if "intake" in roles:
        loop, takes, pulse, sweep = _intake(settings, client, partitions)
        loops.append(loop)
    app = build(settings, loops, takes, pulse, sweep)
    logger().info("worker.start", roles=roles, kafka=settings.kafka, log_partitions=partitions)
    faust.Worker(
        app, loglevel="ERROR", redirect_stdouts=False, daemon=True, quiet=True
    ).execute_from_commandline()


def sender(settings: Settings, readers: dict[str, list[str]]) -> Sender:
    """A sender with a producer of its own, held back where the broker is the embedded one."""
    client = producer(settings.kafka)
    throttle = (
        Throttle(settings.kafka, readers, producer=client) if settings.embedded else NoThrottle()
    )
    return Sender(client, throttle)


def readers_of(settings: Settings) -> dict[str, list[str]]:
    """Consumer groups that must have read a topic before the embedded broker may drop records."""
    agents = {topic: [settings.agents_group] for topic in (LINKS, DECISIONS, CONTROL)}
    return {
        LOG: [settings.scorer_group],
        **{topic: [settings.intake_group] for topic in AGENCY_TOPICS},
        **agents,
        ALERTS: [],
        SCORES: [],
    }


def _scorer(settings: Settings, client: redis.Redis, library: Library) -> Loop:
    scorer = Scorer(
        settings,
        RedisStore(client),
        library,
        sender(settings, readers_of(settings)),
        _topic_id(settings),
    )
    return Loop("scorer", scorer.run)


def _intake(
    settings: Settings, client: redis.Redis, partitions: int
) -> tuple[Loop, dict[str, Take], Callable[[], None], Callable[[], int]]:
    registry, readers = Registry(client), readers_of(settings)

    def tools() -> tuple[Sender, LogWriter]:
        mine = sender(settings, readers)
        return mine, LogWriter(mine, partitions)

    def releaser() -> Intake:
        return Intake(settings, registry, *tools())

    intake = releaser()
    recover(settings, registry, releaser(), datetime.now(UTC))
    takes: dict[str, Take] = {
        LINKS: Links(registry, *tools(), releaser()).take,
        DECISIONS: Decisions(registry, *tools()).take,
        CONTROL: Controls(registry, *tools()).take,
    }
    return Loop("intake", intake.run), takes, Pulse(registry, tools()[1]).beat, releaser().sweep


def _log_partitions(settings: Settings) -> int:
    count = partitions_of(settings.kafka, LOG)
    if not count:
        raise BrokerUnavailable(f"{settings.kafka} has no topic {LOG}: run `ehps topics apply`")
    return count


def _topic_id(settings: Settings) -> str:
    """The broker's id of the log, so that another topic of the same name is noticed; the embedded broker has none."""
    if settings.embedded:
        return "embedded"
    from confluent_kafka import TopicCollection  # noqa: PLC0415

    # Named, so that it lives until the answer is there: a client that is let go takes its futures along.
    client = AdminClient({"bootstrap.servers": settings.kafka, "log_level": 2})
    answer = client.describe_topics(TopicCollection([LOG]))
    return str(answer[LOG].result(timeout=10).topic_id)


def _wait(ask: Callable[[], T]) -> T:
    """Ask until somebody answers: a service waits where a person would be told to start something."""
    delay = WAIT_S[0]
    while True:
        try:
            return ask()
        except (BrokerUnavailable, RedisUnavailable) as error:
            logger().warning("worker.waiting", reason=str(error), wait_s=delay)
            time.sleep(delay)
            delay = min(delay * 2, WAIT_S[1])
