"""Who lives in the simulated authority: families, children, adults, their pseudonyms and links."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from ehps.simulate import rates
from ehps.simulate.messages import EPOCH, iso_day, token
from ehps.simulate.rates import DAY
from ehps.simulate.terms import school_entry

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BORN_LATEST_DAYS = 260
"""Children expected after the first day are known of at most this long ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Families 0..n-1; family f's children are `first[f]` to `first[f + 1] - 1`.

    `birth` (child), `entry`, `secondary`, `leaving` (start of reception, of year 7, end of year 11)
    are days since 1970; `log_risk` is the lasting part of a family's log risk, deprivation
    included, with mean intensity 1.
    """

    families: int
    decile: Ints
    log_risk: Floats
    first: Ints
    family_of: Ints
    birth: Ints
    entry: Ints
    secondary: Ints
    leaving: Ints
    children: list[str]
    adults: list[list[str]]
    households: list[str]

    def of_age(self, family: int, moment: int, youngest: float, oldest: float) -> list[int]:
        """Children of a family aged [youngest, oldest) years at `moment` (seconds)."""
        day = moment // DAY
        low, high = int(youngest * 365.25), int(oldest * 365.25)
        span = range(int(self.first[family]), int(self.first[family + 1]))
        return [child for child in span if low <= day - int(self.birth[child]) < high]


def make_population(
    families: int, weeks: int, start: date, world: str, rng: np.random.Generator
) -> Population:
    """Draw the families of the world of that name; children are 0-17 on the first day, or born later."""
    counts = rng.choice(np.arange(1, 5), size=families, p=rates.CHILDREN_SHARES)
    first = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    total = int(first[-1])
    decile = rng.integers(1, 11, families)
    gradient = np.log(rates.DECILE_STEP) * (decile - 5.5)
    spread = rng.normal(0.0, rates.RISK_SPREAD, families)
    births = _births(total, weeks, start, rng)
    entry = np.array([school_entry(day).toordinal() - EPOCH for day in births], dtype=np.int64)
    adults = 1 + (rng.random(families) < rates.TWO_ADULTS_SHARE)
    return Population(
        families=families,
        decile=decile,
        log_risk=gradient + spread - np.log(np.mean(np.exp(gradient))) - rates.RISK_SPREAD**2 / 2,
        first=first,
        family_of=np.repeat(np.arange(families), counts),
        birth=np.array([day.toordinal() - EPOCH for day in births], dtype=np.int64),
        entry=entry,
        secondary=_years_on(births, 7),
        leaving=_years_on(births, 12) - 32,
        children=[f"person-{token(world, 'child', i)}" for i in range(total)],
        adults=[
            [f"person-{token(world, 'adult', f, i)}" for i in range(int(adults[f]))]
            for f in range(families)
        ],
        households=[f"household-{token(world, 'household', f)}" for f in range(families)],
    )


def _births(total: int, weeks: int, start: date, rng: np.random.Generator) -> list[date]:
    ahead = min(weeks * 7, BORN_LATEST_DAYS) // 30
    ages = rng.integers(-ahead, 216, total)
    days = rng.integers(1, 29, total)
    months = start.year * 12 + start.month - 1 - ages
    return [date(int(m) // 12, int(m) % 12 + 1, int(d)) for m, d in zip(months, days, strict=True)]


def _years_on(births: list[date], years: int) -> Ints:
    entries = [school_entry(day) for day in births]
    return np.array(
        [date(e.year + years, 9, 1).toordinal() - EPOCH for e in entries], dtype=np.int64
    )


def link_data(family: str, role: str, birth_day: int | None, confidence: float) -> str:
    """JSON text of a `link.person.v1`; the birth month only, as in the contract."""
    born = "" if birth_day is None else f'"born":"{iso_day(birth_day)[:7]}",'
    return f'{{"family":"{family}","role":"{role}",{born}"confidence":{confidence:g}}}'
