"""Sizes of a call: `quick` for a look, `usual` for the page, `full` for the questions about millions."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.bench import Sizes
from benchmarks.growth import Growth
from benchmarks.workload import EVENTS_A_YEAR, Workload

USUAL_GROWTH = Growth(4_000, 10, 20_000, 1_000_000, 100_000, 2)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured, how large, how often.

    Args:
        events, families: the main workload.
        pace: events a family and year. With families it says how many events lie between two daily heartbeats.
        slow_events: for systems a tenth as fast, about as many fewer families.
        many_families: the main workload's events once more, about so many.
        rate, seconds: of the latency.
        authority_families, authority_weeks: of the simulated authority whose states are weighed.
    """

    events: int = 400_000
    families: int = 20_000
    pace: int = EVENTS_A_YEAR
    slow_events: int = 40_000
    many_families: int = 1_000_000
    rounds: int = 3
    growth: Growth = USUAL_GROWTH
    rate: int = 1000
    seconds: int = 60
    authority_families: int = 1_500
    authority_weeks: int = 156
    seed: int = 1

    def sizes(self) -> Sizes:
        """The workloads."""
        slow_families = max(1, self.families * self.slow_events // self.events)
        return Sizes(
            Workload(self.events, self.families, self.seed, pace=self.pace),
            Workload(self.slow_events, slow_families, self.seed, pace=self.pace),
            Workload(self.events, self.many_families, self.seed),
        )


PLANS = {
    "quick": Plan(
        events=60_000,
        families=12_000,
        pace=40,  # as many events a day as 20,000 families have
        slow_events=6_000,
        many_families=60_000,
        rounds=1,
        growth=Growth(400, 4, 20_000, 200_000, 20_000, 1),
        seconds=15,
        authority_families=300,
        authority_weeks=110,
    ),
    "usual": Plan(),
    "full": Plan(
        rounds=5,
        growth=Growth(20_000, 10, 20_000, 1_000_000, 200_000, 3),
        authority_families=5_000,
    ),
}
