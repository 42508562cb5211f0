"""Processes as workers compose them, from the real parts; and what hosts them: it starts again what died."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from itertools import count
from typing import TYPE_CHECKING

from schemas.topics import CONTROL, DECISIONS, LINKS, UNLINKED
from streams.agents import Decisions, Links
from streams.controls import Controls, Pulse
from streams.guard import LogGuard
from streams.intake import Intake
from streams.kafka import Sender, record_of
from streams.logwriter import LogWriter
from streams.parking import Parking
from streams.patience import Patience, passes
from streams.ports import Certain
from streams.recover import Recovery
from streams.scorer import Scorer
from streams.segments import Record
from streams.telling import EVERY_S, Pace, Teller
from streams.throttle import NoThrottle
from streams.unknown import Unknown
from streams.views import View
from tests.sim.broker import LOG_PARTITIONS, Consumer, Message, Producer, Topics
from tests.sim.inputs import LIBRARY
from tests.sim.redis import Lookups, States

if TYPE_CHECKING:
    from tests.sim.world import World

AGENTS = "agents"


class Crash(BaseException):
    """The process is gone, between any two steps."""


class Never:
    """The flag of a process that nobody stops; nobody waits here either."""

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float) -> bool:
        return False


class Process:
    """One process. `busy` while it waits inside a call."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.busy = False
        self.reader: Consumer | None = None

    def turn(self) -> None:
        """One step of its loop, or its start."""
        self.act(self.step)

    def act(self, work: Callable[[], None]) -> None:
        """Do something in this process, which may be the end of it."""
        self.busy = True
        try:
            if self.reader is None:
                self.start()
            work()
        except Crash:
            self.reader = None
        except Exception as error:  # noqa: BLE001  (whatever it is, no process may end so)
            if self.reader is not None or not passes(error):
                self.world.deaths.append(f"{type(self).__name__}: {error!r}")
            self.reader = None
        finally:
            self.busy = False

    def start(self) -> None:
        """Compose it."""
        raise NotImplementedError

    def step(self) -> None:
        """One round of its loop."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it in peace."""
        if self.reader is not None:
            self.reader.close()

    def working(self) -> bool:
        """Whether something is left to do."""
        return self.reader is None or self.reader.behind()

    def sender(self) -> Sender:
        """A sender with a producer of its own."""
        return Sender(Producer(self.world), NoThrottle())

    def tools(self) -> tuple[Sender, LogWriter]:
        """A sender, and the log through it."""
        sender = self.sender()
        return sender, LogWriter(sender, LOG_PARTITIONS)


class ScorerProcess(Process):
    """A scorer."""

    def start(self) -> None:
        reader, world = Consumer(self.world, "scorer"), self.world
        batch = world.random.choice((1, 3, 8))
        self.scorer = Scorer(
            reader,
            States(world),
            LIBRARY,
            self.sender(),
            LogGuard(Topics(world, AGENTS), "one"),
            Pace(batch, 0, elapsed=every_other_time()),
        )
        self.scorer.start()
        self.patience, self.reader = Patience("scorer", lambda: 0.0), reader

    def step(self) -> None:
        self.patience.attempt(self.scorer.turn, Never())


class IntakeProcess(Process):
    """An intake. A worker mends the look-ups before it takes anything."""

    def start(self) -> None:
        world, registry = self.world, Lookups(self.world)
        recovery(self, registry).run()
        reader = Consumer(world, "intake")
        batch = world.random.choice((1, 3, 8))
        self.intake = Intake(
            reader,
            registry,
            *self.tools(),
            Pace(batch, 0, elapsed=every_other_time()),
            certain(world, registry),
            clock=world.clock,
        )
        self.intake.start()
        self.patience, self.reader = Patience("intake", lambda: 0.0), reader

    def step(self) -> None:
        self.patience.attempt(self.intake.turn, Never())


class Agents(Process):
    """The agents of the low-volume topics, and the timers."""

    def start(self) -> None:
        world, registry = self.world, Lookups(self.world)
        self.recovery = recovery(self, registry)
        self.recovery.run()
        self.takes = {topic: view.take for topic, view in views(self, registry).items()}
        self.takes[DECISIONS] = Decisions(
            registry, *self.tools(), certain(world, registry), world.clock
        ).take
        self.beat = Pulse(registry, self.tools()[1], world.clock).beat
        self.batch: list[Message] = []
        reader = Consumer(world, AGENTS)
        self.teller = Teller(reader, Pace(5, 0, elapsed=every_other_time()))
        reader.subscribe(list(self.takes), on_assign=lambda *_: self.teller.forget())
        self.patience, self.reader = Patience("agents", lambda: 0.0), reader

    def step(self) -> None:
        self.patience.attempt(self._take, Never())

    def _take(self) -> None:
        """As the host does: a batch is done again until it is done, then told."""
        assert self.reader is not None
        if not self.batch:
            self.batch = self.reader.consume(5, 0)
        topics: dict[str, list[Record]] = defaultdict(list)
        for message in self.batch:
            topics[message.topic()].append(record_of(message))
        for topic, records in topics.items():
            self.takes[topic](records)
            for record in records:
                self.teller.done(record.topic, record.partition, record.offset + 1)
        self.batch = []
        self.teller.tell()

    def pulse(self) -> None:
        """A heartbeat."""
        self.patience.attempt(self.beat, Never())

    def sweep(self) -> None:
        """Recovery, which also releases what is parked."""
        self.patience.attempt(lambda: void(self.recovery.run()), Never())

    def working(self) -> bool:
        return super().working() or bool(self.reader and self.batch)


def every_other_time() -> Callable[[], float]:
    """A clock by which a loop tells its group of every other batch or so."""
    return count(0.0, 0.4 * EVERY_S).__next__


def views(process: Process, registry: Lookups) -> dict[str, View]:
    """As a worker composes them."""
    clock, topics = process.world.clock, Topics(process.world, AGENTS)
    parking = Parking(registry, *process.tools(), clock, nullcontext())
    sure = certain(process.world, registry)
    applies = {
        CONTROL: Controls(registry, *process.tools(), LIBRARY, sure, clock).take,
        LINKS: Links(registry, *process.tools(), parking, sure, clock).take,
        UNLINKED: parking.take,
    }
    return {topic: View(topic, registry, topics, apply) for topic, apply in applies.items()}


def certain(world: World, registry: Lookups) -> Certain:
    """As a worker composes it."""
    return Unknown(registry, States(world), Topics(world, AGENTS)).require


def recovery(process: Process, registry: Lookups) -> Recovery:
    """As a worker composes it."""
    topics, clock = Topics(process.world, AGENTS), process.world.clock
    parking = Parking(registry, *process.tools(), clock, nullcontext())
    return Recovery(registry, topics, list(views(process, registry).values()), parking)


def void(_: object) -> None:
    """Drop a result."""
