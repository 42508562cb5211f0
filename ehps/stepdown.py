"""When a family's help is reviewed for stepping down: the whole rule, in one place.

A family that is open at early help or child in need, and whose score has stayed below the down line for 182 quiet days
(school holidays are not quiet for a child on roll), is put up for a review. It is a review, never a closure. Not while
a source that the family should have is silent, nor within the window of a statutory step. Without a positive fact the
review says "quiet, not shown to be improved": silence alone is not safety.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ehps.authority import missing_days, silent
from ehps.calendar import local_day, local_day_of, start_of_day
from ehps.catalogue import CONDITIONS, HORIZON_DAYS, KINDS, TIERS
from ehps.content import Content
from ehps.facts import ON_ROLL_BIT, SPELLS, VOID, Facts
from ehps.kernel import POSITIVE_ATTENDANCE, UNIT, Compiled, Features, features, pack_rows
from ehps.state import Authority, Family

WATCH, REVIEW = "watch", "review"
"""Names of the two timers: the day on which the score falls below the line, and the review."""

STATUTORY = [k.code for k in KINDS if "statutory" in k.tags]
POSITIVE = [k.code for k in KINDS if "positive" in k.tags]
RESTART = [k.code for k in KINDS if "moved" in k.tags]
TIER_BITS = [1 << SPELLS.index(tier) for tier in TIERS[1:]]
GRID_STEP = 28
"""The day of the fall is found on a grid of four weeks, then day by day: silence can only lower a score."""


class Verdict(NamedTuple):
    """What the review timer finds: raise now, or look again on `day`."""

    raise_review: bool
    improved: bool
    day: int
    why: str


def tier(spells: int) -> str:
    """The highest tier at which somebody in the family is open."""
    for name, bit in zip(reversed(TIERS[1:]), reversed(TIER_BITS), strict=True):
        if spells & bit:
            return str(name)
    return TIERS[0]


def reviewable(content: Content, spells: int) -> bool:
    """Open at a tier that may be stepped down: never a protection plan or looked after."""
    return tier(spells) in content.policy.step_down.tiers


def expected_sources(family: Family, facts: Facts, row: Features, index: int, day: int) -> set[str]:
    """Sources that this family should have: without them silence means nothing."""
    sources = {"police", "social-care"}
    if int(row.spells[index]) & ON_ROLL_BIT:
        sources.add("education")
    if any(day - born < 1826 for born in family.births()):
        sources.add("health")
    held = {kind.source for kind in KINDS if kind.code in set(facts["kind"].tolist())}
    return sources | held & {"housing", "benefits"}


def schedule(
    compiled: Compiled, family: Family, facts: Facts, row: Features, index: int, moment: int
) -> None:
    """Set or clear the family's two timers after a record, from row `index` of `row` (its features at `moment`)."""
    content = compiled.content
    down = round(content.policy.lines.down * UNIT)
    today = local_day_of(moment)
    if not reviewable(content, int(row.spells[index])):
        family.below_since = None
        family.timers.pop(WATCH, None)
        family.timers.pop(REVIEW, None)
    elif row.score[index] >= down:
        family.below_since = None
        family.timers.pop(REVIEW, None)
        fall = day_of_fall(compiled, family, facts, down, today)
        family.timers.pop(WATCH, None)
        if fall is not None:
            family.timers[WATCH] = start_of_day(fall)
    elif family.below_since is None:
        family.timers.pop(WATCH, None)
        start_quiet(content, family, row, index, today)


def start_quiet(content: Content, family: Family, row: Features, index: int, day: int) -> None:
    """The score is below the line from `day` on: the review is due once the quiet period has passed."""
    family.below_since = day
    on_roll = bool(int(row.spells[index]) & ON_ROLL_BIT)
    due = content.school.quiet_until(
        day, content.policy.step_down.quiet_days, skip_holidays=on_roll
    )
    family.timers[REVIEW] = start_of_day(due)


def day_of_fall(
    compiled: Compiled, family: Family, facts: Facts, down: int, today: int
) -> int | None:
    """The first day on which, with no further record, the score would be below `down`; None within no horizon."""

    def first_below(days: range) -> int | None:
        moments = [start_of_day(day) for day in days]
        rows = pack_rows([facts] * len(moments), moments, [family.births()] * len(moments))
        below = np.flatnonzero(features(compiled, rows, with_rules=False).score < down)
        return days[int(below[0])] if len(below) else None

    weeks = first_below(
        range(today + GRID_STEP, today + max(HORIZON_DAYS) + 2 * GRID_STEP, GRID_STEP)
    )
    return None if weeks is None else first_below(range(weeks - GRID_STEP + 1, weeks + 1))


def judge(
    content: Content,
    authority: Authority,
    facts: Facts,
    row: Features,
    index: int,
    sources: set[str],
    day: int,
) -> Verdict:
    """Whether a review may be raised on `day` (quiet period over), and if not, the first day on which it could be."""
    rule = content.policy.step_down
    age = day - local_day(facts["occurred"].astype(np.int64))
    live = (facts["flags"] & VOID == 0) & (age >= 0) & (age < rule.quiet_days)
    statutory = live & np.isin(facts["kind"], STATUTORY)
    if statutory.any():
        return Verdict(
            False,
            False,
            day + rule.quiet_days - int(age[statutory].min()),
            "a statutory step in the window",
        )
    if silent(authority, sources, day, content):
        return Verdict(False, False, day + 1, "a source is silent")
    missing = missing_days(authority, sources, day, rule.quiet_days)
    allowed = int(rule.quiet_days * (1 - rule.coverage) + 1e-9)
    if len(missing) > allowed:
        # With every coming day heard, enough missing days have left the window once this one has.
        leaves = missing[len(missing) - allowed - 1]
        return Verdict(
            False, False, leaves + rule.quiet_days, "too few days on which every source was heard"
        )
    improved = bool((live & np.isin(facts["kind"], POSITIVE)).any()) or bool(
        int(row.states[index]) & POSITIVE_ATTENDANCE
    )
    return Verdict(True, improved, day, "")


def ageing_share(compiled: Compiled, family: Family, facts: Facts, row: Features) -> float:
    """Share of the fall since the newest scored fact that is the ageing of facts alone, 0-1.

    What falls without ageing are the conditions on attendance, which end when a child is back at school.
    """
    scored = facts[(compiled.cap[facts["kind"]] > 0) & (facts["flags"] & VOID == 0)]
    if not len(scored):
        return 1.0
    peak = features(
        compiled, pack_rows([facts], [int(scored["occurred"].max())], [family.births()])
    )
    fall = int(peak.score[0] - row.score[0])
    conditions = [
        code for code in CONDITIONS if peak.contributions[0, code] > row.contributions[0, code]
    ]
    by_change = sum(
        int(peak.contributions[0, code] - row.contributions[0, code]) for code in conditions
    )
    return 1.0 if fall <= 0 else 1 - by_change / fall
