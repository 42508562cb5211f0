"""What people see: points, bands, dated facts, and contributions that add up exactly to the score."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

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


# A day's minutes and a minute's seconds as text: alerts name dozens of moments, few of them twice.
_MINUTES = tuple(f"{minute // 60:02}:{minute % 60:02}:" for minute in range(DAY // 60))
_SECONDS = tuple(f"{second:02}Z" for second in range(60))


@lru_cache(maxsize=1 << 14)
def iso(seconds: int) -> str:
    """Seconds since 1970 as RFC 3339 UTC text."""
    minutes, second = divmod(seconds, 60)
    day, minute = divmod(minutes, DAY // 60)
    return f"{_date(day)}T{_MINUTES[minute]}{_SECONDS[second]}"


@lru_cache(maxsize=1 << 13)
def _date(day: int) -> str:
    return day_to_date(day).isoformat()


def points(units: int) -> float:
    """Units as points, rounded for people; the exact value is the units."""
    return round(units / UNIT, 2)


def band_of(compiled: Compiled, score: int) -> int:
    """Index of the highest band whose line the score (units) reaches."""
    return bisect_right(compiled.lines, score)


class Chronology:
    """A family's facts at a moment as people see them: those within their horizon, newest first.

    Inside, a fact is its place among them.

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
        newest_first = np.flatnonzero(live)[::-1]
        shown = facts.take(newest_first)
        columns = ("kind", "value", "known", "occurred", "recorded", "person")
        self._column = {name: shown[name].tolist() for name in columns}
        self._kinds, self._ages = self._column["kind"], age[newest_first].tolist()
        self._counting: list[int] = np.flatnonzero(counts[newest_first]).tolist()
        self._documents: dict[int, dict[str, Any]] = {}

    def contributions(self, row: Row) -> list[dict[str, Any]]:
        """What the row's score is made of, greatest first; units add up to the score exactly."""
        of_kind: dict[int, list[int]] = {}
        for at in self._counting:  # no greater one of their incident stands in for them
            of_kind.setdefault(self._kinds[at], []).append(at)
        parts = [self._part(code, units, of_kind) for code, units in row.contributions.items()]
        return sorted(parts, key=lambda part: (-part["units"], part["kind"]))

    def recent(self, days: int) -> list[dict[str, Any]]:
        """Facts no older than `days`."""
        return self._shown(self._younger(days))

    def new_labels(self, days: int) -> list[str]:
        """Labels of those of them that carry points, each once."""
        kinds, column = self._kinds[: len(self._younger(days))], self._compiled.column
        return list(dict.fromkeys(BY_CODE[kind].label for kind in kinds if column[kind] >= 0))

    def told_by(self, since: int) -> set[str]:
        """Sources of facts that became known after `since` (log time, seconds)."""
        told = zip(self._kinds, self._column["known"], strict=True)
        return {BY_CODE[kind].source for kind, known in told if known > since}

    def of_kinds(self, kinds: Collection[int], days: int, most: int) -> list[dict[str, Any]]:
        """The newest facts of some kinds."""
        return self._shown([at for at in self._younger(days) if self._kinds[at] in kinds][:most])

    def _younger(self, days: int) -> range:
        """Facts no older than `days`: the first, as the newest come first."""
        return range(bisect_right(self._ages, days))

    def _part(self, code: int, units: int, of_kind: Mapping[int, list[int]]) -> dict[str, Any]:
        name, label, heading, behind = self._behind(code, of_kind)
        return {
            "kind": name,
            "label": label,
            "heading": f"SF{heading}" if heading else None,
            "units": units,
            "points": points(units),
            "facts_total": len(behind),
            "facts": self._shown(behind),
        }

    def _behind(
        self, code: int, of_kind: Mapping[int, list[int]]
    ) -> tuple[str, str, int | None, list[int]]:
        """Name, label and heading of a contribution, and the facts behind it."""
        if code == HEADINGS_CODE:
            column, heading = self._compiled.column, self._compiled.heading
            days = self._compiled.content.release.headings.active_days
            headed = {kind for kind in of_kind if column[kind] >= 0 and heading[column[kind]]}
            near = len(self._younger(days))
            behind = [at for at in self._counting if at < near and self._kinds[at] in headed]
            return "headings", "Needs under several headings at once", None, behind
        if code in CONDITIONS:
            marks = of_kind.get(ATTENDANCE, ())
            return (*CONDITIONS[code], [at for at in marks if self._column["value"][at]])
        kind = BY_CODE[code]
        return kind.name, kind.label, kind.heading, of_kind.get(code, [])

    def _shown(self, facts: Sequence[int]) -> list[dict[str, Any]]:
        """Each written out once, though most are shown in several places."""
        made = self._documents
        return [made.get(at) or self._document(at) for at in facts[:FACTS_SHOWN_MAX]]

    def _document(self, at: int) -> dict[str, Any]:
        """A person is named by pseudonym where still a member."""
        kind, column = BY_CODE[self._kinds[at]], self._column
        found = self._documents[at] = {
            "kind": kind.name,
            "label": kind.label,
            "occurred": iso(column["occurred"][at]),
            "recorded": iso(column["recorded"][at]),
            "known": iso(column["known"][at]),
            "person": self._subjects.get(column["person"][at]),
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
