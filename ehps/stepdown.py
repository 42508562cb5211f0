"""When a family's help is reviewed for stepping down: the whole rule, in one place.

A family that is open at early help or child in need, and whose score has stayed below the down line for
182 quiet days (school holidays are not quiet for a child on roll), is put up for a review. It is a review,
never a closure. Not while a source that the family should have is silent, nor within the window of a
statutory step. Without a positive fact the review says "quiet, not shown to be improved": silence alone is
not safety.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ehps.authority import missing_days, silent
from ehps.calendar import Bools, local_day, start_of_day
from ehps.catalogue import BY_CODE, CONDITIONS, KINDS, TIERS
from ehps.compiled import POSITIVE_ATTENDANCE, Compiled
from ehps.facts import BIRTH, ON_ROLL_BIT, SPELLS, VOID, Facts
from ehps.kernel import ATTENDANCE, Row, features, pack_rows
from ehps.library import Content
from ehps.policy import Look, Scene, settled
from ehps.state import Authority, Family

REVIEW = "review"
"""Name of the review's timer."""


def _tagged(tag: str) -> Bools:
    """By code: whether the catalogue gives the kind this tag."""
    tagged = np.zeros(256, bool)
    tagged[[kind.code for kind in KINDS if tag in kind.tags]] = True
    return tagged


STATUTORY, POSITIVE = _tagged("statutory"), _tagged("positive")
RESTARTS = _tagged("moved")
"""Kinds after which quiet days start again."""
TIER_BITS = [1 << SPELLS.index(tier) for tier in TIERS[1:]]


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
    heard_of = {BY_CODE[kind].source for kind in set(facts["kind"].tolist())}
    return sources | heard_of & {"housing", "benefits"}


def schedule(scene: Scene, look: Look, before: Callable[[int], Facts]) -> None:
    """Set or clear the family's two timers after a look.

    Args:
        before: the facts that counted since the last look, on a day: on them the score may have fallen in silence.
    """
    family = look.family
    if not reviewable(scene.content, look.row.spells):
        family.below_since = family.above_on = None
        _stop_review(family)
    elif look.row.score >= scene.compiled.down:
        family.below_since, family.above_on = None, scene.day
        _stop_review(family)
    elif family.below_since is None:
        fell = scene.day
        if family.above_on is not None:
            first = family.above_on + 1
            fell = _fell_on(scene, family, before(first), first)
        family.above_on = None
        start_quiet(scene.content, family, look.row.spells, fell)


def _stop_review(family: Family) -> None:
    if family.timed():
        family.case.timers.pop(REVIEW, None)


def _fell_on(scene: Scene, family: Family, facts: Facts, first: int) -> int:
    """The day, `first` or later and at the latest today, since which these facts' score has been below the line."""
    days = range(first, scene.day)
    moments = [start_of_day(day) for day in days]
    rows = pack_rows([facts] * len(moments), moments, [family.births()] * len(moments))
    found = features(scene.compiled, rows, judged=0)
    high = (found.score >= scene.compiled.down) | found.failed  # what cannot be scored is not quiet
    above = [day for day, at_or_over in zip(days, high, strict=True) if at_or_over]
    return max(above, default=first - 1) + 1


def start_quiet(content: Content, family: Family, spells: int, day: int) -> None:
    """The score is below the line from `day` on: the review is due once the quiet period has passed."""
    family.below_since = day
    on_roll, quiet = bool(spells & ON_ROLL_BIT), content.policy.step_down.quiet_days
    due = content.school.quiet_until(day, quiet, skip_holidays=on_roll)
    family.case.timers[REVIEW] = start_of_day(due)


def judge(
    content: Content, authority: Authority, facts: Facts, row: Row, sources: set[str], day: int
) -> Verdict:
    """Whether a review may be raised on `day` (quiet period over), and if not, the first day on which it could."""
    rule = content.policy.step_down
    age = day - local_day(facts["occurred"].astype(np.int64))
    live = (facts["flags"] & VOID == 0) & (age >= 0) & (age < rule.quiet_days)
    statutory = live & STATUTORY[facts["kind"]]
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
    positive = bool((live & POSITIVE[facts["kind"]]).any())
    improved = positive or bool(row.states & POSITIVE_ATTENDANCE)
    return Verdict(raise_review=True, improved=improved, day=day, why="")


def _not_yet(day: int, why: str) -> Verdict:
    return Verdict(raise_review=False, improved=False, day=day, why=why)


def ageing_share(compiled: Compiled, family: Family, facts: Facts, row: Row) -> float:
    """Share of the fall since the newest scored fact that is the ageing of facts alone, 0-1.

    What falls without ageing are the conditions on attendance, which end when a child is back at school: where nothing
    tells of attendance, ageing is all.
    """
    scored = facts[(compiled.column[facts["kind"]] >= 0) & (facts["flags"] & VOID == 0)]
    if not len(scored) or ATTENDANCE not in facts["kind"]:
        return 1.0
    newest = int(scored["occurred"].max())
    peak = settled(features(compiled, pack_rows([facts], [newest], [family.births()])).rows()[0])
    fall = peak.score - row.score
    drops = (peak.contributions.get(c, 0) - row.contributions.get(c, 0) for c in CONDITIONS)
    return 1.0 if fall <= 0 else 1 - sum(max(drop, 0) for drop in drops) / fall
