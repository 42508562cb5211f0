"""When a family's help is reviewed for stepping down: the whole rule, in one place.

A family that is open at early help or child in need, and whose score has stayed below the down line for
182 quiet days (school holidays are not quiet for a child on roll), is put up for a review. It is a review,
never a closure. Not while a source that the family should have is silent, nor within the window of a
statutory step. Without a positive fact the review says "quiet, not shown to be improved": silence alone is
not safety.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ehps.authority import missing_days, silent
from ehps.calendar import local_day, local_day_of, start_of_day
from ehps.catalogue import BY_CODE, CONDITIONS, COUNTED_DAYS, KINDS, TIERS
from ehps.facts import BIRTH, ON_ROLL_BIT, SPELLS, VOID, Facts
from ehps.kernel import POSITIVE_ATTENDANCE, Compiled, Row, features, pack_rows
from ehps.library import Content
from ehps.policy import Look, Scene
from ehps.state import Authority, Family

WATCH, REVIEW = "watch", "review"
"""Names of the two timers: the day on which the score falls below the line, and the review."""

WATCH_ABSENT = "watch:absent"
"""Name of the watch where a condition on attendance held: it may end, and the score fall sooner, without warning."""

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


@lru_cache(maxsize=1024)
def tier(spells: int) -> str:
    """The highest tier at which somebody in the family is open."""
    for name, bit in zip(reversed(TIERS[1:]), reversed(TIER_BITS), strict=True):
        if spells & bit:
            return str(name)
    return TIERS[0]


def reviewable(content: Content, spells: int) -> bool:
    """Open at a tier that may be stepped down: never a protection plan or looked after."""
    return tier(spells) in content.policy.step_down.tiers


def expected_sources(family: Family, facts: Facts, row: Row, day: int) -> set[str]:
    """Sources that this family should have: without them silence means nothing."""
    sources = {"police", "social-care"}
    if row.spells & ON_ROLL_BIT:
        sources.add("education")
    if (day - np.frombuffer(family.births(), BIRTH) < 1826).any():
        sources.add("health")
    heard_of = {BY_CODE[kind].source for kind in np.unique(facts["kind"]).tolist()}
    return sources | heard_of & {"housing", "benefits"}


def schedule(scene: Scene, look: Look) -> bool:
    """Set or clear the family's two timers after a record.

    Returns:
        Whether the score is still above the line: then the caller sets the watch to the day of its fall
        (`set_watch`), or leaves that to the family's last record of the moment.
    """
    family, row, timers = look.family, look.row, look.family.case.timers
    if not reviewable(scene.content, row.spells):
        family.below_since = None
        _stop_watch(timers)
        timers.pop(REVIEW, None)
        return False
    if row.score >= scene.compiled.down:
        family.below_since = None
        timers.pop(REVIEW, None)
        return True
    _stop_watch(timers)
    if family.below_since is None:
        start_quiet(scene.content, family, row.spells, local_day_of(scene.at))
    return False


def start_quiet(content: Content, family: Family, spells: int, day: int) -> None:
    """The score is below the line from `day` on: the review is due once the quiet period has passed."""
    family.below_since = day
    on_roll, quiet = bool(spells & ON_ROLL_BIT), content.policy.step_down.quiet_days
    due = content.school.quiet_until(day, quiet, skip_holidays=on_roll)
    family.case.timers[REVIEW] = start_of_day(due)


def _stop_watch(timers: dict[str, int]) -> None:
    timers.pop(WATCH, None)
    timers.pop(WATCH_ABSENT, None)


def watched(family: Family, *, attends: bool) -> bool:
    """Whether a standing watch still holds: it comes on the day of the fall or before it, and then looks again.

    Args:
        attends: whether the last record tells of attendance or a school's roll, which may end a condition.
    """
    timers = family.case.timers
    return WATCH in timers or (WATCH_ABSENT in timers and not attends)


def on_condition(look: Look) -> bool:
    """Whether a condition on attendance is part of the score."""
    return any(code in look.row.contributions for code in CONDITIONS)


def set_watch(scene: Scene, looks: Sequence[Look]) -> None:
    """Set each family's watch to the first day on which, with no further record, its score would fall."""
    today = local_day_of(scene.at)
    weeks = range(today + GRID_STEP, today + max(COUNTED_DAYS) + 2 * GRID_STEP, GRID_STEP)
    near = []
    for look, week in zip(looks, _fall(scene, looks, [weeks] * len(looks)), strict=True):
        _stop_watch(look.family.case.timers)
        if week is not None:
            near.append((look, range(week - GRID_STEP + 1, week + 1)))
    falling = [look for look, _ in near]
    for look, day in zip(falling, _fall(scene, falling, [days for _, days in near]), strict=True):
        if day is not None:
            name = WATCH_ABSENT if on_condition(look) else WATCH
            look.family.case.timers[name] = start_of_day(day)


def _fall(scene: Scene, looks: Sequence[Look], asked: Sequence[range]) -> list[int | None]:
    """For each family the first of its days on which its score is below the line."""
    if not looks:
        return []
    births = [look.family.births() for look in looks]
    rows = pack_rows(
        [look.facts for look, days in zip(looks, asked, strict=True) for _ in days],
        [start_of_day(day) for days in asked for day in days],
        [born for born, days in zip(births, asked, strict=True) for _ in days],
    )
    score = features(scene.compiled, rows, with_rules=False).score
    below = iter((score < scene.compiled.down).tolist())
    fell = [[day for day in days if next(below)] for days in asked]
    return [days[0] if days else None for days in fell]


def judge(
    content: Content, authority: Authority, facts: Facts, row: Row, sources: set[str], day: int
) -> Verdict:
    """Whether a review may be raised on `day` (quiet period over), and if not, the first day on which it could."""
    rule = content.policy.step_down
    age = day - local_day(facts["occurred"].astype(np.int64))
    live = (facts["flags"] & VOID == 0) & (age >= 0) & (age < rule.quiet_days)
    statutory = live & np.isin(facts["kind"], STATUTORY)
    if statutory.any():
        again = day + rule.quiet_days - int(age[statutory].min())
        return _not_yet(again, "a statutory step in the window")
    if silent(authority, sources, day, content):
        return _not_yet(day + 1, "a source is silent")
    missing = missing_days(authority, sources, day, rule.quiet_days)
    allowed = int(rule.quiet_days * (1 - rule.coverage) + 1e-9)
    if len(missing) > allowed:
        # With every coming day heard, enough missing days have left the window once this one has.
        leaves = missing[len(missing) - allowed - 1]
        return _not_yet(leaves + rule.quiet_days, "too few days on which every source was heard")
    positive = bool((live & np.isin(facts["kind"], POSITIVE)).any())
    improved = positive or bool(row.states & POSITIVE_ATTENDANCE)
    return Verdict(raise_review=True, improved=improved, day=day, why="")


def _not_yet(day: int, why: str) -> Verdict:
    return Verdict(raise_review=False, improved=False, day=day, why=why)


def ageing_share(compiled: Compiled, family: Family, facts: Facts, row: Row) -> float:
    """Share of the fall since the newest scored fact that is the ageing of facts alone, 0-1.

    What falls without ageing are the conditions on attendance, which end when a child is back at school.
    """
    scored = facts[(compiled.column[facts["kind"]] >= 0) & (facts["flags"] & VOID == 0)]
    if not len(scored):
        return 1.0
    newest = int(scored["occurred"].max())
    peak = features(compiled, pack_rows([facts], [newest], [family.births()])).row(0)
    fall = peak.score - row.score
    drops = (peak.contributions.get(c, 0) - row.contributions.get(c, 0) for c in CONDITIONS)
    return 1.0 if fall <= 0 else 1 - sum(max(drop, 0) for drop in drops) / fall
