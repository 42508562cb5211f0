"""What people see: points, bands, dated facts, and contributions that add up exactly to the score."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ehps.calendar import local_day, local_day_of
from ehps.catalogue import BY_CODE, CONDITIONS, HEADINGS_CODE
from ehps.facts import COUNTED_OF, VOID, Facts, hash32
from ehps.kernel import ATTENDANCE, UNIT, Compiled, Row, counting
from ehps.state import Family

FACTS_SHOWN_MAX = 30
"""Dated facts listed for one contribution; more are counted, not listed."""
BANDS = ("blue", "green", "amber", "red")


@lru_cache(maxsize=4096)
def iso(seconds: int) -> str:
    """Seconds since 1970 as RFC 3339 UTC text."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def points(units: int) -> float:
    """Units as points, rounded for people; the exact value is the units."""
    return round(units / UNIT, 2)


def band_of(compiled: Compiled, score: int) -> int:
    """Index of the highest band whose line the score (units) reaches."""
    return bisect_right(compiled.lines, score)


def fact_view(family: Family, fact: np.void) -> dict[str, Any]:
    """One dated fact for people. A person is named by pseudonym where still a member."""
    kind = BY_CODE[int(fact["kind"])]
    person = int(fact["person"])
    subject = next((s for s in family.case.people if hash32(s) == person), None)
    return {
        "kind": kind.name,
        "label": kind.label,
        "occurred": iso(int(fact["occurred"])),
        "recorded": iso(int(fact["recorded"])),
        "known": iso(int(fact["known"])),
        "person": subject,
    }


def _shown(family: Family, facts: Facts) -> list[dict[str, Any]]:
    return [fact_view(family, fact) for fact in facts[::-1][:FACTS_SHOWN_MAX]]


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
                "facts": _shown(family, behind),
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
