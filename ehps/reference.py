"""The kernel once more, in plain Python, one family at one moment: the definition that `ehps.kernel` must equal.

Slow on purpose: lists, dictionaries and loops, so that a reader can check it against the rules' wording.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ehps.calendar import SchoolCalendar, local_day_of
from ehps.catalogue import BY_CODE, BY_NAME, CONDITIONS, HEADINGS_CODE, Kind
from ehps.compiled import POSITIVE_ATTENDANCE, UNIT
from ehps.content import CONDITION_CODES, STATE_BIT, Condition, Rule
from ehps.facts import COUNTED_OF, SPELLS, VOID, Facts, digest, together
from ehps.kernel import BEFORE, POSITIVE, RECENT, SEVERE
from ehps.library import Content


class Told(NamedTuple):
    """One fact, with its age in days at the moment."""

    kind: Kind
    age: int
    day: int
    person: int
    incident: int
    value: int
    occurred: int
    id: int
    slot: int


class Answer(NamedTuple):
    """What the kernel gives for one row."""

    score: int
    contributions: dict[int, int]
    fresh: int
    rules: int
    pending: int
    states: int
    spells: int


def score(content: Content, facts: Facts, moment: int, births: list[int], since: int) -> Answer:
    """Every feature of one family at `moment` (seconds).

    Args:
        births: its children's days of birth.
        since: the day since which its authority has been listened to.
    """
    today = local_day_of(moment)
    happened = [told for told in (_told(fact, today) for fact in facts) if told is not None]
    live = [t for t in happened if t.age <= COUNTED_OF[t.kind.code]]
    spells, schools = _spells(happened)
    states = _states(content.school, live, schools, today)
    states |= STATE_BIT["child_under_1"] if any(today - born < 365 for born in births) else 0
    states |= STATE_BIT["child_under_5"] if any(today - born < 1826 for born in births) else 0
    states |= STATE_BIT["out_of_school"] if spells & {"out_of_school", "home_educated"} else 0
    scored = _one_an_incident(live)
    contributions = _contributions(content, scored, states)
    recent = [t for t in scored if t.age <= content.policy.step_up.fresh_days]
    fresh = sum(
        units
        for code, units in _contributions(content, recent, states).items()
        if code != HEADINGS_CODE
    )
    rules, pending = _rules(content, live, states, today - since)
    bits = sum(1 << SPELLS.index(name) for name in spells)
    return Answer(sum(contributions.values()), contributions, fresh, rules, pending, states, bits)


def _told(fact: np.void, today: int) -> Told | None:
    values = {
        name: int(fact[name])
        for name in ("kind", "occurred", "person", "incident", "value", "id", "slot", "flags")
    }
    day = local_day_of(values["occurred"])
    if values["flags"] & VOID or day > today + 1:
        return None
    return Told(
        BY_CODE[values["kind"]],
        max(today - day, 0),
        day,
        values["person"],
        values["incident"],
        values["value"],
        values["occurred"],
        values["id"],
        values["slot"],
    )


def _one_an_incident(live: list[Told]) -> list[Told]:
    best: dict[int, Told] = {}
    for told in live:
        if told.incident:
            held = best.get(told.incident)
            if held is None or _rank(told) > _rank(held):
                best[told.incident] = told
    return [told for told in live if not told.incident or best[told.incident] is told]


def _rank(told: Told) -> tuple[int, int, int, int]:
    return told.kind.rank, told.occurred, told.id, told.slot


def _contributions(content: Content, scored: list[Told], states: int) -> dict[int, int]:
    sums: dict[int, int] = defaultdict(int)
    headings = set()
    for told in scored:
        row = content.release.points.get(told.kind.name)
        if row is not None:
            sums[told.kind.code] += round(row.points * 2 ** (-told.age / row.half_life) * UNIT)
            if told.kind.heading and told.age <= content.release.headings.active_days:
                headings.add(told.kind.heading)
    result = {}
    for code, units in sums.items():
        row = content.release.points[BY_CODE[code].name]
        result[code] = min(units, round((row.cap or 2 * row.points) * UNIT))
    for name in ("absence_rise", "severe_absence"):
        row = content.release.points.get(f"condition.{name}")
        if row is not None and states & STATE_BIT[name]:
            code = CONDITION_CODES[f"condition.{name}"]
            result[code] = round(row.points * UNIT)
            headings.add(CONDITIONS[code][2])
    bonus = content.release.headings
    beyond = max(0, len(headings) - bonus.beyond)
    result[HEADINGS_CODE] = min(
        beyond * round(bonus.points_each * UNIT), round(bonus.points_max * UNIT)
    )
    return {code: units for code, units in result.items() if units}


def _spells(happened: list[Told]) -> tuple[set[str], dict[int, int]]:
    """Names of spells that are open for anybody, and the first day on roll of every child on roll."""
    newest: dict[tuple[int, str], tuple[tuple[int, bool, int], Told]] = {}
    for told in happened:
        if told.kind.spell:
            key, order = (
                (told.person, told.kind.spell),
                (told.occurred, told.kind.edge == "start", told.id),
            )
            if key not in newest or order >= newest[key][0]:
                newest[key] = (order, told)
    still = {key: told for key, (_, told) in newest.items() if told.kind.edge == "start"}
    return {name for _, name in still}, {
        person: told.day for (person, name), told in still.items() if name == "on_roll"
    }


def _states(school: SchoolCalendar, live: list[Told], schools: dict[int, int], today: int) -> int:
    states = 0
    first = min([*schools.values(), today])
    days = [day for day in range(first, today + 1) if school.is_school_day(day)]
    for person, since in schools.items():
        enrolled = [day for day in days if day >= since][::-1]
        missed: dict[int, int] = defaultdict(int)
        for told in live:
            if told.kind is BY_NAME["education.attendance"] and told.person == person:
                missed[told.day] += (told.value & 1) + (told.value >> 1 & 1)

        def rate(window: list[int], missed: dict[int, int] = missed) -> tuple[int, int]:
            return sum(missed[day] for day in window), 2 * len(window)

        recent, recent_possible = rate(enrolled[:RECENT])
        before, before_possible = rate(enrolled[RECENT : RECENT + BEFORE])
        if recent_possible >= 20 and before_possible >= 60:
            rise = (
                10 * (recent * before_possible - before * recent_possible)
                >= recent_possible * before_possible
            )
            states |= STATE_BIT["absence_rise"] if rise else 0
        severe, possible = rate(enrolled[:SEVERE])
        states |= STATE_BIT["severe_absence"] if possible >= 20 and 2 * severe >= possible else 0
        missing, possible = rate(enrolled[:POSITIVE])
        states |= (
            POSITIVE_ATTENDANCE if len(enrolled) >= POSITIVE and 10 * missing <= possible else 0
        )
    return states


def _rules(content: Content, live: list[Told], states: int, listened: int) -> tuple[int, int]:
    matched = pending = 0
    for number, rule in enumerate(content.rules.rules):
        loud = all(_holds(c, live, states) for c in rule.all if not c.silent)
        if loud and _fresh(content, rule, live):
            silence = all(
                _holds(c, live, states) and listened > c.days for c in rule.all if c.silent
            )
            matched |= silence << number
            pending |= (not silence) << number
    return matched, pending


def _holds(condition: Condition, live: list[Told], states: int) -> bool:
    if condition.holds:
        return any(states & STATE_BIT[name] for name in condition.holds)
    hits = [
        told for told in live if told.kind.code in condition.codes and told.age <= condition.days
    ]
    if not condition.any:
        return not hits
    distinct = {
        (told.incident, 0) if told.incident else (0, number + 1) for number, told in enumerate(hits)
    }
    agencies = {told.value for told in hits} - {0}
    return len(distinct) >= condition.at_least and (
        condition.agencies == 1 or len(agencies) >= condition.agencies
    )


def _fresh(content: Content, rule: Rule, live: list[Told]) -> bool:
    return any(
        told.kind.code in c.codes and told.age <= min(c.days, content.rules.fresh_days)
        for c in rule.all
        if c.any
        for told in live
    )


def key_order(facts: Facts) -> NDArray[np.intp]:
    """Indices that sort by key: occurred, then id, then slot."""
    return np.lexsort((facts["slot"], facts["id"], facts["occurred"]))


def merge(held: Facts, new: Facts) -> Facts:
    """The union of two sets, one version a key, sorted by key. Commutative, associative, idempotent."""
    both = together((held, new))
    order = np.lexsort(
        (
            ~both["known"],
            np.array([digest(fact) for fact in both], np.int64),
            both["flags"] & VOID,
            both["recorded"],
            both["slot"],
            both["id"],
            both["occurred"],
        )
    )
    both = both[order]
    last = np.ones(len(both), bool)
    last[:-1] = (
        (both["occurred"][1:] != both["occurred"][:-1])
        | (both["id"][1:] != both["id"][:-1])
        | (both["slot"][1:] != both["slot"][:-1])
    )
    return both[last]
