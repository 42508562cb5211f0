"""What an authority, a region and England need, worked out from the figures that `make bench` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from schemas.topics import BY_NAME, SCORES

FIGURES = Path(__file__).parent / "performance.json"

CHILDREN, EVENTS_A_DAY = 12_000_000, 1_200_000
"""England: children, and events of a day in session."""
CHILDREN_A_FAMILY, PEOPLE_A_FAMILY = 1.7, 3.3
SCHOOL_DAYS, OTHER_DAYS_SHARE = 190, 0.2
"""Days in session a year; on the others, a fifth as many events."""
BURSTS, BURST_S = 2, 1800
"""A day's events come when registers are closed: all of them in two half hours."""
SPARE = 4
"""A worker is planned at a quarter of what it can do: the others take over, and a backlog is caught up."""
REBUILD_H = 8
"""Every state from two years of log, within a night."""
PARTITIONS_MIN, KEPT_YEARS, COPIES = 8, 7, 3
SCORES_YEARS = BY_NAME[SCORES].retention_ms / (365 * 86_400_000)
REDIS_SPARE = 2
"""Copy-on-write while Redis saves, and room to grow."""
KEY_BYTES, TIMER_BYTES, LINK_BYTES = 133, 138, 155
"""Redis's own memory for a state beside its bytes, for a family's timer, and for a person's link, measured on 7.0."""
CORE_POUNDS, MEMORY_POUNDS, DISK_POUNDS = 25, 3, 0.10
"""A month: a core, a GiB of memory, a GiB of disk; about what public clouds ask without a contract."""
BROKERS, BROKER_CORES, BROKER_GIB = 3, 2, 4
"""Least of a cluster that loses nothing when one broker goes."""

Table = tuple[tuple[str, ...], Iterable[Iterable[object]]]


@dataclass(frozen=True)
class Measured:
    """Figures of one machine: microseconds of processor time and bytes on disk an event, events a second."""

    intake_rate: float
    scorer_rate: float
    rebuild_rate: float
    event_us: float
    broker_us: float
    redis_us: float
    log_bytes: float
    alert_bytes: float
    score_bytes: float
    state_bytes: float

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Measured:
        """From the benchmarks' JSON.

        Raises:
            KeyError: a figure was not measured.
        """
        medians = document["medians"]
        intake, scorer = medians["ehps-intake"], medians["ehps-scorer"]
        return cls(
            intake["events_per_s"],
            scorer["events_per_s"],
            1e6 / medians["ehps-rebuild"]["system_us"],
            intake["system_us"] + scorer["system_us"],
            intake["kafka_us"] + scorer["kafka_us"],
            intake["redis_us"] + scorer["redis_us"],
            intake["log_bytes"],
            scorer["alert_bytes"],
            scorer["score_bytes"],
            document["once"]["states"]["mean"],
        )


@dataclass(frozen=True)
class Place:
    """Who is served: a share of England."""

    name: str
    share: float

    @property
    def children(self) -> float:
        """How many."""
        return CHILDREN * self.share

    @property
    def families(self) -> float:
        """How many."""
        return self.children / CHILDREN_A_FAMILY

    @property
    def a_year(self) -> float:
        """Events."""
        days = SCHOOL_DAYS + OTHER_DAYS_SHARE * (365 - SCHOOL_DAYS)
        return EVENTS_A_DAY * self.share * days

    @property
    def burst(self) -> float:
        """Events a second when registers are closed."""
        return EVENTS_A_DAY * self.share / (BURSTS * BURST_S)


PLACES = (Place("an authority", 1 / 153), Place("a region", 1 / 9), Place("England", 1))


@dataclass(frozen=True)
class Need:
    """What one place needs."""

    place: Place
    measured: Measured

    @property
    def workers(self) -> tuple[int, int]:
        """Intakes and scorers: two of each at least, so that one may go."""
        rates = self.measured.intake_rate, self.measured.scorer_rate
        intake, scorer = (max(2, ceil(SPARE * self.place.burst / rate)) for rate in rates)
        return intake, scorer

    @property
    def rebuild_core_h(self) -> float:
        """Hours of one core for every state from two years of log."""
        return 2 * self.place.a_year / self.measured.rebuild_rate / 3600

    @property
    def partitions(self) -> int:
        """A power of two, for life: a core each rebuilds in time, and four for each scorer to share out."""
        wanted = max(PARTITIONS_MIN, 4 * self.workers[1], self.rebuild_core_h / REBUILD_H)
        return 1 << ceil(wanted - 1).bit_length()

    @property
    def redis_gib(self) -> float:
        """Memory of one Redis, or of all masters together."""
        family = self.measured.state_bytes + KEY_BYTES + TIMER_BYTES + PEOPLE_A_FAMILY * LINK_BYTES
        return REDIS_SPARE * self.place.families * family / 2**30

    @property
    def disk_gib(self) -> float:
        """Of all brokers: log and alerts for years, scores as long as their topic keeps them."""
        found = self.measured
        kept = KEPT_YEARS * (found.log_bytes + found.alert_bytes) + SCORES_YEARS * found.score_bytes
        return COPIES * self.place.a_year * kept / 2**30

    @property
    def busy_cores(self) -> float:
        """Cores kept busy during a burst, broker and Redis among them."""
        found = self.measured
        return self.place.burst * (found.event_us + found.broker_us + found.redis_us) / 1e6

    @property
    def pounds(self) -> float:
        """A month: a core for each worker, the brokers, Redis and its replica, and the disks."""
        cores = sum(self.workers) + BROKERS * BROKER_CORES + 2
        memory = sum(self.workers) * 0.5 + BROKERS * BROKER_GIB + 2 * self.redis_gib
        return cores * CORE_POUNDS + memory * MEMORY_POUNDS + self.disk_gib * DISK_POUNDS


def plans() -> Table:
    """Rows of the plan, a column for each place."""
    measured = recorded()
    if measured is None:
        return ("plan",), [("No run of `make bench` has been recorded yet.",)]
    return ("", *(place.name for place in PLACES)), rows([Need(p, measured) for p in PLACES])


def rows(needs: list[Need]) -> Iterable[Iterable[object]]:
    """What is needed, each in its unit."""
    yield "children", *(f"{need.place.children:,.0f}" for need in needs)
    yield "families", *(f"{need.place.families:,.0f}" for need in needs)
    yield "events a year, millions", *(f"{need.place.a_year / 1e6:,.1f}" for need in needs)
    yield "events a second in a burst", *(f"{need.place.burst:,.0f}" for need in needs)
    yield "cores busy in a burst, all parts", *(f"{need.busy_cores:.3f}" for need in needs)
    yield "intake and scorer workers", *("{} + {}".format(*need.workers) for need in needs)
    yield "partitions of the log", *(need.partitions for need in needs)
    yield "rebuild of two years, core hours", *(f"{need.rebuild_core_h:,.1f}" for need in needs)
    yield "Redis memory, GiB", *(f"{need.redis_gib:,.1f}" for need in needs)
    yield "disk of the brokers, GiB", *(f"{need.disk_gib:,.0f}" for need in needs)
    yield "pounds a month", *(f"{need.pounds:,.0f}" for need in needs)


def figures() -> Table:
    """The measured figures that the plan stands on."""
    measured = recorded()
    if measured is None:
        return ("figure",), [("None yet.",)]
    named = (
        ("intake worker, events a second", f"{measured.intake_rate:,.0f}"),
        ("scorer worker, events a second", f"{measured.scorer_rate:,.0f}"),
        ("rebuild, events a second and core", f"{measured.rebuild_rate:,.0f}"),
        ("processor time an event, both workers, µs", f"{measured.event_us:.1f}"),
        ("the same of broker and Redis, µs", f"{measured.broker_us + measured.redis_us:.1f}"),
        ("log on disk, bytes an event", f"{measured.log_bytes:.0f}"),
        (
            "alerts and scores on disk, bytes an event",
            f"{measured.alert_bytes:.0f} + {measured.score_bytes:.0f}",
        ),
        ("state of a family, mean, bytes", f"{measured.state_bytes:,.0f}"),
    )
    return ("figure", "measured"), named


def recorded() -> Measured | None:
    """What the last full run found; None where there is none, or a part of it failed."""
    try:
        return Measured.of(json.loads(FIGURES.read_text()))
    except (OSError, KeyError):
        return None
