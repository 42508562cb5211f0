"""The kernel: every feature of many (family, moment) rows at once, in integers.

Points are int64 in units of 2^-20 of a point; decays are tables indexed by whole days, so that the same facts give the
same bits on every machine and however rows are batched. `ehps.reference` says the same thing one row at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ehps.calendar import local_day
from ehps.catalogue import BY_CODE, BY_NAME, CONDITIONS, HEADINGS_CODE, HORIZON_DAYS
from ehps.content import CONDITION_CODES, STATES, Condition, Content
from ehps.facts import HORIZON_OF, IS_START, SPELL_OF, SPELLS, VOID, Facts, together

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

UNIT = 1 << 20
"""Units in one point."""

DAY = 86_400
TOLERANCE_DAYS = 1
"""A fact may lie this many days ahead of log time (clocks differ); it then counts with age 0."""

ATTENDANCE = BY_NAME["education.attendance"].code
ON_ROLL = SPELLS.index("on_roll") + 1
OUT_OF_SCHOOL = 1 << SPELLS.index("out_of_school") | 1 << SPELLS.index("home_educated")
RECENT, BEFORE, SEVERE, POSITIVE = 20, 60, 30, 60
"""School days of the attendance windows: absence rise (recent against before), severe absence, positive attendance."""

STATE_BIT = {name: 1 << index for index, name in enumerate(STATES)}
POSITIVE_ATTENDANCE = 1 << len(STATES)
"""State bit: a child on roll missed at most a tenth of 60 school days."""


class Rows(NamedTuple):
    """The question: `starts[r]:starts[r+1]` of `facts` are row r's facts, asked at `moments[r]` (log time, seconds).

    `birth` holds one (row, day of birth) pair for each child of the rows' families.
    """

    facts: Facts
    starts: Ints
    moments: Ints
    birth: Ints


class Features(NamedTuple):
    """The answer, one entry a row.

    Args:
        score: units; the exact sum of `contributions`.
        contributions: (rows, 256) units by kind code; conditions and the headings bonus have codes of their own.
        fresh: units from facts of the policy's fresh days (each kind capped as in the score).
        rules: bit n is set where rule n of the combinations file matches.
        pending: like rules, for rules that lack nothing but their silence.
        states: bits of `STATE_BIT` and `POSITIVE_ATTENDANCE`.
        spells: bit s-1 is set where somebody's spell s is open.
    """

    score: Ints
    contributions: Ints
    fresh: Ints
    rules: Ints
    pending: Ints
    states: Ints
    spells: Ints


@dataclass(frozen=True, eq=False)
class Compiled:
    """Content as tables."""

    content: Content
    decay: Ints  # (256, longest horizon + 1) units
    cap: Ints  # (256,) units
    rank: Ints  # (256,)
    heading: Ints  # (256,) bit of the heading where the kind carries points
    windows: Ints  # (conditions, 256) days, -1 where the kind has no part
    watched: Bools  # (256,) kinds that some rule looks at
    conditions: tuple[tuple[int, int, Condition], ...]  # (rule, index within the rule, condition)


@lru_cache(maxsize=64)
def compile_content(content: Content) -> Compiled:
    """Tables for one content in force."""
    longest = max(HORIZON_DAYS)
    decay, cap = np.zeros((256, longest + 1), np.int64), np.zeros(256, np.int64)
    heading = np.zeros(256, np.int64)
    for name, row in content.release.points.items():
        code = CONDITION_CODES.get(name) or BY_NAME[name].code
        days = longest if code in CONDITIONS else HORIZON_OF[code]
        for day in range(int(days) + 1):
            decay[code, day] = round(row.points * 2 ** (-day / row.half_life) * UNIT)
        cap[code] = round((row.cap or 2 * row.points) * UNIT)
        number = CONDITIONS[code][2] if code in CONDITIONS else BY_CODE[code].heading
        heading[code] = 1 << number if number else 0
    rank = np.array([BY_CODE[c].rank if c in BY_CODE else 0 for c in range(256)], np.int64)
    conditions = tuple(
        (number, index, condition)
        for number, rule in enumerate(content.rules.rules)
        for index, condition in enumerate(rule.all)
    )
    windows = np.full((len(conditions), 256), -1, np.int64)
    for position, (_, _, condition) in enumerate(conditions):
        windows[position, list(condition.codes)] = condition.days
    return Compiled(
        content,
        decay,
        cap,
        rank,
        heading,
        windows,
        np.any(windows >= 0, axis=0).astype(bool),
        conditions,
    )


def features(compiled: Compiled, rows: Rows, *, with_rules: bool = True) -> Features:
    """Every feature of every row. Facts of people who left the family are not among the row's facts.

    Args:
        with_rules: False leaves `rules` and `pending` 0, for those who ask for the score alone.
    """
    count = len(rows.moments)
    row = np.repeat(np.arange(count), np.diff(rows.starts))
    today = local_day(rows.moments)
    facts, age = rows.facts, today[row] - local_day(rows.facts["occurred"].astype(np.int64))
    happened = (facts["flags"] & VOID == 0) & (age >= -TOLERANCE_DAYS)
    live = happened & (age <= HORIZON_OF[facts["kind"]])
    age = np.maximum(age, 0)
    spells, school = _spells(rows, row, happened)
    states = _states(compiled, rows, row, live, today, school) | _ages_of_children(
        rows, today, count
    )
    states[spells & OUT_OF_SCHOOL > 0] |= STATE_BIT["out_of_school"]
    contributions, fresh = _points(compiled, rows, row, live, age, states)
    none = np.zeros(count, np.int64)
    rules, pending = _rules(compiled, rows, row, live, age, states) if with_rules else (none, none)
    return Features(contributions.sum(axis=1), contributions, fresh, rules, pending, states, spells)


def counting(compiled: Compiled, facts: Facts, row: Ints, live: Bools) -> Bools:
    """Of a row's live facts that share an incident, only the one with the greatest (rank, occurred, id, slot) counts."""
    shared = np.flatnonzero(live & (facts["incident"] != 0))
    if len(shared) < 2:
        return live
    part = facts[shared]
    order = np.lexsort(
        (
            part["slot"],
            part["id"],
            part["occurred"],
            compiled.rank[part["kind"]],
            part["incident"],
            row[shared],
        )
    )
    sorted_row, incident = row[shared][order], part["incident"][order]
    beaten = (sorted_row[:-1] == sorted_row[1:]) & (incident[:-1] == incident[1:])
    result = live.copy()
    result[shared[order[:-1][beaten]]] = False
    return result


def _points(
    compiled: Compiled, rows: Rows, row: Ints, live: Bools, age: Ints, states: Ints
) -> tuple[Ints, Ints]:
    count, content = len(rows.moments), compiled.content
    chosen = np.flatnonzero(
        counting(compiled, rows.facts, row, live) & (compiled.cap[rows.facts["kind"]] > 0)
    )
    kind, age, row = rows.facts["kind"][chosen].astype(np.int64), age[chosen], row[chosen]
    units, cell = compiled.decay[kind, age], row * 256 + kind
    # bincount adds in float64: exact, since 512 facts of 100 points stay far below 2^53 units.
    table = np.minimum(_cells(cell, units, count), compiled.cap)
    recent = age <= content.policy.step_up.fresh_days
    fresh = np.minimum(_cells(cell[recent], units[recent], count), compiled.cap)
    for name in ("absence_rise", "severe_absence"):
        code = CONDITION_CODES[f"condition.{name}"]
        held = np.where(states & STATE_BIT[name], compiled.decay[code, 0], 0)
        table[:, code] = held
        fresh[:, code] = held
    table[:, HEADINGS_CODE] = _headings(compiled, kind, age, row, table, count)
    return table, fresh.sum(axis=1)


def _cells(cell: Ints, units: Ints, count: int) -> Ints:
    return np.bincount(cell, units, count * 256).astype(np.int64).reshape(count, 256)


def _headings(
    compiled: Compiled, kind: Ints, age: Ints, row: Ints, table: Ints, count: int
) -> Ints:
    bonus = compiled.content.release.headings
    active = np.zeros(count, np.int64)
    near = age <= bonus.active_days
    np.bitwise_or.at(active, row[near], compiled.heading[kind[near]])
    for code in CONDITIONS:
        active |= np.where(table[:, code] > 0, compiled.heading[code], 0)
    beyond = np.bitwise_count(active.astype(np.uint64)).astype(np.int64) - bonus.beyond
    return np.clip(beyond * round(bonus.points_each * UNIT), 0, round(bonus.points_max * UNIT))


def _spells(rows: Rows, row: Ints, happened: Bools) -> tuple[Ints, Ints]:
    """Open spells of each row, and for attendance the start of each child's open on-roll spell (row, person, occurred)."""
    opened = np.zeros(len(rows.moments), np.int64)
    index = np.flatnonzero(happened & (SPELL_OF[rows.facts["kind"]] > 0))
    if not len(index):
        return opened, np.empty((0, 3), np.int64)
    part, at = rows.facts[index], row[index]
    spell, start = SPELL_OF[part["kind"]].astype(np.int64), IS_START[part["kind"]]
    # On one moment a start comes after an end: a child moves from one school to the next on the same day.
    order = np.lexsort((part["id"], start, part["occurred"], spell, part["person"], at))
    person = part["person"].astype(np.int64)[order]
    at, spell, start, occurred = (
        at[order],
        spell[order],
        start[order],
        part["occurred"].astype(np.int64)[order],
    )
    last = np.ones(len(order), bool)
    last[:-1] = (at[1:] != at[:-1]) | (person[1:] != person[:-1]) | (spell[1:] != spell[:-1])
    is_open = last & start
    np.bitwise_or.at(opened, at[is_open], 1 << (spell[is_open] - 1))
    school = is_open & (spell == ON_ROLL)
    return opened, np.stack((at[school], person[school], occurred[school]), axis=1)


def _ages_of_children(rows: Rows, today: Ints, count: int) -> Ints:
    states = np.zeros(count, np.int64)
    if len(rows.birth):
        row, born = rows.birth[:, 0], rows.birth[:, 1]
        age = today[row] - born
        np.bitwise_or.at(states, row[age < 365], STATE_BIT["child_under_1"])
        np.bitwise_or.at(states, row[age < 1826], STATE_BIT["child_under_5"])
    return states


def _states(
    compiled: Compiled, rows: Rows, row: Ints, live: Bools, today: Ints, school: Ints
) -> Ints:
    """Conditions on attendance, each for any one child on roll: notes on the windows stand at the constants above."""
    states = np.zeros(len(rows.moments), np.int64)
    if not len(school):
        return states
    calendar = compiled.content.school
    at, person, since = school[:, 0], school[:, 1], local_day(school[:, 2])
    now = calendar.count_through(today[at])
    enrolled = now - calendar.count_through(since - 1)  # school days on roll, today included
    index = np.flatnonzero(live & (rows.facts["kind"] == ATTENDANCE))
    child = _child_of(at, person, row[index], rows.facts["person"][index].astype(np.int64))
    index, child = index[child >= 0], child[child >= 0]
    day = local_day(rows.facts["occurred"][index].astype(np.int64))
    ago = now[child] - calendar.count_through(day)  # 0: the last school day so far
    counts = calendar.count_through(day) > calendar.count_through(
        day - 1
    )  # a mark on a closed day is no session
    value = rows.facts["value"][index].astype(np.int64)
    sessions = np.where(counts & (day >= since[child]), (value & 1) + (value >> 1 & 1), 0)

    def missed(first: int, days: int) -> Ints:
        inside = (ago >= first) & (ago < first + days)
        found: Ints = np.bincount(child[inside], sessions[inside], len(at)).astype(np.int64)
        return found

    def possible(first: int, days: int) -> Ints:
        found: Ints = 2 * np.clip(enrolled - first, 0, days)
        return found

    recent, before = missed(0, RECENT), missed(RECENT, BEFORE)
    recent_possible, before_possible = possible(0, RECENT), possible(RECENT, BEFORE)
    # rate difference >= 0.10, without division
    rise = (
        10 * (recent * before_possible - before * recent_possible)
        >= recent_possible * before_possible
    )
    rise &= (recent_possible >= 20) & (before_possible >= 60)
    severe = (possible(0, SEVERE) >= 20) & (2 * missed(0, SEVERE) >= possible(0, SEVERE))
    positive = (enrolled >= POSITIVE) & (10 * missed(0, POSITIVE) <= possible(0, POSITIVE))
    for mask, bit in (
        (rise, STATE_BIT["absence_rise"]),
        (severe, STATE_BIT["severe_absence"]),
        (positive, POSITIVE_ATTENDANCE),
    ):
        np.bitwise_or.at(states, at[mask], bit)
    return states


def _child_of(at: Ints, person: Ints, row: Ints, wanted: Ints) -> Ints:
    """Index of each (row, wanted person) among the sorted (at, person) pairs, -1 where absent."""
    keys, sought = at << 32 | person, row << 32 | wanted
    place = np.minimum(np.searchsorted(keys, sought), len(keys) - 1)
    return np.where(keys[place] == sought, place, -1)


def _rules(
    compiled: Compiled, rows: Rows, row: Ints, live: Bools, age: Ints, states: Ints
) -> tuple[Ints, Ints]:
    count, rules = len(rows.moments), compiled.content.rules
    matched = np.full((len(rules.rules), count), True)
    silent = np.full((len(rules.rules), count), True)
    chosen = np.flatnonzero(live & compiled.watched[rows.facts["kind"]])
    watched = _Watched(rows.facts[chosen], row[chosen], age[chosen])
    for position, (number, _, condition) in enumerate(compiled.conditions):
        if condition.holds:
            bits = sum(STATE_BIT[name] for name in condition.holds)
            held = states & bits > 0
        else:
            held = _count(
                watched,
                watched.age <= compiled.windows[position][watched.facts["kind"]],
                condition,
                count,
            )
        if condition.silent:
            silent[number] &= held
        else:
            matched[number] &= held
    _require_fresh(compiled, watched, matched)
    weights = np.int64(1) << np.arange(len(rules.rules), dtype=np.int64)
    return weights @ (matched & silent), weights @ (matched & ~silent)


class _Watched(NamedTuple):
    """The live facts that some rule looks at."""

    facts: Facts
    row: Ints
    age: Ints


def _count(watched: _Watched, hit: Bools, condition: Condition, count: int) -> Bools:
    hits = np.bincount(watched.row[hit], minlength=count)
    if not condition.any:
        absent: Bools = hits == 0
        return absent
    held: Bools = hits >= condition.at_least
    if condition.at_least > 1 or condition.agencies > 1:
        for number in np.flatnonzero(held).tolist():  # few rows get this far
            part = watched.facts[hit & (watched.row == number)]
            enough = condition.agencies == 1 or _agencies(part) >= condition.agencies
            held[number] = enough and len(incidents(part)) >= condition.at_least
    return held


def incidents(facts: Facts) -> set[tuple[int, int]]:
    """Distinct happenings among facts: those that share an incident are one."""
    return {(0, int(i)) if i else (1, n) for n, i in enumerate(facts["incident"].tolist())}


def _agencies(facts: Facts) -> int:
    return len(set(facts["value"].tolist()) - {0})


def _require_fresh(compiled: Compiled, watched: _Watched, matched: Bools) -> None:
    """At least one fact of a matching rule must be new: old facts alone have been seen before."""
    kind, fresh = watched.facts["kind"], compiled.content.rules.fresh_days
    for number in np.flatnonzero(matched.any(axis=1)).tolist():
        new = np.zeros(len(kind), bool)
        for position, (owner, _, condition) in enumerate(compiled.conditions):
            if owner == number and condition.any:
                new |= watched.age <= np.minimum(compiled.windows[position][kind], fresh)
        matched[number] &= np.bincount(watched.row[new], minlength=matched.shape[1]) > 0


def pack_rows(parts: list[Facts], moments: list[int], births: list[list[int]]) -> Rows:
    """Rows from one fact array, moment and list of children's days of birth for each."""
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=starts[1:])
    pairs = [(row, born) for row, days in enumerate(births) for born in days]
    return Rows(
        together(parts),
        starts,
        np.array(moments, np.int64),
        np.array(pairs, np.int64).reshape(-1, 2),
    )
