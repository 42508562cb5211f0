"""Everything that looks at a worker from within: an account of each loop, the watchdog, the pages."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.topics import LOG
from streams import metrics
from streams.config import Settings
from streams.logs import logger
from streams.progress import Progress
from streams.redisclient import ERRORS as REDIS_ERRORS
from streams.redisclient import client_of
from streams.segments import Record
from streams.watchdog import Watchdog
from streams.web import Web

PROBE_S = 2.0
"""How long a server may take to answer before it counts as away."""
Take = Callable[[list[Record]], None]


class Watch:
    """The looks of one process.

    Args:
        settings: where the pages are served, and how long a loop may stand still.
        end: ends the process; the watchdog calls it.
    """

    def __init__(self, settings: Settings, end: Callable[[str, Exception], None]) -> None:
        self._settings, self._end = settings, end
        self._loops: list[Progress] = []
        self._dog: Watchdog | None = None
        self._hosted = False
        self._web: Web | None = None

    def serve(self) -> None:
        """Serve the pages, if they are asked for; a port that is taken is told and done without."""
        if not self._settings.metrics_port:
            return
        where = self._settings.metrics_host, self._settings.metrics_port
        try:
            self._web = Web(*where, metrics.REGISTRY, self.health, self.ready)
        except OSError as error:
            logger().error("web.refused", host=where[0], port=where[1], reason=error.strerror)
            return
        self._web.start()

    def loop(self, role: str) -> Progress:
        """An account for one loop."""
        progress = Progress(role)
        self._loops.append(progress)
        return progress

    def agent(self, topic: str, take: Take) -> Take:
        """The same, for an agent that is called with batches: its partitions are Faust's affair."""
        progress = Progress(topic, polls=False)
        progress.assigned = ()
        self._loops.append(progress)

        def run(records: list[Record]) -> None:
            progress.took(len(records))
            try:
                take(records)
            except Exception as error:
                progress.waits_out(type(error).__name__)  # told again by the agent, or the end
                raise
            progress.rest()
            metrics.RECORDS.labels(topic).inc(len(records))

        return run

    def start(self) -> None:
        """All loops are there: watch them."""
        metrics.started()
        metrics.REGISTRY.register(metrics.LoopCollector(self._loops))
        for loop in self._loops:
            if loop.role == "scorer":
                metrics.REGISTRY.register(metrics.StateCollector(loop))
        self._dog = Watchdog(self._loops, self._settings.stall_s, self._end)
        self._dog.start()

    def hosted(self) -> None:
        """Agents and timers are at work too."""
        self._hosted = True

    def health(self) -> list[str]:
        """What keeps this process from making progress."""
        return [] if self._dog is None else self._dog.problems()

    def ready(self) -> list[str]:
        """What keeps this process from its work."""
        if self._dog is None:
            return ["starting: waits for Kafka and Redis"]
        waiting = [loop for loop in self._loops if loop.assigned is None]
        found = [] if self._hosted else ["starting: agents and timers"]
        found += [f"{loop.role}: no partitions are assigned yet" for loop in waiting]
        found += [f"{loop.role}: waits out {loop.trouble}" for loop in self._loops if loop.trouble]
        return found + unreachable(self._settings)


def unreachable(settings: Settings) -> list[str]:
    """Which servers do not answer now."""
    found = []
    try:
        client = AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0})
        if LOG not in client.list_topics(timeout=PROBE_S).topics:
            found.append(f"Kafka has no topic {LOG}: run `ehps topics apply`")
    except KafkaException:
        found.append("Kafka does not answer")
    try:
        with client_of(settings.redis, PROBE_S) as client:
            client.ping()
    except REDIS_ERRORS:
        found.append("Redis does not answer")
    return found
