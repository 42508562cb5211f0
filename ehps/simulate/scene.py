"""What shocks and services share: the families' present, a cheap source of chance, the outbox."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from ehps.simulate import rates
from ehps.simulate.messages import Outbox
from ehps.simulate.population import Floats, Ints, Population
from ehps.simulate.rates import DAY, HOUR

ItemT = TypeVar("ItemT")

EXPECTED_YEARS = 0.4
"""How long before birth a child may be spoken of; its link is published earlier."""

_BLOCK = 8192


class Dice:
    """Uniform numbers drawn in blocks: single draws from numpy cost more than what they decide."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Takes over the generator."""
        self._rng = rng
        self._left: list[float] = []

    def unit(self) -> float:
        """In [0, 1)."""
        if not self._left:
            self._left = self._rng.random(_BLOCK).tolist()
        return self._left.pop()

    def chance(self, share: float) -> bool:
        """True with probability `share`."""
        return self.unit() < share

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high)."""
        return low + int(self.unit() * (high - low))

    def pick(self, items: Sequence[ItemT]) -> ItemT:
        """One of the items."""
        return items[int(self.unit() * len(items))]

    def weighted(self, items: Sequence[tuple[ItemT, float]]) -> ItemT:
        """One of the items by weight; the weights add up to 1."""
        left = self.unit()
        for item, weight in items:
            left -= weight
            if left < 0:
                return item
        return items[-1][0]

    def spread(self, median: float, sigma: float) -> float:
        """Log-normal, from the sum of twelve uniforms."""
        normal = sum(self.unit() for _ in range(12)) - 6.0
        return median * math.exp(sigma * normal)


@dataclass(slots=True)
class Scene:
    """The present of every family.

    `drift` is the moving part of log risk; `pressure` what a recent shock adds to the log rate of
    absence; `tier` 0 none, 1 early help, 2 child in need, 3 child protection, 4 looked after;
    `known_until` the day (seconds) until which services remember the family; `off_until` the day
    since 1970 until which a child is suspended; `on_roll` pupils.
    """

    population: Population
    dice: Dice
    out: Outbox
    drift: Floats
    pressure: Floats
    tier: Ints
    known_until: Ints
    off_until: Ints
    on_roll: Ints
    factors: list[dict[str, int]] = field(default_factory=list)

    def intensity(self, family: int) -> float:
        """Multiplier on the family's rates now; 1 on average, at most `INTENSITY_MAX`."""
        return min(
            math.exp(float(self.population.log_risk[family] + self.drift[family])),
            rates.INTENSITY_MAX,
        )

    def child(
        self, family: int, moment: int, youngest: float = 0.0, oldest: float = 18.0
    ) -> str | None:
        """A child of an age, or None."""
        found = self.population.of_age(family, moment, youngest, oldest)
        return self.population.children[self.dice.pick(found)] if found else None

    def any_child(self, family: int, moment: int) -> str:
        """A child born by then, else one expected within months, else an adult."""
        return (
            self.child(family, moment)
            or self.child(family, moment, -EXPECTED_YEARS, 0.0)
            or self.adult(family)
        )

    def adult(self, family: int) -> str:
        """An adult of the family."""
        return self.dice.pick(self.population.adults[family])

    def note(self, family: int, factor: str, moment: int) -> None:
        """Remember what an assessment of the coming year would find."""
        self.factors[family][factor] = moment

    def shake(self, family: int, risk: float, absence: float = 0.0) -> None:
        """A shock raises risk and keeps children from school; both fade with the weeks."""
        self.drift[family] = min(self.drift[family] + risk, 2.5)
        self.pressure[family] = min(self.pressure[family] + absence, 2.4)


def overnight(dice: Dice, moment: int) -> int:
    """Social care and early help export once a night: 02:00-04:00 of the next day."""
    return (moment // DAY + 1) * DAY + dice.between(2 * HOUR, 4 * HOUR)


def next_monday(dice: Dice, moment: int) -> int:
    """Housing and benefits export weekly: Monday, 03:00-06:00. Day 0 of 1970 was a Thursday."""
    day = moment // DAY
    return (day + 7 - (day + 3) % 7) * DAY + dice.between(3 * HOUR, 6 * HOUR)


def health_delay(dice: Dice, moment: int) -> int:
    """Health: hours to weeks, median four days."""
    return moment + 2 * HOUR + int(min(dice.spread(4.0, 0.9), 35.0) * DAY)


def police_delay(dice: Dice, moment: int) -> int:
    """Police notices arrive within a day."""
    return moment + dice.between(2 * HOUR, 24 * HOUR)
