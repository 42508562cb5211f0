"""Content in force as tables of integers: what the kernel looks things up in, with the tables of the rules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ehps.calendar import Ints
from ehps.catalogue import BY_CODE, BY_NAME, CONDITIONS, COUNTED_DAYS, HEADINGS_CODE
from ehps.content import CONDITION_CODES, STATES
from ehps.facts import COUNTED_OF
from ehps.library import Content
from ehps.rules import RuleTables

UNIT = 1 << 20
"""Units in one point."""


def units(points: float) -> int:
    """Points in units."""
    return round(points * UNIT)


POSITIVE_ATTENDANCE = 1 << len(STATES)
"""State bit: a child on roll missed at most a tenth of 60 school days."""


@dataclass(frozen=True, eq=False)
class Compiled:
    """Content as tables. A column is a kind that carries points; the last is the headings bonus."""

    content: Content
    codes: tuple[int, ...]  # column -> kind code
    column: Ints  # (256,) kind code -> column, -1: no points
    decay: Ints  # (columns, longest horizon + 1) units
    cap: Ints  # (columns,) units
    heading: Ints  # (columns,) bit of the heading
    rank: Ints  # (256,)
    rules: RuleTables
    lines: tuple[int, int, int]  # units at which green, amber and red begin
    down: int  # units below which risk counts as fallen


@lru_cache(maxsize=64)
def compile_content(content: Content) -> Compiled:
    """Tables for one content in force."""
    points = {
        CONDITION_CODES.get(name) or BY_NAME[name].code: row
        for name, row in content.release.points.items()
    }
    codes = (*sorted(points), HEADINGS_CODE)
    column = np.full(256, -1, np.int64)
    column[list(codes[:-1])] = np.arange(len(codes) - 1)
    shape = len(codes), max(COUNTED_DAYS) + 1
    decay, cap = np.zeros(shape, np.int64), np.zeros(shape[0], np.int64)
    heading = np.zeros(shape[0], np.int64)
    for place, code in enumerate(codes[:-1]):
        row, days = points[code], 0 if code in CONDITIONS else int(COUNTED_OF[code])
        for day in range(days + 1):
            decay[place, day] = units(row.points * 2 ** (-day / row.half_life))
        cap[place] = units(row.cap or 2 * row.points)
        number = CONDITIONS[code][2] if code in CONDITIONS else BY_CODE[code].heading
        heading[place] = 1 << number if number else 0
    rank = np.array([BY_CODE[c].rank if c in BY_CODE else 0 for c in range(256)], np.int64)
    line = content.policy.lines
    lines = units(line.green), units(line.amber), units(line.red)
    return Compiled(
        content,
        codes,
        column,
        decay,
        cap,
        heading,
        rank,
        RuleTables.of(content.rules),
        lines,
        units(line.down),
    )
