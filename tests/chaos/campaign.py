"""Rounds of faults on real parts: hurt, let it mend itself, judge."""

import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from ehps.library import Library
from schemas.control import ControlMessage
from schemas.topics import AGENCY_TOPICS, CONTROL, DECISIONS, LINKS, LOG, UNLINKED
from streams.errors import BrokerUnavailable
from streams.groups import Groups
from streams.kafka import watermarks_of
from streams.redisclient import ERRORS as REDIS_ERRORS
from streams.registry import Registry
from streams.store import RedisStore
from tests.chaos.faults import LIVE_LA, faults_for
from tests.chaos.fleet import Fleet
from tests.chaos.oracle import Oracle, Verdict
from tests.chaos.workload import Days, Workload

RECOVERY_DEADLINE_S = 300.0
CALM_LOOKS = 3
"""At rest: nothing was behind and nothing moved, so many looks in a row."""
LOOK_EVERY_S = 0.25


@dataclass(frozen=True)
class Plan:
    """What a campaign does; the same plan draws the same schedule.

    Args:
        rounds: how many.
        seed: of the schedule and of what agencies send.
        families: of each simulated authority.
        days: told in each round.
        day_s: seconds a day takes.
        faults: most faults in a round.
        only: names of faults to draw from; all where empty.
        script: the faults of each round by name, where they are not drawn.
        cluster: whether Redis is a cluster.
    """

    rounds: int
    seed: int
    families: int = 600
    days: int = 10
    day_s: float = 0.4
    faults: int = 3
    only: tuple[str, ...] = ()
    script: tuple[tuple[str, ...], ...] = ()
    cluster: bool = False

    def drawn(self, number: int, chance: random.Random) -> list[str]:
        """Names of the faults of a round (from 1)."""
        if self.script:
            return list(self.script[number - 1])
        faults = faults_for(cluster=self.cluster)
        names = [name for name in faults if not self.only or name in self.only]
        weights = [faults[name][1] for name in names]
        return chance.choices(names, weights, k=chance.randint(1, self.faults))


class NotRecovered(AssertionError):
    """The workers did not come back by themselves."""


@dataclass
class Report:
    """What happened."""

    plan: Plan
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    recovery_s: list[float] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    counts: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        took = self.recovery_s or [0.0]
        return {
            "ok": self.verdict.clean and self.rounds == self.plan.rounds,
            "rounds": self.rounds,
            "seed": self.plan.seed,
            "redis": "cluster" if self.plan.cluster else "one server",
            "faults": self.faults.total(),
            "faults_by_kind": dict(sorted(self.faults.items())),
            "records": self.counts["inputs"],
            "log_records": self.counts["log"],
            "alerts": self.counts["alerts"],
            "alerts_sent_again": self.counts["alerts_sent"] - self.counts["alerts"],
            "dead_letters": self.counts["dead_letters"],
            "losses": self.verdict.losses,
            "extras": self.verdict.extras,
            "differing": self.verdict.differing,
            "unaccounted": self.verdict.unaccounted,
            "workers_restarted": self.restarts,
            "recovery_s": {
                "median": round(statistics.median(took), 1),
                "worst": round(max(took), 1),
            },
            "seconds": round(self.seconds),
            "wrong": self.verdict.words,
        }


def campaign(plan: Plan, folder: Path, say: Callable[[str], None]) -> Report:
    """Run the rounds; ends at the first that is not clean, with everything left in `folder`."""
    report, began = Report(plan), time.monotonic()
    fleet = Fleet(folder, say, cluster=plan.cluster)
    try:
        fleet.start()
        set_live(fleet)
        oracle, days = Oracle(fleet.kafka.bootstrap), Days(fleet, plan.seed, plan.families)
        for number in range(1, plan.rounds + 1):
            say(f"round {number} of {plan.rounds}")
            chance = random.Random(f"{plan.seed}/{number}")
            _round(fleet, days, plan.drawn(number, chance), chance, oracle, report)
            report.rounds, report.counts, report.restarts = number, oracle.counts, fleet.restarts
            if not report.verdict.clean:
                break
    finally:
        fleet.stop()
        report.seconds = time.monotonic() - began
    return report


def _round(
    fleet: Fleet,
    days: Days,
    faults: list[str],
    chance: random.Random,
    oracle: Oracle,
    report: Report,
) -> None:
    known = faults_for(cluster=report.plan.cluster)
    work = Workload(fleet, days, report.plan.days, report.plan.day_s)
    work.start()
    for name in faults:
        time.sleep(chance.uniform(0.1, 1.5))
        report.faults[name] += 1
        known[name][0](fleet, chance)
    fleet.wake()
    work.finish()
    began = time.monotonic()
    come_to_rest(fleet)
    took = time.monotonic() - began
    report.recovery_s.append(took)
    with fleet.client() as client:
        report.verdict = oracle.judge(client, work.good)
    fleet.say(
        f"  {work.sent} messages; at rest after {took:.1f} s; "
        + ("clean" if report.verdict.clean else f"WRONG: {report.verdict.words}")
    )


def set_live(fleet: Fleet) -> None:
    """One authority with a live clock, put in force through the control topic."""
    moment = datetime.now(UTC).replace(microsecond=0)
    control = Library.packaged().default_control(LIVE_LA, moment)
    value = ControlMessage(control=control).model_dump_json(exclude_none=True).encode()
    client = Producer({"bootstrap.servers": fleet.settings.kafka})
    client.produce(CONTROL, value, LIVE_LA)
    client.flush(60)
    deadline = time.monotonic() + RECOVERY_DEADLINE_S
    with fleet.client() as redis_client:
        while LIVE_LA not in Registry(redis_client).authorities():
            if time.monotonic() > deadline:
                raise NotRecovered("the intake did not start")
            time.sleep(0.1)


def come_to_rest(fleet: Fleet) -> None:
    """Wait until everything sent is on the log and scored, and nothing moves any more."""
    groups, deadline = Groups(fleet.settings.kafka), time.monotonic() + RECOVERY_DEADLINE_S
    calm, before, behind = 0, None, "nothing was seen"
    while calm < CALM_LOOKS:
        try:
            behind, seen = _look(fleet, groups)
        except (BrokerUnavailable, OSError, *REDIS_ERRORS) as error:
            behind, seen = str(error), None
        calm = calm + 1 if not behind and seen == before else 0
        before = seen
        if time.monotonic() > deadline:
            raise NotRecovered(f"not at rest after {RECOVERY_DEADLINE_S:g} s: {behind}")
        time.sleep(LOOK_EVERY_S)


def _look(fleet: Fleet, groups: Groups) -> tuple[str, Any]:
    """What is behind, "" where nothing is; and where everything stands."""
    settings = fleet.settings
    agents = (LINKS, DECISIONS, CONTROL, UNLINKED)
    marks = watermarks_of(settings.kafka, [*AGENCY_TOPICS, *agents, LOG])
    for group, topics in ((settings.intake_group, AGENCY_TOPICS), (settings.agents_group, agents)):
        ends = {(t, p): end for t in topics for p, (_, end) in marks[t].items() if end}
        done = groups.committed(group, ends)
        late = {at: end - done[at] for at, end in ends.items() if done[at] < end}
        if late:
            return f"{group} is behind: {late}", marks
    with fleet.client() as client:
        store = RedisStore(client)
        late = {p: end - store.offset(p) for p, (_, end) in marks[LOG].items()}
    if any(late.values()):
        return f"the scorers are behind: {late}", marks
    return "", marks
