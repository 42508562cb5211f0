"""What people see: points, bands, dated facts, and contributions that add up exactly to the score."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ehps.calendar import DAY, day_to_date, local_day, local_day_of
from ehps.catalogue import BY_CODE, CONDITIONS, HEADINGS_CODE
from ehps.compiled import UNIT, Compiled
from ehps.content import Rule
from ehps.facts import COUNTED_OF, VOID, Facts, person_hash
from ehps.kernel import ATTENDANCE, Row, counting
from ehps.state import Family

FACTS_SHOWN_MAX = 30
"""Dated facts listed for one contribution; more are counted, not listed."""
BANDS = ("blue", "green", "amber", "red")


@lru_cache(maxsize=1 << 14)
def iso(seconds: int) -> str:
    """Seconds since 1970 as RFC 3339 UTC text."""
    day, rest = divmod(seconds, DAY)
    return f"{_date(day)}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"


@lru_cache(maxsize=1 << 13)
def _date(day: int) -> str:
    return day_to_date(day).isoformat()


def points(units: int) -> float:
    """Units as points, rounded for people; the exact value is the units."""
    return round(units / UNIT, 2)


def band_of(compiled: Compiled, score: int) -> int:
    """Index of the highest band whose line the score (units) reaches."""
    return bisect_right(compiled.lines, score)


class _Fact(NamedTuple):
    """One fact of a chronology: the fields of `FACT`, and what they come to at its moment.

    Args:
        age: days.
        counts: no greater one of its incident stands in for it.
    """

    id: int
    occurred: int
    recorded: int
    incident: int
    person: int
    kind: int
    slot: int
    value: int
    flags: int
    known: int
    age: int
    counts: bool


class Chronology:
    """A family's facts at a moment as people see them: those within their horizon, newest first.

    Args:
        facts: those that count, sorted by key.
        moment: log time, seconds.
    """

    def __init__(self, compiled: Compiled, family: Family, facts: Facts, moment: int) -> None:
        self._compiled = compiled
        self._subjects = {person_hash(subject): subject for subject in family.case.people}
        age = local_day_of(moment) - local_day(facts["occurred"].astype(np.int64))
        live = (facts["flags"] & VOID == 0) & (age >= -1) & (age <= COUNTED_OF[facts["kind"]])
        counts = counting(compiled, facts, np.zeros(len(facts), np.int64), live)
        chosen = np.flatnonzero(live)[::-1]
        rows = zip(
            facts.take(chosen).tolist(), age[chosen].tolist(), counts[chosen].tolist(), strict=True
        )
        self._facts = [_Fact._make((*fact, age, counts)) for fact, age, counts in rows]
        self._counting = [fact for fact in self._facts if fact.counts]
        self._documents: dict[int, dict[str, Any]] = {}

    def contributions(self, row: Row) -> list[dict[str, Any]]:
        """What the row's score is made of, greatest first; units add up to the score exactly."""
        parts = [self._part(code, units) for code, units in row.contributions.items()]
        return sorted(parts, key=lambda part: (-part["units"], part["kind"]))

    def recent(self, days: int) -> list[dict[str, Any]]:
        """Facts no older than `days`."""
        return self._shown([fact for fact in self._facts if fact.age <= days])

    def new_labels(self, days: int) -> list[str]:
        """Labels of those of them that carry points, each once."""
        column = self._compiled.column
        new = (f.kind for f in self._facts if f.age <= days and column[f.kind] >= 0)
        return list(dict.fromkeys(BY_CODE[kind].label for kind in new))

    def told_by(self, since: int) -> set[str]:
        """Sources of facts that became known after `since` (log time, seconds)."""
        return {BY_CODE[fact.kind].source for fact in self._facts if fact.known > since}

    def of_kinds(self, kinds: Collection[int], days: int, most: int) -> list[dict[str, Any]]:
        """The newest facts of some kinds."""
        return self._shown([f for f in self._facts if f.kind in kinds and f.age <= days][:most])

    def _part(self, code: int, units: int) -> dict[str, Any]:
        name, label, heading, behind = self._behind(code)
        return {
            "kind": name,
            "label": label,
            "heading": f"SF{heading}" if heading else None,
            "units": units,
            "points": points(units),
            "facts_total": len(behind),
            "facts": self._shown(behind),
        }

    def _behind(self, code: int) -> tuple[str, str, int | None, list[_Fact]]:
        """Name, label and heading of a contribution, and the facts behind it."""
        if code == HEADINGS_CODE:
            column, heading = self._compiled.column, self._compiled.heading
            days = self._compiled.content.release.headings.active_days
            near = [
                f
                for f in self._counting
                if f.age <= days and column[f.kind] >= 0 and heading[column[f.kind]]
            ]
            return "headings", "Needs under several headings at once", None, near
        if code in CONDITIONS:
            return (
                *CONDITIONS[code],
                [f for f in self._counting if f.kind == ATTENDANCE and f.value],
            )
        kind = BY_CODE[code]
        return kind.name, kind.label, kind.heading, [f for f in self._counting if f.kind == code]

    def _shown(self, facts: list[_Fact]) -> list[dict[str, Any]]:
        """Each written out once, though most are shown in several places."""
        made = self._documents
        return [made.get(id(fact)) or self._document(fact) for fact in facts[:FACTS_SHOWN_MAX]]

    def _document(self, fact: _Fact) -> dict[str, Any]:
        """A person is named by pseudonym where still a member."""
        kind = BY_CODE[fact.kind]
        found = self._documents[id(fact)] = {
            "kind": kind.name,
            "label": kind.label,
            "occurred": iso(fact.occurred),
            "recorded": iso(fact.recorded),
            "known": iso(fact.known),
            "person": self._subjects.get(fact.person),
        }
        return found


def people_view(family: Family, moment: int) -> list[dict[str, Any]]:
    """Members with role and age in whole years (None where no month of birth was told)."""
    day = local_day_of(moment)
    return [
        {
            "subject": subject,
            "role": p.role,
            "age": None if p.born is None else max(0, int((day - p.born) / 365.25)),
        }
        for subject, p in sorted(family.case.members().items())
    ]


@lru_cache(maxsize=1 << 12)
def rules_of(compiled: Compiled, bits: int) -> tuple[Rule, ...]:
    """The rules whose bits are set; of several with one name the first."""
    found: dict[str, Rule] = {}
    for number, rule in enumerate(compiled.content.rules.rules):
        if bits >> number & 1:
            found.setdefault(rule.name, rule)
    return tuple(found.values())


def rule_names(compiled: Compiled, bits: int) -> list[str]:
    """Names of the rules whose bits are set, each once."""
    return [rule.name for rule in rules_of(compiled, bits)]
