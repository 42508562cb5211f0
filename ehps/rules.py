"""Which critical combinations match, of many rows at once: the rules of the combinations file in force."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ehps.calendar import Bools, Ints
from ehps.compiled import STATE_BIT, Compiled
from ehps.content import Condition
from ehps.facts import Facts


class Seen(NamedTuple):
    """What rules look at: the live facts, and `youngest`: (256, rows) age of a row's youngest fact of each kind."""

    facts: Facts
    row: Ints
    age: Ints
    youngest: NDArray[np.int16]


def seen(facts: Facts, row: Ints, age: Ints, count: int) -> Seen:
    """Of `count` rows: each fact's row and age, the facts of a row in order of time."""
    youngest = np.full((256, count), np.iinfo(np.int16).max, np.int16)
    youngest[facts["kind"], row] = age  # the last one set is the youngest
    return Seen(facts, row, age, youngest)


def match(compiled: Compiled, seen: Seen, states: Ints, listened: Ints) -> tuple[Ints, Ints]:
    """Rules that match, and those that lack nothing but their silence, as bits.

    Args:
        listened: days for which each row's authority has been listened to.
    """
    shape = len(compiled.content.rules.rules), len(states)
    matched, silent = np.ones(shape, bool), np.ones(shape, bool)
    fresh = np.zeros(shape, bool)  # a new fact: old ones alone have been seen before
    for rule, condition, codes in compiled.conditions:
        if condition.holds:
            matched[rule] &= states & sum(STATE_BIT[name] for name in condition.holds) > 0
        elif matched[rule].any():
            youngest = seen.youngest[codes].min(axis=0)
            near = youngest <= condition.days
            if condition.any:
                fresh[rule] |= near & (youngest <= compiled.content.rules.fresh_days)
                matched[rule] &= near
                _require_enough(seen, condition, codes, matched[rule])
            elif condition.silent:
                silent[rule] &= ~near & (listened > condition.days)
            else:
                matched[rule] &= ~near
    matched &= fresh
    weights = np.int64(1) << np.arange(shape[0], dtype=np.int64)
    return weights @ (matched & silent), weights @ (matched & ~silent)


def _require_enough(seen: Seen, condition: Condition, codes: Ints, matched: Bools) -> None:
    """Clear the rows that have a fact of the condition, but not from enough happenings or agencies."""
    if (condition.at_least == 1 and condition.agencies == 1) or not matched.any():
        return
    kind = np.zeros(256, bool)
    kind[codes] = True
    hit = kind[seen.facts["kind"]] & (seen.age <= condition.days)
    matched &= np.bincount(seen.row[hit], minlength=len(matched)) >= condition.at_least
    for number in np.flatnonzero(matched).tolist():  # few rows get this far
        part = seen.facts[hit & (seen.row == number)]
        enough = condition.agencies == 1 or _agencies(part) >= condition.agencies
        matched[number] = enough and _happenings(part) >= condition.at_least


def _happenings(facts: Facts) -> int:
    """Distinct happenings among facts: those that share an incident are one."""
    incident = facts["incident"]
    return len(np.unique(incident[incident != 0])) + int((incident == 0).sum())


def _agencies(facts: Facts) -> int:
    return len(set(facts["value"].tolist()) - {0})
