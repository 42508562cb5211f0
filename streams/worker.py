"""Composition root of a worker: settings, clients, stores, core, services; nothing starts before `run_worker`."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import redis
from confluent_kafka.admin import AdminClient

from ehps.library import Library
from schemas.topics import AGENCY_TOPICS, ALERTS, CONTROL, DECISIONS, LINKS, LOG, SCORES, UNLINKED
from streams import collector
from streams.agents import Decisions, Links
from streams.config import Settings
from streams.content import library as library_of
from streams.controls import Controls, Pulse
from streams.errors import BrokerUnavailable, ConfigError, RedisUnavailable
from streams.guard import LogGuard
from streams.intake import Intake
from streams.kafka import CONFIRMED_LINGER_MS, Sender, consumer, partitions_of, producer
from streams.kept import Kept
from streams.logs import configure, logger
from streams.logwriter import LogWriter
from streams.loops import Loop, crash
from streams.parking import Parking
from streams.patience import passes, utc_now
from streams.recover import Recovery
from streams.redisclient import connect
from streams.registry import Registry
from streams.scorer import Scorer
from streams.store import RedisStore
from streams.telling import Pace
from streams.throttle import NoThrottle, Throttle
from streams.unknown import Unknown
from streams.views import Apply, View
from streams.watch import Take, Watch

if TYPE_CHECKING:
    from streams.app import Worker

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
    watch = Watch(settings, crash)
    watch.serve()
    library = library_of(settings.content)
    client = _wait(lambda: connect(settings.redis))
    partitions = _wait(lambda: _log_partitions(settings))
    loops: list[Loop] = []
    takes: dict[str, Take] = {}
    pulse: Callable[[], None] | None = None
    sweep: Callable[[], int] | None = None
    if "scorer" in roles:
        loops.append(_scorer(settings, client, library, watch))
    if "intake" in roles:
        loop, takes, pulse, sweep = _intake(settings, client, library, partitions, watch)
        loops.append(loop)
    watch.start()
    logger().info("worker.start", roles=roles, kafka=settings.kafka, log_partitions=partitions)
    _work(loops, lambda: _host(settings, watch, takes, pulse, sweep))


def _work(loops: list[Loop], host: Callable[[], Worker]) -> None:
    """Loops and their host, until told to stop."""
    told = threading.Event()

    def ask(_number: int, _frame: object) -> None:
        """Raises nothing: that would break what is being imported."""
        told.set()
        for loop in loops:
            loop.ask()

    signal.signal(signal.SIGTERM, ask)
    try:
        for loop in loops:
            loop.start()
        worker = host()
        worker.loops = loops
        collector.spare()
        signal.signal(signal.SIGTERM, _leave)
        if not told.is_set():
            worker.execute_from_commandline()
    finally:
        for loop in loops:
            loop.stop()


def _leave(_number: int, _frame: object) -> None:
    """What SIGTERM means until Faust takes it over."""
    raise SystemExit(0)


def _host(
    settings: Settings,
    watch: Watch,
    takes: dict[str, Take],
    pulse: Callable[[], None] | None,
    sweep: Callable[[], int] | None,
) -> Worker:
    """What hosts agents and timers. The loops are at work by then: to load and start Faust takes a second or more."""
    from streams.app import Worker, build  # noqa: PLC0415

    app = build(settings, watch.hosted, takes, pulse, sweep)
    worker = Worker(app, loglevel="ERROR", redirect_stdouts=False, daemon=True, quiet=True)
    worker.drain_s = settings.drain_s
    worker.spinner = None  # it would write control characters into the log
    return worker


def sender(settings: Settings, readers: dict[str, list[str]]) -> Sender:
    """A sender with a producer of its own, held back where the broker is the embedded one."""
    client = producer(settings.kafka, CONFIRMED_LINGER_MS)
    throttle = (
        Throttle(settings.kafka, readers, producer=client) if settings.embedded else NoThrottle()
    )
    return Sender(client, throttle)


def readers_of(settings: Settings) -> dict[str, list[str]]:
    """Consumer groups that must have read a topic before the embedded broker may drop records."""
    agents = {topic: [settings.agents_group] for topic in (LINKS, DECISIONS, CONTROL, UNLINKED)}
    return {
        LOG: [settings.scorer_group],
        **{topic: [settings.intake_group] for topic in AGENCY_TOPICS},
        **agents,
        ALERTS: [],
        SCORES: [],
    }


def _scorer(settings: Settings, client: redis.Redis, library: Library, watch: Watch) -> Loop:
    reader = consumer(
        settings.kafka, settings.scorer_group, reset="error", wait_ms=settings.fetch_wait_ms
    )
    scorer = Scorer(
        reader,
        RedisStore(client),
        library,
        sender(settings, readers_of(settings)),
        LogGuard(Kept(settings), topic_id(settings), settings.scorer_group),
        Pace(settings.batch_records, settings.poll_s),
        progress=watch.loop("scorer"),
    )
    return Loop("scorer", scorer.run)


def _intake(
    settings: Settings, client: redis.Redis, library: Library, partitions: int, watch: Watch
) -> tuple[Loop, dict[str, Take], Callable[[], None], Callable[[], int]]:
    registry, readers, kept = Registry(client), readers_of(settings), Kept(settings)
    certain = Unknown(registry, RedisStore(client), kept).require
    releasing = threading.Lock()

    def tools() -> tuple[Sender, LogWriter]:
        """Of each thread its own."""
        mine = sender(settings, readers)
        return mine, LogWriter(mine, partitions)

    def parking() -> Parking:
        return Parking(registry, *tools(), utc_now, releasing)

    def views() -> dict[str, View]:
        applies: dict[str, Apply] = {
            CONTROL: Controls(registry, *tools(), library, certain).take,
            LINKS: Links(registry, *tools(), parking(), certain).take,
            UNLINKED: parking().take,
        }
        return {topic: View(topic, registry, kept, apply) for topic, apply in applies.items()}

    reader = consumer(settings.kafka, settings.intake_group, wait_ms=settings.fetch_wait_ms)
    intake = Intake(
        reader,
        registry,
        *tools(),
        Pace(settings.batch_records, settings.poll_s),
        certain,
        progress=watch.loop("intake"),
    )
    recovery = Recovery(registry, kept, list(views().values()), parking())
    _wait(recovery.run)
    takes: dict[str, Take] = {
        topic: watch.agent(topic, view.take) for topic, view in views().items()
    }
    takes[DECISIONS] = watch.agent(DECISIONS, Decisions(registry, *tools(), certain).take)
    return Loop("intake", intake.run), takes, Pulse(registry, tools()[1]).beat, recovery.run


def _log_partitions(settings: Settings) -> int:
    count = partitions_of(settings.kafka, LOG)
    if not count:
        raise BrokerUnavailable(f"{settings.kafka} has no topic {LOG}: run `ehps topics apply`")
    return count


def topic_id(settings: Settings) -> str:
    """The broker's id of the log, so that another topic of the same name is noticed; the embedded broker has none."""
    if settings.embedded:
        return "embedded"
    from confluent_kafka import TopicCollection  # noqa: PLC0415

    # Held by a name: a client that is collected takes its unanswered requests with it.
    admin = AdminClient({"bootstrap.servers": settings.kafka, "log_level": 2})
    answer = admin.describe_topics(TopicCollection([LOG]))
    return str(answer[LOG].result(timeout=10).topic_id)


def _wait(ask: Callable[[], T]) -> T:
    """Ask until somebody answers: a service waits where a person would be told to start something."""
    delay = WAIT_S[0]
    while True:
        try:
            return ask()
        except Exception as error:
            if not (isinstance(error, RedisUnavailable) or passes(error)):
                raise
            logger().warning("worker.waiting", reason=str(error), wait_s=delay)
            time.sleep(delay)
            delay = min(delay * 2, WAIT_S[1])
