"""Why: contributions that add up exactly to the score, each with the dated facts behind it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from ehps.calendar import local_day, local_day_of
from ehps.catalogue import BY_CODE, CONDITIONS, HEADINGS_CODE, HORIZON_DAYS
from ehps.content import Library
from ehps.facts import HORIZON_OF, VOID, Facts, hash32
from ehps.kernel import (
    ATTENDANCE,
    UNIT,
    Compiled,
    Features,
    compile_content,
    counting,
    features,
    pack_rows,
)
from ehps.state import Authority, Family, Partition

FACTS_SHOWN_MAX = 30
"""Dated facts listed for one contribution; more are counted, not listed."""
BANDS = ("blue", "green", "amber", "red")


def iso(seconds: int) -> str:
    """Seconds since 1970 as RFC 3339 UTC text."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def points(units: int) -> float:
    """Units as points, rounded for people; the exact value is the units."""
    return round(units / UNIT, 2)


def band_of(content_lines: tuple[int, int, int], score: int) -> int:
    """Index of the highest band whose line the score reaches."""
    return sum(score >= line for line in content_lines)


def lines(compiled: Compiled) -> tuple[int, int, int]:
    """Lines of green, amber and red in units."""
    line = compiled.content.policy.lines
    return round(line.green * UNIT), round(line.amber * UNIT), round(line.red * UNIT)


def fact_view(family: Family, fact: np.void) -> dict[str, Any]:
    """One dated fact for people. A person is named by pseudonym where still a member."""
    kind = BY_CODE[int(fact["kind"])]
    person = int(fact["person"])
    subject = next((s for s in family.people if hash32(s) == person), None)
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
    compiled: Compiled, family: Family, facts: Facts, row: Features, index: int, moment: int
) -> list[dict[str, Any]]:
    """What the score of row `index` is made of, greatest first; units add up to the score exactly."""
    age = local_day_of(moment) - local_day(facts["occurred"].astype(np.int64))
    live = (facts["flags"] & VOID == 0) & (age >= -1) & (age <= HORIZON_OF[facts["kind"]])
    live = counting(compiled, facts, np.zeros(len(facts), np.int64), live)
    table = row.contributions[index]
    result = []
    for code in np.flatnonzero(table).tolist():
        if code == HEADINGS_CODE:
            near = (
                live
                & (age <= compiled.content.release.headings.active_days)
                & (compiled.heading[facts["kind"]] > 0)
            )
            name, label, heading, behind = (
                "headings",
                "Needs under several headings at once",
                None,
                facts[near],
            )
        elif code in CONDITIONS:
            name, label, heading = CONDITIONS[code]
            behind = facts[live & (facts["kind"] == ATTENDANCE) & (facts["value"] > 0)]
        else:
            name, label, heading = BY_CODE[code].name, BY_CODE[code].label, BY_CODE[code].heading
            behind = facts[live & (facts["kind"] == code)]
        result.append(
            {
                "kind": name,
                "label": label,
                "heading": f"SF{heading}" if heading else None,
                "units": int(table[code]),
                "points": points(int(table[code])),
                "facts_total": len(behind),
                "facts": _shown(family, behind),
            }
        )
    return sorted(result, key=lambda c: (-c["units"], c["kind"]))


def people_view(family: Family, moment: int) -> list[dict[str, Any]]:
    """Members with role and age in whole years (None where no month of birth was told)."""
    day = local_day_of(moment)
    return [
        {
            "subject": subject,
            "role": p.role,
            "age": None if p.born is None else max(0, int((day - p.born) / 365.25)),
        }
        for subject, p in sorted(family.members().items())
    ]


def explain(
    state: bytes, partition: bytes, library: Library, moment: int | None = None
) -> dict[str, Any]:
    """A family's score at a moment (default: its authority's log time), with everything behind it.

    Raises:
        InvariantBroken: the authority has no control in force.
    """
    from ehps.authority import coverage, in_force, is_heard  # noqa: PLC0415  (keeps the import graph a tree)
    from ehps.stepdown import expected_sources, tier  # noqa: PLC0415

    family = Family.decode(state)
    authority = Partition.decode(partition).authorities.get(family.la, Authority())
    content = in_force(authority, library)
    compiled = compile_content(content)
    at = authority.time if moment is None else moment
    facts = family.counted()
    row = features(compiled, pack_rows([facts], [at], [family.births()]))
    day, score = local_day_of(at), int(row.score[0])
    sources = expected_sources(family, facts, row, 0, day)
    enough = content.policy.insufficient_data
    covered = coverage(authority, sources, day, enough.days)
    return {
        "authority": family.la,
        "at": iso(at),
        "score_units": score,
        "unit": UNIT,
        "points": points(score),
        "band": BANDS[band_of(lines(compiled), score)],
        "insufficient_data": covered < enough.coverage,
        "contributions": contributions(compiled, family, facts, row, 0, at),
        "combinations": rule_names(compiled, int(row.rules[0])),
        "open_tier": tier(int(row.spells[0])),
        "people": people_view(family, at),
        "sources_expected": sorted(sources),
        "sources_heard": sorted(
            s for s in authority.sources if is_heard(authority, s, day, content)
        ),
        "below_since_day": family.below_since,
        "timers": {name: iso(due) for name, due in sorted(family.timers.items())},
        "standing_alerts": [a.alert_id for a in family.standing],
        "last_decision": family.decided,
        "bound_reached": family.over,
        "unscored": family.unscored,
        "facts": len(family.facts),
        "horizon_days": max(HORIZON_DAYS),
        "release": content.release.name,
        "notice": content.release.notice,
        "policy": content.policy.name,
    }


def rule_names(compiled: Compiled, bits: int) -> list[str]:
    """Names of the rules whose bits are set, each once."""
    rules = compiled.content.rules.rules
    return list(dict.fromkeys(rule.name for number, rule in enumerate(rules) if bits >> number & 1))
