"""Which critical combinations match, of many rows at once: the rules of the combinations file in force."""

from __future__ import annotations

from itertools import chain, count, zip_longest
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ehps.calendar import Bools, Ints
from ehps.content import STATE_BIT, Combinations, Condition
from ehps.facts import Facts

_NOTHING = 256
"""Stands where a condition looks for no kind: nobody has a fact of it."""
_NEVER_DAYS = np.iinfo(np.int16).max


class RuleTables(NamedTuple):
    """A combinations file as tables, one entry for each condition of each rule in order.

    Args:
        watched: (256,) kinds that some condition looks for.
        codes: (most kinds of a condition, conditions) the kinds that each looks for; beyond its last, no kind.
        days: (conditions, 1) age up to which a fact counts.
        absent: (conditions, 1) whether it asks that there be no such fact.
        looked, silent: indices of conditions for a fact, and for the silence of sources.
        holds: (condition, bits) of those that ask for one of these states.
        of_rule: (most conditions of a rule, rules) each rule's conditions; beyond its last, the number of them all.
        bit: (rules, 1) of each rule.
        enough: (rule, condition) of those that ask for several happenings or agencies.
        fresh_days: a rule matches while one of its facts is at most so old.
    """

    watched: Bools
    codes: Ints
    days: Ints
    absent: Bools
    looked: Ints
    silent: Ints
    holds: tuple[tuple[int, int], ...]
    of_rule: Ints
    bit: Ints
    enough: tuple[tuple[int, Condition], ...]
    fresh_days: int

    @classmethod
    def of(cls, file: Combinations) -> Self:
        """From a validated file."""
        named = [(number, one) for number, rule in enumerate(file.rules) for one in rule.all]
        codes = [one.codes or (_NOTHING,) for _, one in named]
        watched = np.zeros(_NOTHING + 1, bool)
        watched[list(chain(*codes))] = True
        number, rules = count(), len(file.rules)
        places = [[next(number) for _ in rule.all] for rule in file.rules]
        of_rule = list(zip_longest(*places, fillvalue=len(named)))
        return cls(
            watched[:_NOTHING],
            np.array(list(zip_longest(*codes, fillvalue=_NOTHING)), np.int64),
            np.array([one.days for _, one in named], np.int64).reshape(-1, 1),
            np.array([bool(one.none or one.silent) for _, one in named], bool).reshape(-1, 1),
            np.flatnonzero([bool(one.any) for _, one in named]),
            np.flatnonzero([bool(one.silent) for _, one in named]),
            tuple(
                (place, sum(STATE_BIT[name] for name in set(one.holds)))
                for place, (_, one) in enumerate(named)
                if one.holds
            ),
            np.array(of_rule, np.int64).reshape(len(of_rule), rules),
            np.int64(1) << np.arange(rules, dtype=np.int64).reshape(-1, 1),
            tuple(
                (n, one) for n, one in named if one.any and (one.at_least > 1 or one.agencies > 1)
            ),
            file.fresh_days,
        )


class Seen(NamedTuple):
    """What rules look at: the live facts, and `youngest`: (257, rows) age of a row's youngest fact of each kind."""

    facts: Facts
    row: Ints
    age: Ints
    youngest: NDArray[np.int16]


def seen(facts: Facts, row: Ints, age: Ints, count: int) -> Seen:
    """Of `count` rows: each fact's row and age, the facts of a row in order of time."""
    youngest = np.full((_NOTHING + 1, count), _NEVER_DAYS, np.int16)
    youngest[facts["kind"], row] = age  # the last one set is the youngest
    return Seen(facts, row, age, youngest)


def match(tables: RuleTables, seen: Seen, states: Ints, listened: Ints) -> tuple[Ints, Ints]:
    """Rules that match, and those that lack nothing but their silence, as bits.

    Args:
        listened: days for which each row's authority has been listened to.
    """
    youngest = np.minimum.reduce(seen.youngest.take(tables.codes, 0))
    silent, looked = tables.silent, tables.looked
    # One row more than there are conditions, for rules that have fewer than others: met, and by nothing new.
    places = len(youngest) + 1, len(states)
    met, mute, new = np.ones(places, bool), np.ones(places, bool), np.zeros(places, bool)
    met[:-1] = (youngest <= tables.days) ^ tables.absent
    for place, bits in tables.holds:
        met[place] = states & bits > 0
    mute[silent] = met[silent] & (listened > tables.days[silent])
    met[silent] = True
    new[looked] = met[looked] & (youngest[looked] <= tables.fresh_days)
    # Of a rule all conditions, and of those for a fact one that is new: old ones alone have been seen before.
    of_rule = tables.of_rule
    matched = np.logical_and.reduce(met.take(of_rule, 0)) & np.logical_or.reduce(
        new.take(of_rule, 0)
    )
    for rule, condition in tables.enough:
        if matched[rule].any():
            _require_enough(seen, condition, matched[rule])
    silence = np.logical_and.reduce(mute.take(of_rule, 0))
    whole, waiting = tables.bit * (matched & silence), tables.bit * (matched & ~silence)
    return whole.sum(axis=0), waiting.sum(axis=0)


def _require_enough(seen: Seen, condition: Condition, matched: Bools) -> None:
    """Clear the rows that have a fact of the condition, but not from enough happenings or agencies."""
    kind = np.zeros(_NOTHING, bool)
    kind[list(condition.codes)] = True
    hits = (kind[seen.facts["kind"]] & (seen.age <= condition.days)).nonzero()[0]
    row = seen.row[hits]
    matched &= np.bincount(row, minlength=len(matched)) >= condition.at_least
    few = matched.nonzero()[0]  # get this far
    told = seen.facts.take(hits)
    incidents, agencies = told["incident"].tolist(), told["value"].tolist()
    bounds = row.searchsorted(np.stack((few, few + 1), axis=1)).tolist()
    for number, (first, end) in zip(few.tolist(), bounds, strict=True):
        enough = condition.agencies == 1 or _agencies(agencies[first:end]) >= condition.agencies
        matched[number] = enough and _happenings(incidents[first:end]) >= condition.at_least


def _happenings(incidents: list[int]) -> int:
    """Distinct happenings among facts: those that share an incident are one."""
    return len({*incidents} - {0}) + incidents.count(0)


def _agencies(values: list[int]) -> int:
    return len({*values} - {0})
