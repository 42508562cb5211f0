"""What agencies send while everything fails: a simulated authority after another, each with its own days."""

import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

from confluent_kafka import KafkaError, Message, Producer

from ehps.library import Library
from ehps.simulate import Message as Told
from ehps.simulate import World
from schemas.control import Heartbeat
from schemas.topics import AGENCY_TOPICS, LINKS, source_of
from streams.errors import DeliveryFailed
from streams.kafka import Sender, producer
from streams.logwriter import LogWriter
from streams.registry import HISTORY, Registry
from streams.throttle import NoThrottle
from tests.chaos.fleet import LOG_PARTITIONS, Fleet

DAY_S = 86_400
WEEKS = 40
"""An authority's weeks; then comes the next authority."""
START = date.fromisoformat("2025-09-01")
MALFORMED = 0.01
Coordinate = tuple[str, int, int]


class Workload(threading.Thread):
    """Publishes so many days at an even pace, in a thread; every message is delivered in the end.

    Attributes:
        good: coordinates of messages that EHPS must take.
        sent: messages delivered.
    """

    def __init__(self, fleet: Fleet, days: "Days", count: int, day_s: float) -> None:
        super().__init__(name="workload", daemon=True)
        self._fleet, self._days, self._count, self._day_s = fleet, days, count, day_s
        self._producer = Producer(
            {
                "bootstrap.servers": fleet.settings.kafka,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "message.timeout.ms": 600_000,
                "log_level": 0,
            }
        )
        self._clock = LogWriter(
            Sender(producer(fleet.settings.kafka), NoThrottle()), LOG_PARTITIONS
        )
        self.good: set[Coordinate] = set()
        self.sent = self._left = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Tell the days."""
        try:
            for _ in range(self._count):
                began = time.monotonic()
                self._tell(*next(self._days))
                time.sleep(max(0.0, self._day_s - (time.monotonic() - began)))
            self._left = self._producer.flush(600)
        except BaseException as error:  # noqa: BLE001  (told by `finish`, in the other thread)
            self.failure = error

    def finish(self) -> None:
        """Wait for the last day's delivery."""
        self.join()
        if self.failure is not None:
            raise self.failure
        if self._left:
            raise DeliveryFailed("messages of the workload were not delivered")

    def _tell(self, la: str, end: datetime, day: list[Told], signs: dict[str, datetime]) -> None:
        for message in day:
            self._producer.produce(
                message.topic, message.value, message.key, on_delivery=self._delivered(message)
            )
            self._producer.poll(0)
        beat = Heartbeat(la=la, time=end, sources=signs)
        while True:
            try:
                self._clock.beat(beat)
                return
            except DeliveryFailed:
                continue  # the same heartbeat again changes nothing

    def _delivered(self, message: Told):
        def note(error: KafkaError | None, record: Message) -> None:
            if error is not None:
                self.failure = DeliveryFailed(error.str())
                return
            self.sent += 1
            if message.kind != "malformed":
                self.good.add((record.topic(), record.partition(), record.offset()))

        return note


class Days(Iterator[tuple[str, datetime, list[Told], dict[str, datetime]]]):
    """Days of one authority after another: authority, end of the day, messages, last signs of life."""

    def __init__(
        self,
        fleet: Fleet,
        seed: int,
        families: int,
        weeks: int = WEEKS,
        start: date = START,
        first: int = 1,
    ) -> None:
        """`first` is the number of the first authority: the clock of one that was told of before is past these days."""
        self._fleet, self._random, self._families = fleet, random.Random(seed), families
        self._weeks, self._start, self._number = weeks, start, first - 1
        self._rest: Iterator[tuple[str, datetime, list[Told], dict[str, datetime]]] = iter(())

    def __next__(self) -> tuple[str, datetime, list[Told], dict[str, datetime]]:
        """The next day; where an authority's days are over, the first of the next one."""
        found = next(self._rest, None)
        if found is None:
            self._rest = self._authority()
            found = next(self._rest)
        return found

    def _authority(self) -> Iterator[tuple[str, datetime, list[Told], dict[str, datetime]]]:
        self._number += 1
        la = f"E0600{self._number:04d}"
        start = self._start
        world = World(
            self._families, self._weeks, self._random.randrange(1 << 30), start, la, MALFORMED
        )
        self._set_up(la, start)
        signs: dict[str, datetime] = {}
        for number, group in groupby(world.simulate(), key=lambda message: message.known // DAY_S):
            day = sorted(group, key=lambda message: message.topic != LINKS)
            for message in day:
                if message.topic in AGENCY_TOPICS:
                    known = datetime.fromtimestamp(message.known, UTC)
                    signs[source_of(message.topic)] = known
            end = datetime.fromtimestamp((number + 1) * DAY_S, UTC)
            yield la, end, day, dict(signs)

    def _set_up(self, la: str, start: date) -> None:
        """Its history begins, as `streams.history` begins one."""
        moment = datetime.combine(start, datetime.min.time(), UTC) - timedelta(days=1)
        self._fleet.ask(lambda client: Registry(client).set_authority(la, HISTORY))
        clock = LogWriter(
            Sender(producer(self._fleet.settings.kafka), NoThrottle()), LOG_PARTITIONS
        )
        clock.control(Library.packaged().default_control(la, moment, "live"))
        clock.beat(Heartbeat(la=la, time=moment, sources={}))
