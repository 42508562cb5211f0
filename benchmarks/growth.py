"""Does an event cost more when there are more families, or when more has happened? The scorer from grown states.

States are grown in memory, to the horizon of two years and then to ten times as many events, and put into Redis; the
scorer then takes the events that follow. Families are multiplied by copying states, so that skew and size stay.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from benchmarks import seeds
from benchmarks.product import Product
from benchmarks.seeds import Stores
from benchmarks.workload import CHUNK, Workload

ALL_COSTS = ("system_us", "redis_us")


@dataclass(frozen=True)
class Growth:
    """Sizes.

    Args:
        families: base of all states; 50 times as many events fill the horizon.
        times: how many times as many events are then applied.
        few, many: families that are compared, multiples of `families`.
        window: events that are measured.
    """

    families: int
    times: int
    few: int
    many: int
    window: int
    rounds: int

    @property
    def filled(self) -> int:
        """Events after which two years have passed."""
        return -(-50 * self.families // CHUNK) * CHUNK


Limit = Callable[[str, Workload], dict[str, Any]]


def measure(
    product: Product, limit: Limit, growth: Growth, say: Callable[[str], None]
) -> dict[str, Any]:
    """Costs of an event (microseconds of scorer, and with Redis) in each case, medians of rounds.

    Args:
        limit: measures the worker that only reads and writes the states, on those that the scorer left.
    """
    whole = Workload(growth.times * growth.filled + growth.window, growth.families)
    part = whole.then(growth.filled, 0)
    stores = seeds.fresh(part)
    say(f"growing states of {growth.families:,} families over {growth.filled:,} events")
    seeds.grow(stores, part)
    young = deepcopy(stores)
    say(f"and on to {growth.times * growth.filled:,} events")
    seeds.grow(stores, whole.then((growth.times - 1) * growth.filled, growth.filled))
    cases = {
        "young": (whole.then(growth.window, growth.filled), young),
        "old": (whole.then(growth.window, growth.times * growth.filled), stores),
        "few": _multiplied(
            whole.then(growth.window, growth.filled), young, growth.few // growth.families
        ),
        "many": _multiplied(
            whole.then(growth.window, growth.filled), young, growth.many // growth.families
        ),
    }
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
    for number in range(growth.rounds):
        for name, (workload, start) in cases.items():
            say(f"round {number + 1}: {name}, {workload.families:,} families")
            run = product.scorer(f"bench-growth-{name}-{number}", workload, start)
            least = limit(f"bench-growth-limit-{name}-{number}", workload)
            runs[name].append(run | {"limit_us": _cost(least)})
    return {
        name: {
            "families": cases[name][0].families,
            "events_before": growth.times * growth.filled if name == "old" else growth.filled,
            "state_bytes_mean": round(float(np.mean(_sizes(cases[name][1])))),
            "cpu_us": median(run["system_us"] for run in found),
            "cpu_us_with_redis": median(map(_cost, found)),
            "limit_us_with_redis": median(run["limit_us"] for run in found),
            "events_per_s": median(run["events_per_s"] for run in found),
        }
        for name, found in runs.items()
    }


def _cost(run: dict[str, Any]) -> float:
    return float(sum(run[cost] for cost in ALL_COSTS))


def _multiplied(workload: Workload, stores: Stores, factor: int) -> tuple[Workload, Stores]:
    """The same moment and pace a family, in an authority `factor` times as large."""
    start_s = workload.start_s + workload.first * workload.gap_s
    families = workload.families * factor
    large = replace(workload, families=families, clones=factor, first=0)
    return replace(large, end_s=int(start_s + large.events * large.gap_s)), seeds.cloned(
        stores, factor
    )


def _sizes(stores: Stores) -> list[int]:
    return [len(state) for store in stores.values() for state in store.families.values()]
