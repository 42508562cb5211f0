"""What must hold, as ratios within one run: each row compares medians, and says how many times is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

PYTHON_PEERS = ("quix", "bytewax")


class Budget(NamedTuple):
    """A row of the table. `bound` is a least value, or with `most` a greatest one.

    `limit` is the same ratio for a worker that does only what none can leave out, on the same clients;
    `with_features` for one that works out EHPS's features as well, as EHPS does.
    """

    what: str
    bound: float
    unit: str
    value: Callable[[Figures], float]
    most: bool = False
    limit: Callable[[Figures], float] | None = None
    with_features: Callable[[Figures], float] | None = None


class Verdict(NamedTuple):
    """A budget, what was measured, what the limit and the worker with features would reach; None: not measured."""

    what: str
    bound: float
    unit: str
    most: bool
    value: float | None
    limit: float | None
    with_features: float | None

    @property
    def met(self) -> bool | None:
        """Whether it holds."""
        return self.within(self.value)

    def within(self, value: float | None) -> bool | None:
        """Whether a value would meet it; None where there is none."""
        if value is None:
            return None
        return value <= self.bound if self.most else value >= self.bound


class Figures:
    """Medians of the systems and the figures measured once; a missing one raises `KeyError`."""

    def __init__(self, systems: Mapping[str, Mapping[str, float]], once: Mapping[str, Any]) -> None:
        self._systems, self.once = systems, once

    def rate(self, name: str) -> float:
        """Events a second."""
        return self._systems[name]["events_per_s"]

    def cpu_us(self, name: str) -> float:
        """Microseconds of the system's own processor time an event."""
        return self._systems[name]["system_us"]

    def started_s(self, name: str) -> float:
        """Seconds from the process's start to its first record done."""
        return self._systems[name]["started_s"]

    def best_rate(self) -> float:
        """Of the Python peers, the fastest's."""
        return max(self.rate(name) for name in PYTHON_PEERS)

    def best_cpu_us(self) -> float:
        """Of the Python peers, the thriftiest's."""
        return min(self.cpu_us(name) for name in PYTHON_PEERS)

    def one_hop_limit(self, scorer: str = "limit-states") -> float:
        """Of a worker that consumes, validates, and reads and writes the states: two limits that both consume."""
        limits = ("limit-pydantic", scorer)
        return 1 / (sum(1 / self.rate(name) for name in limits) - 1 / self.rate("limit-consume"))

    def path_cpu_us(self) -> float:
        """The whole path, measured together or apart: whichever is more."""
        return max(
            self.cpu_us("ehps-path"), self.cpu_us("ehps-intake") + self.cpu_us("ehps-scorer")
        )

    def rate_per_core(self, name: str) -> float:
        """Events a second for each core that is kept busy, where that is more than one."""
        return min(self.rate(name), 1e6 / self.cpu_us(name))

    def growth(self, case: str, base: str, cost: str = "cpu_us_with_redis") -> float:
        """Cost of an event, Redis included, in one case against another."""
        cases = self.once["growth"]
        return cases[case][cost] / cases[base][cost]


BUDGETS = (
    Budget(
        "one hop in one EHPS worker, against the best Python peer",
        3,
        "x",
        lambda f: f.rate("ehps-onehop") / f.best_rate(),
        limit=lambda f: f.one_hop_limit() / f.best_rate(),
        with_features=lambda f: f.one_hop_limit("limit-features") / f.best_rate(),
    ),
    Budget(
        "scorer worker, against the best Python peer",
        5,
        "x",
        lambda f: f.rate("ehps-scorer") / f.best_rate(),
        limit=lambda f: f.rate("limit-states") / f.best_rate(),
        with_features=lambda f: f.rate("limit-features") / f.best_rate(),
    ),
    Budget(
        "whole path's CPU an event, against the best Python peer's one hop",
        0.5,
        "x",
        lambda f: f.path_cpu_us() / f.best_cpu_us(),
        True,
        lambda f: (f.cpu_us("limit-relay") + f.cpu_us("limit-states")) / f.best_cpu_us(),
        lambda f: (f.cpu_us("limit-relay") + f.cpu_us("limit-features")) / f.best_cpu_us(),
    ),
    Budget(
        "scorer worker, against Kafka Streams exactly once",
        4,
        "x",
        lambda f: f.rate("ehps-scorer") / f.rate("kstreams-eos"),
        limit=lambda f: f.rate("limit-states") / f.rate("kstreams-eos"),
        with_features=lambda f: f.rate("limit-features") / f.rate("kstreams-eos"),
    ),
    Budget(
        "scorer worker, against a Faust agent with a table",
        30,
        "x",
        lambda f: f.rate("ehps-scorer") / f.rate("faust-table"),
        limit=lambda f: f.rate("limit-states") / f.rate("faust-table"),
        with_features=lambda f: f.rate("limit-features") / f.rate("faust-table"),
    ),
    Budget(
        "scorer worker, against its limit",
        0.5,
        "x",
        lambda f: f.rate("ehps-scorer") / f.rate("limit-states"),
        with_features=lambda f: f.rate("limit-features") / f.rate("limit-states"),
    ),
    Budget(
        "intake worker, against consume + pydantic",
        0.6,
        "x",
        lambda f: f.rate("ehps-intake") / f.rate("limit-pydantic"),
        limit=lambda f: f.rate("limit-relay") / f.rate("limit-pydantic"),
    ),
    Budget(
        "two scorer workers' CPU an event, against one",
        1.15,
        "x",
        lambda f: f.cpu_us("ehps-two") / f.cpu_us("ehps-scorer"),
        True,
    ),
    Budget(
        "cost of an event with many families, against few",
        1.15,
        "x",
        lambda f: f.growth("many", "few"),
        True,
        lambda f: f.growth("many", "few", "limit_us_with_redis"),
    ),
    Budget(
        "cost of an event after ten times the events",
        1.15,
        "x",
        lambda f: f.growth("old", "young"),
        True,
        lambda f: f.growth("old", "young", "limit_us_with_redis"),
    ),
    Budget(
        "receipt to alert, median",
        4,
        "ms",
        lambda f: f.once["latency"]["alerts"]["p50_ms"],
        True,
        lambda f: f.once["latency"]["bare"]["p50_ms"],
        lambda f: f.once["latency"]["features"]["p50_ms"],
    ),
    Budget(
        "receipt to alert, 99 of 100",
        15,
        "ms",
        lambda f: f.once["latency"]["alerts"]["p99_ms"],
        True,
        lambda f: f.once["latency"]["bare"]["p99_ms"],
        lambda f: f.once["latency"]["features"]["p99_ms"],
    ),
    Budget("state of a family, median", 1024, "bytes", lambda f: f.once["states"]["median"], True),
    Budget(
        "state of a family, 99 of 100", 12 * 1024, "bytes", lambda f: f.once["states"]["p99"], True
    ),
    Budget(
        "rebuild on one core, against the live scorer",
        1.5,
        "x",
        lambda f: f.rate_per_core("ehps-rebuild") / f.rate("ehps-scorer"),
    ),
    Budget(
        "scorer worker's start to its first record",
        2,
        "s",
        lambda f: f.started_s("ehps-scorer"),
        True,
    ),
    Budget(
        "intake worker's start to its first record",
        2,
        "s",
        lambda f: f.started_s("ehps-intake"),
        True,
    ),
)


def judge(systems: Mapping[str, Mapping[str, float]], once: Mapping[str, Any]) -> Iterator[Verdict]:
    """Every budget against what was measured."""
    figures = Figures(systems, once)
    for budget in BUDGETS:
        reached = (
            _known(ask, figures) for ask in (budget.value, budget.limit, budget.with_features)
        )
        yield Verdict(budget.what, budget.bound, budget.unit, budget.most, *reached)


def _known(ask: Callable[[Figures], float] | None, figures: Figures) -> float | None:
    try:
        return ask(figures) if ask else None
    except KeyError:
        return None
