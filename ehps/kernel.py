"""The kernel: every feature of many (family, moment) rows at once, in integers.

Points are int64 in units of 2^-20 of a point; decays are tables indexed by whole days, so that the same
facts give the same bits on every machine and however rows are batched. `ehps.reference` says the same
thing one row at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ehps.calendar import Bools, Ints, local_day, local_day_of
from ehps.catalogue import BY_NAME, CONDITIONS
from ehps.compiled import POSITIVE_ATTENDANCE, Compiled, units
from ehps.content import STATE_BIT
from ehps.facts import BIRTH, COUNTED_OF, IS_START, SPELL_OF, SPELLS, VOID, Facts, together
from ehps.rules import match, seen

TOLERANCE_DAYS = 1
"""A fact may lie this many days ahead of log time (clocks differ); it then counts with age 0."""

ATTENDANCE = BY_NAME["education.attendance"].code
ON_ROLL = SPELLS.index("on_roll") + 1
OUT_OF_SCHOOL = 1 << SPELLS.index("out_of_school") | 1 << SPELLS.index("home_educated")
RECENT, BEFORE, SEVERE, POSITIVE = 20, 60, 30, 60
"""School days of the attendance windows: absence rise (recent against before), severe absence, positive."""
_WINDOWS = tuple(sorted({RECENT, SEVERE, POSITIVE, RECENT + BEFORE}))
"""Windows, which all end today, by their length."""
_WINDOW_OF = np.searchsorted(_WINDOWS, np.arange(_WINDOWS[-1]), side="right")
"""The shortest window that a school day lies in, by how many school days ago it was."""
_SESSIONS = np.array([(value & 3).bit_count() for value in range(256)])
"""Sessions missed on a day, by an attendance fact's value."""


class Rows(NamedTuple):
    """The question: the features of each row on its day.

    Args:
        facts: of all rows, one after the other, each row's sorted by key.
        days: the day (in London, since 1970) on which each fact occurred.
        starts: row r's facts are `starts[r]:starts[r+1]`.
        today: each row's day.
        birth: one (row, day of birth) pair for each child of the rows' families.
        since: the day since which the authority has been listened to: silence before it says nothing.
    """

    facts: Facts
    days: Ints
    starts: Ints
    today: Ints
    birth: Ints
    since: int = 0

    def row(self, at: int) -> Rows:
        """One of them alone."""
        part = slice(self.starts[at], self.starts[at + 1])
        born = self.birth[self.birth[:, 0] == at] - (at, 0)
        starts = self.starts[at : at + 2] - self.starts[at]
        return Rows(
            self.facts[part], self.days[part], starts, self.today[at : at + 1], born, self.since
        )


class Row(NamedTuple):
    """The answer for one row: see `Features`, of which it is number `at`."""

    score: int
    fresh: int
    rules: int
    pending: int
    states: int
    spells: int
    found: Features
    at: int

    @property
    def contributions(self) -> dict[int, int]:
        """Units by kind code, zeros left out."""
        parts = zip(self.found.codes, self.found.contributions[self.at].tolist(), strict=True)
        return {code: units for code, units in parts if units}


class Features(NamedTuple):
    """The answer, one entry a row.

    Args:
        score: units; the exact sum of `contributions`.
        contributions: (rows, columns) units; column c belongs to kind `codes[c]`; conditions and the
            headings bonus have codes of their own.
        fresh: units from facts of the policy's fresh days (each kind capped as in the score).
        rules: bit n is set where rule n of the combinations file matches.
        pending: like rules, for rules that lack nothing but their silence.
        states: bits of `STATE_BIT` and `POSITIVE_ATTENDANCE`.
        spells: bit s-1 is set where somebody's spell s is open.
        failed: the arithmetic failed on the row, whose other entries say nothing.
    """

    score: Ints
    contributions: Ints
    fresh: Ints
    rules: Ints
    pending: Ints
    states: Ints
    spells: Ints
    failed: Bools
    codes: tuple[int, ...]

    def scores(self, unknown: int) -> Ints:
        """The scores, `unknown` where the arithmetic failed."""
        return np.where(self.failed, unknown, self.score)

    def first(self, count: int) -> Features:
        """The first so many rows."""
        return Features._make((*(column[:count] for column in self[:-1]), self.codes))

    def rows(self, chosen: Ints | None = None) -> list[Row | None]:
        """All rows, or the chosen, as plain integers; None: the arithmetic failed on it."""
        at = np.arange(len(self.score)) if chosen is None else chosen
        columns = (self.score, self.fresh, self.rules, self.pending, self.states, self.spells)
        told = zip(*(column[at].tolist() for column in columns), strict=True)
        rows = zip(at.tolist(), self.failed[at].tolist(), told, strict=True)
        return [None if failed else Row._make((*values, self, row)) for row, failed, values in rows]


def features(compiled: Compiled, rows: Rows, *, judged: int | None = None) -> Features:
    """Every feature of every row. Facts of people who left the family are not among the row's facts.

    It is total: a row whose facts the arithmetic does not stand is marked `failed`, and spoils no other.

    Args:
        judged: so many rows, the first, are judged by the rules; of the others the score alone is asked for, and
            their `rules` and `pending` are 0. None: all are judged.
    """
    judged = len(rows.today) if judged is None else judged
    try:
        return _features(compiled, rows, judged)
    except (ArithmeticError, IndexError, ValueError):
        return _one_by_one(compiled, rows, judged)


def _one_by_one(compiled: Compiled, rows: Rows, judged: int) -> Features:
    count = len(rows.today)
    if count == 1:
        return _failure(compiled)
    parts = [features(compiled, rows.row(at), judged=int(at < judged)) for at in range(count)]
    columns: list[Any] = [np.concatenate(c) for c in zip(*(p[:-1] for p in parts), strict=True)]
    return Features._make([*columns, compiled.codes])


def _failure(compiled: Compiled) -> Features:
    zero, table = np.zeros(1, np.int64), np.zeros((1, len(compiled.codes)), np.int64)
    failed = np.ones(1, bool)
    return Features(zero, table, zero, zero, zero, zero, zero, failed, compiled.codes)


def _features(compiled: Compiled, rows: Rows, judged: int) -> Features:
    count, facts = len(rows.today), rows.facts
    row = np.arange(count).repeat(rows.starts[1:] - rows.starts[:-1])
    age = rows.today[row] - rows.days
    happened = (facts["flags"] & VOID == 0) & (age >= -TOLERANCE_DAYS)
    live = happened & (age <= COUNTED_OF[facts["kind"]])
    age = np.maximum(age, 0)
    spells, on_roll = _spells(rows, row, happened)
    states = _attendance(compiled, rows, row, live, on_roll) | _ages_of_children(rows)
    states[spells & OUT_OF_SCHOOL > 0] |= STATE_BIT["out_of_school"]
    contributions, fresh = _points(compiled, rows, row, live, age, states)
    rules, pending = np.zeros((2, count), np.int64)
    if judged:
        part = slice(rows.starts[judged])
        chosen = (live[part] & compiled.rules.watched[facts["kind"][part]]).nonzero()[0]
        looked_at = seen(facts.take(chosen), row[chosen], age[chosen], judged)
        listened = rows.today[:judged] - rows.since
        rules[:judged], pending[:judged] = match(
            compiled.rules, looked_at, states[:judged], listened
        )
    score = contributions.sum(axis=1)
    failed = np.zeros(count, bool)
    return Features(
        score, contributions, fresh, rules, pending, states, spells, failed, compiled.codes
    )


def counting(compiled: Compiled, facts: Facts, row: Ints, live: Bools) -> Bools:
    """Of a row's live facts that share an incident, only the greatest (rank, occurred, id, slot) counts."""
    shared = (live & (facts["incident"] != 0)).nonzero()[0]
    if len(shared) < 2:
        return live
    part, at = facts.take(shared), row[shared]
    rank = compiled.rank[part["kind"]]
    order = np.lexsort((part["slot"], part["id"], part["occurred"], rank, part["incident"], at))
    at, incident = at[order], part["incident"][order]
    beaten = (at[:-1] == at[1:]) & (incident[:-1] == incident[1:])
    result = live.copy()
    result[shared[order[:-1][beaten]]] = False
    return result


def _points(
    compiled: Compiled, rows: Rows, row: Ints, live: Bools, age: Ints, states: Ints
) -> tuple[Ints, Ints]:
    """Units by column, and the fresh part of the score."""
    count, content, width = len(rows.today), compiled.content, len(compiled.codes)
    column = compiled.column[rows.facts["kind"]]
    chosen = (counting(compiled, rows.facts, row, live) & (column >= 0)).nonzero()[0]
    column, age, row = column[chosen], age[chosen], row[chosen]
    units, cell = compiled.decay[column, age], row * width + column

    def table(part: slice | Bools) -> Ints:
        # bincount adds in float64: exact, since 512 facts of 100 points stay far below 2^53 units.
        sums = np.bincount(cell[part], units[part], count * width).astype(np.int64)
        return np.minimum(sums.reshape(count, width), compiled.cap)

    total, fresh = table(slice(None)), table(age <= content.policy.step_up.fresh_days)
    for code, (name, _, _) in CONDITIONS.items():
        place = compiled.column[code]
        if place >= 0:
            bit = STATE_BIT[name.removeprefix("condition.")]
            held = np.where(states & bit, compiled.decay[place, 0], 0)
            total[:, place] = fresh[:, place] = held
    total[:, -1] = _headings(compiled, column, age, row, total)
    return total, fresh.sum(axis=1)


def _headings(compiled: Compiled, column: Ints, age: Ints, row: Ints, total: Ints) -> Ints:
    """The bonus for needs under several headings at once."""
    bonus = compiled.content.release.headings
    active = np.zeros(len(total), np.int64)
    near = (age <= bonus.active_days).nonzero()[0]
    np.bitwise_or.at(active, row[near], compiled.heading[column[near]])
    for code in CONDITIONS:
        place = compiled.column[code]
        if place >= 0:
            active |= np.where(total[:, place] > 0, compiled.heading[place], 0)
    beyond = np.bitwise_count(active.astype(np.uint64)).astype(np.int64) - bonus.beyond
    most = units(bonus.points_max)
    found: Ints = np.minimum(np.maximum(beyond, 0) * units(bonus.points_each), most)
    return found


class _OnRoll(NamedTuple):
    """Open on-roll spells, sorted by (row, person): whose, and the day each began."""

    row: Ints
    person: Ints
    since: Ints


_NOBODY = _OnRoll(*np.zeros((3, 0), np.int64))


def _spells(rows: Rows, row: Ints, happened: Bools) -> tuple[Ints, _OnRoll]:
    """Open spells of each row, and those on roll."""
    opened = np.zeros(len(rows.today), np.int64)
    index = (happened & (SPELL_OF[rows.facts["kind"]] > 0)).nonzero()[0]
    if not len(index):
        return opened, _NOBODY
    part = rows.facts.take(index)
    spell = SPELL_OF[part["kind"]].astype(np.int64)
    whose = row[index] << 40 | part["person"].astype(np.int64) << 8 | spell
    # On one moment a start comes after an end: a child moves from one school to the next on a day.
    edge = part["occurred"].astype(np.int64) << 1 | IS_START[part["kind"]]
    order = whose.argsort(kind="stable")  # thrice as fast as any other, since rows come in order
    whose = whose[order]
    begins = np.ones(len(whose), bool)
    begins[1:] = whose[1:] != whose[:-1]
    first = begins.nonzero()[0]
    latest = np.maximum.reduceat(edge[order], first)
    is_open = latest & 1 > 0
    whose, since = whose[first][is_open], latest[is_open] >> 1
    at, spell = whose >> 40, whose & 0xFF
    np.bitwise_or.at(opened, at, 1 << (spell - 1))
    school = spell == ON_ROLL
    person = whose[school] >> 8 & 0xFFFFFFFF
    return opened, _OnRoll(at[school], person, local_day(since[school]))


def _ages_of_children(rows: Rows) -> Ints:
    states = np.zeros(len(rows.today), np.int64)
    if len(rows.birth):
        row, born = rows.birth[:, 0], rows.birth[:, 1]
        age = rows.today[row] - born
        np.bitwise_or.at(states, row[age < 365], STATE_BIT["child_under_1"])
        np.bitwise_or.at(states, row[age < 1826], STATE_BIT["child_under_5"])
    return states


def _attendance(compiled: Compiled, rows: Rows, row: Ints, live: Bools, on_roll: _OnRoll) -> Ints:
    """Conditions on attendance, each for any one child on roll; the windows are the constants above."""
    states, (at, person, since) = np.zeros(len(rows.today), np.int64), on_roll
    if not len(at):
        return states
    calendar = compiled.content.school
    now = calendar.count_through(rows.today)
    # School days on roll, today included.
    enrolled = np.maximum(now[at] - calendar.count_through(since - 1), 0)
    index = (live & (rows.facts["kind"] == ATTENDANCE)).nonzero()[0]
    day = rows.days[index]
    through = calendar.count_through(day)
    ago = now[row[index]] - through  # 0: the last school day so far
    counts = through > calendar.count_through(day - 1)  # a mark on a closed day is no session
    counts &= (ago >= 0) & (ago < _WINDOWS[-1])
    index, window = index[counts], _WINDOW_OF[ago[counts]]
    child = _child_of(at, person, row[index], rows.facts["person"][index].astype(np.int64))
    theirs = (child >= 0) & (rows.days[index] >= since[child])
    cell = window[theirs] * len(at) + child[theirs]
    sessions = _SESSIONS[rows.facts["value"][index[theirs]]]
    table = np.bincount(cell, sessions, len(_WINDOWS) * len(at)).astype(np.int64)
    missed = dict(zip(_WINDOWS, table.reshape(-1, len(at)).cumsum(axis=0), strict=True))

    def possible(days: int) -> Ints:
        found: Ints = 2 * np.minimum(enrolled, days)
        return found

    recent, of_recent = missed[RECENT], possible(RECENT)
    before, of_before = missed[RECENT + BEFORE] - recent, possible(RECENT + BEFORE) - of_recent
    # Difference of the two rates >= 0.10, without division.
    rise = 10 * (recent * of_before - before * of_recent) >= of_recent * of_before
    rise &= (of_recent >= 20) & (of_before >= 60)
    of_severe = possible(SEVERE)
    severe = (of_severe >= 20) & (2 * missed[SEVERE] >= of_severe)
    positive = (enrolled >= POSITIVE) & (10 * missed[POSITIVE] <= possible(POSITIVE))
    np.bitwise_or.at(states, at[rise], STATE_BIT["absence_rise"])
    np.bitwise_or.at(states, at[severe], STATE_BIT["severe_absence"])
    np.bitwise_or.at(states, at[positive], POSITIVE_ATTENDANCE)
    return states


def _child_of(at: Ints, person: Ints, row: Ints, wanted: Ints) -> Ints:
    """Index of each (row, wanted person) among the sorted (at, person) pairs, -1 where absent."""
    keys, sought = at << 32 | person, row << 32 | wanted
    place = np.minimum(keys.searchsorted(sought), len(keys) - 1)
    return np.where(keys[place] == sought, place, -1)


def pack_rows(
    parts: Sequence[Facts], moments: Sequence[int], births: Sequence[bytes], since: int = 0
) -> Rows:
    """Rows from a set of facts, a moment (log time, seconds) and the children's days of birth for each."""
    facts = together(parts)
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=starts[1:])
    today = np.array([local_day_of(moment) for moment in moments], np.int64)
    days = local_day(facts["occurred"].astype(np.int64))
    return Rows(facts, days, starts, today, pack_births(births), since)


def pack_births(births: Sequence[bytes]) -> Ints:
    """(row, day of birth) pairs from the bytes (`BIRTH`) of each row's children."""
    born = np.frombuffer(b"".join(births), BIRTH)
    row = np.arange(len(births)).repeat([len(raw) // BIRTH.itemsize for raw in births])
    return np.stack((row, born.astype(np.int64)), axis=1)
