"""What people see: points, bands, dated facts, and contributions that add up exactly to the score."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ehps.calendar import DAY, day_to_date, local_day, local_day_of
from ehps.catalogue import BY_CODE, CONDITIONS, HEADINGS_CODE
from ehps.facts import COUNTED_OF, VOID, Facts, person_hash
from ehps.kernel import ATTENDANCE, UNIT, Compiled, Row, counting
from ehps.state import Family

FACTS_SHOWN_MAX = 30
"""Dated facts listed for one contribution; more are counted, not listed."""
BANDS = ("blue", "green", "amber", "red")


def iso(seconds: int) -> str:
    """Seconds since 1970 as RFC 3339 UTC text."""
    day, rest = divmod(seconds, DAY)
    return f"{_date(day)}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"


log_time = lru_cache(maxsize=64)(iso)
"""The same for log time, which many outputs share."""


@lru_cache(maxsize=1 << 13)
def _date(day: int) -> str:
    return day_to_date(day).isoformat()


def points(units: int) -> float:
    """Units as points, rounded for people; the exact value is the units."""
    return round(units / UNIT, 2)


def band_of(compiled: Compiled, score: int) -> int:
    """Index of the highest band whose line the score (units) reaches."""
    return bisect_right(compiled.lines, score)


def fact_views(family: Family, facts: Facts) -> list[dict[str, Any]]:
    """Dated facts for people, in the given order. A person is named by pseudonym where still a member."""
    subjects = {person_hash(subject): subject for subject in family.case.people}
    return [
        {
            "kind": BY_CODE[kind].name,
            "label": BY_CODE[kind].label,
            "occurred": iso(occurred),
            "recorded": iso(recorded),
            "known": iso(known),
            "person": subjects.get(person),
        }
        for kind, occurred, recorded, known, person in facts[_SHOWN].tolist()
    ]


_SHOWN = ["kind", "occurred", "recorded", "known", "person"]


def contributions(
    compiled: Compiled, family: Family, facts: Facts, row: Row, moment: int
) -> list[dict[str, Any]]:
    """What the row's score is made of, greatest first; units add up to the score exactly."""
    age = local_day_of(moment) - local_day(facts["occurred"].astype(np.int64))
    live = (facts["flags"] & VOID == 0) & (age >= -1) & (age <= COUNTED_OF[facts["kind"]])
    live = counting(compiled, facts, np.zeros(len(facts), np.int64), live)
    result = []
    for code, units in row.contributions.items():
        name, label, heading, behind = _behind(compiled, facts, live, age, code)
        result.append(
            {
                "kind": name,
                "label": label,
                "heading": f"SF{heading}" if heading else None,
                "units": units,
                "points": points(units),
                "facts_total": len(behind),
                "facts": fact_views(family, behind[::-1][:FACTS_SHOWN_MAX]),
            }
        )
    return sorted(result, key=lambda c: (-c["units"], c["kind"]))


def _behind(
    compiled: Compiled, facts: Facts, live: NDArray[np.bool_], age: NDArray[np.int64], code: int
) -> tuple[str, str, int | None, Facts]:
    """Name, label and heading of a contribution, and the facts behind it."""
    if code == HEADINGS_CODE:
        column = compiled.column[facts["kind"]]
        near = live & (age <= compiled.content.release.headings.active_days)
        near &= (column >= 0) & (compiled.heading[column] > 0)
        return "headings", "Needs under several headings at once", None, facts[near]
    if code in CONDITIONS:
        missed = live & (facts["kind"] == ATTENDANCE) & (facts["value"] > 0)
        return (*CONDITIONS[code], facts[missed])
    kind = BY_CODE[code]
    return kind.name, kind.label, kind.heading, facts[live & (facts["kind"] == code)]


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


def rule_names(compiled: Compiled, bits: int) -> list[str]:
    """Names of the rules whose bits are set, each once."""
    rules = compiled.content.rules.rules
    return list(dict.fromkeys(rule.name for number, rule in enumerate(rules) if bits >> number & 1))
