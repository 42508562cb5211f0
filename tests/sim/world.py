"""The world in one thread: a seed decides who acts next and what goes wrong.

Each call of a port is a place where the process may wait while others act, crash, or lose its request or the reply.
Waiting is nesting: others take their turns inside the call. A process that waits while its partitions move is a zombie
when it goes on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

import redis as redis_errors

from schemas.control import Heartbeat
from streams.kafka import Sender
from streams.logwriter import LogWriter
from streams.registry import HISTORY
from streams.throttle import NoThrottle
from tests.sim.broker import LOG_PARTITIONS, Broker, Producer, Sent
from tests.sim.inputs import IMPORTED, LIBRARY, START, Input, control, history
from tests.sim.processes import Agents, Crash, IntakeProcess, Process, ScorerProcess
from tests.sim.redis import Lookups, Redis

T = TypeVar("T")

LIKELY = {
    "crash": (0.002, 0.01, 0.03),
    "request_lost": (0.01, 0.05),
    "reply_lost": (0.01, 0.05),
    "delivery_failed": (0.05, 0.2),
    "duplicated": (0.02, 0.1),
    "waiting": (0.05, 0.3),
    "expelled": (0.02, 0.1),
    "scaled": (0.02, 0.1),
    "went_back": (0.005, 0.03),
    "lost_everything": (0.005, 0.01),
}
"""Kinds of fault, and how likely each may be at one of its occasions."""
OFF = 0.4
"""Share of runs in which a kind is off: what always happens hides what seldom does."""
DEPTH_MAX = 3
SCORERS_MAX, INTAKES_MAX = 4, 3
TURNS_A_MESSAGE = 4
ROUNDS_MAX = 400
"""Quiet rounds, beside one for each record there is, after which a world that has not come to rest never will: one that
lost everything may read the log again a record a round."""


SWEEP_ROUNDS = 20
"""Quiet rounds from one sweep to the next."""


class World:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.producers: list[Producer] = []
        self.now = START
        self.broker, self.redis = Broker(self.clock), Redis()
        self.deaths: list[str] = []
        self._begun = False
        self.inputs: list[tuple[Input, tuple[str, int, int]]] = []
        self._likely = {
            kind: 0.0 if self.random.random() < OFF else self.random.choice(levels)
            for kind, levels in LIKELY.items()
        }
        self._quiet, self._depth = True, 0
        self._waiting = [control(self.random.choice(("live", "live", "pilot", "shadow")))]
        self.processes: list[Process] = [
            Agents(self),
            Agents(self),
            IntakeProcess(self),
            ScorerProcess(self),
        ]

    def run(self) -> None:
        """Set up in peace, then trouble, then peace until nothing moves."""
        self._publish()
        self._settle()
        self._waiting = history(self.random, self.random.randint(8, 26))
        self._quiet = False
        while self._waiting:
            for _ in range(self.random.randint(1, 2 * TURNS_A_MESSAGE)):
                self._turn()
            self._publish()
        for _ in range(8 * TURNS_A_MESSAGE):
            self._turn()
        self._quiet = True
        self._settle()
        self.now += timedelta(days=40)
        agents = self._agents()
        agents.act(agents.pulse)
        self._settle()

    def tell(self, *messages: Input) -> None:
        """Messages in peace, until nothing moves."""
        self._waiting = list(messages)
        while self._waiting:
            self._publish()
        self._settle()

    # What processes see

    def call(self, do: Callable[[], T], lost: Callable[[], Exception] | None = None) -> T:
        """A call of a port; `lost` makes the error of one whose request or reply got lost."""
        if self._quiet:
            return do()
        if self._depth < DEPTH_MAX and self.chance("waiting"):
            for _ in range(self.random.randint(1, 6)):
                self._turn()
        self._maybe_crash()
        if lost is not None and self.chance("request_lost"):
            raise lost()
        result = do()
        self._maybe_crash()
        if lost is not None and self.chance("reply_lost"):
            raise lost()
        return result

    def ask(self, do: Callable[[], T]) -> T:
        """A call of Redis."""
        return self.call(do, _redis_gone)

    def chance(self, kind: str) -> bool:
        """Whether this kind of trouble strikes now."""
        return not self._quiet and self.random.random() < self._likely[kind]

    def shuffled(self, things: Iterable[T]) -> list[T]:
        """In another order."""
        mixed = list(things)
        self.random.shuffle(mixed)
        return mixed

    def clock(self) -> datetime:
        """Every process's clock."""
        return self.now

    def _maybe_crash(self) -> None:
        if self.chance("crash"):
            raise Crash

    # What happens

    def _turn(self) -> None:
        """One thing happens."""
        self._depth += 1
        try:
            self.random.choices(
                (self._act, self._travel, self._pulse, self._sweep, self._trouble),
                (10, 2, 1, 1, 2),
            )[0]()
        finally:
            self._depth -= 1

    def _act(self) -> None:
        idle = [process for process in self.processes if not process.busy]
        if idle:
            self.random.choice(idle).turn()

    def _pulse(self) -> None:
        self.now += timedelta(minutes=self.random.choice((1, 60)))
        if not (agents := self._agents()).busy:
            agents.act(agents.pulse)

    def _sweep(self) -> None:
        if not (agents := self._agents()).busy:
            agents.act(agents.sweep)

    def _agents(self) -> Agents:
        return self.random.choice([p for p in self.processes if isinstance(p, Agents)])

    def _travel(self) -> None:
        """Records on their way arrive, those of dead processes too: or never."""
        for producer in self.producers:
            for place in list(producer.ways):
                if self.random.random() < 0.5:
                    producer.travel(place, self.random.randint(1, 4))

    def _trouble(self) -> None:
        if self.chance("expelled"):
            members = [(g, m) for g in self.broker.groups.values() for m in g.members]
            if members:
                group, member = self.random.choice(members)
                group.leave(member, self)
        if self.chance("scaled"):
            self._scale()
        if self.chance("went_back"):
            self.redis.go_back(self.random.randint(1, 24))
        if self.chance("lost_everything"):
            self.redis.lose()

    def _scale(self) -> None:
        kind, most = self.random.choice(
            ((ScorerProcess, SCORERS_MAX), (IntakeProcess, INTAKES_MAX))
        )
        mine = [process for process in self.processes if isinstance(process, kind)]
        idle = [process for process in mine if not process.busy]
        if len(mine) < most and self.random.random() < 0.6:
            self.processes.append(kind(self))
        elif len(mine) > 1 and idle:
            self.processes.remove(idle[0])
            idle[0].stop()

    def _publish(self) -> None:
        """An agency's messages arrive for certain: it sends until it is told so, and so some twice."""
        message = self._waiting.pop(0)
        self.now += message.wait
        if not self._begun and IMPORTED.encode() in message.value:
            self._begin()
        for _ in range(2 if self.chance("duplicated") else 1):
            partition = self.broker.partition_of(message.topic, message.key)
            offset = len(self.broker.topics[message.topic][partition])
            self.broker.append(
                message.topic, partition, Sent(message.key, message.value, [], lambda *_: None)
            )
            self.inputs.append((message, (message.topic, partition, offset)))

    def _begin(self) -> None:
        """A past begins, as `streams.history` begins one, which tries until it is done."""
        self._begun, quiet, self._quiet = True, self._quiet, True
        log = LogWriter(Sender(Producer(self), NoThrottle()), LOG_PARTITIONS)
        Lookups(self).set_authority(IMPORTED, HISTORY)
        moment = START - timedelta(days=1)
        log.control(LIBRARY.default_control(IMPORTED, moment))
        log.beat(Heartbeat(la=IMPORTED, time=moment, sources={}))
        self._quiet = quiet

    def _settle(self) -> None:
        """Turns for everybody until a round changes nothing."""
        for producer in self.producers:
            for place in list(producer.ways):
                producer.travel(place, len(producer.ways[place]))
        for group in self.broker.groups.values():
            for member in list(group.members):
                if not any(member is process.reader for process in self.processes):
                    group.leave(member, self)
        records = sum(len(log) for logs in self.broker.topics.values() for log in logs)
        for number in range(ROUNDS_MAX + records):
            if number % SWEEP_ROUNDS == 0:
                agents = self._agents()
                agents.act(agents.sweep)
            for process in self.processes:
                process.turn()
            if not any(process.working() for process in self.processes):
                return
        self.deaths.append("the world did not come to rest")


def _redis_gone() -> Exception:
    return redis_errors.TimeoutError("no answer")
