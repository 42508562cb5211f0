"""Policy: which rows of features are worth telling somebody. One family at a time, in the order of its log.

`band` is the band alerted; it falls back only when the score falls below the down line (hysteresis), so that a score
that wavers about a line alerts once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from ehps.authority import in_force
from ehps.content import Clock, Content, Library, Rule
from ehps.explain import BANDS, band_of, lines, rule_names
from ehps.kernel import DAY, UNIT, Compiled, Features, compile_content
from ehps.state import Authority, Family

STEP_UP, STEP_DOWN, COMBINATION = "step_up", "step_down", "combination"


class Draft(NamedTuple):
    """An alert decided on, not yet written out."""

    kind: str
    rule: str
    grade: str | None
    response: str
    due: int | None
    new: bool = True  # False: no more than a pattern present already


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and when the policy is applied."""

    la: str
    authority: Authority
    compiled: Compiled
    at: int  # log time or the moment at which a timer was due, seconds
    partition: int
    offset: int

    @property
    def content(self) -> Content:
        """The content in force."""
        return self.compiled.content


def setting(
    la: str, authority: Authority, library: Library, at: int, partition: int, offset: int
) -> Setting:
    """The setting for one record or timer."""
    return Setting(
        la, authority, compile_content(in_force(authority, library)), at, partition, offset
    )


def alert_id(family: str, where: Setting, rule: str, sequence: int) -> str:
    """The alert's name for ever: a hash of family, position and rule, so that a repeat after a crash is the same alert."""
    text = f"{family}|{where.partition}|{where.offset}|{sequence}|{rule}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def drafts(
    where: Setting, family: Family, before: int | None, row: Features, index: int
) -> list[Draft]:
    """What this row raises; the family's memory of what was alerted moves on.

    Args:
        before: score just before the record (units), which silence may have let fall below the down line.
    """
    if before is not None and before < round(where.content.policy.lines.down * UNIT):
        family.band = 0
    combos = combinations(where, family, int(row.rules[index]))
    step = step_up(where, family, row, index, new_combination=bool(combos))
    return ([step] if step else []) + combos


def step_up(
    where: Setting, family: Family, row: Features, index: int, *, new_combination: bool
) -> Draft | None:
    """A band crossed upwards on new facts, or with a combination, outside the cool-down of its grade."""
    rule = where.content.policy.step_up
    raw = band_of(lines(where.compiled), int(row.score[index]))
    if raw <= family.band:
        return None
    if row.fresh[index] < round(rule.fresh_points * UNIT) and not row.rules[index]:
        return None
    last = max((family.alerted.get(BANDS[grade], 0) for grade in range(raw, len(BANDS))), default=0)
    if last and where.at - last < rule.cool_down_days * DAY and not new_combination:
        return None
    grade = BANDS[raw]
    family.band = raw
    family.alerted[grade] = where.at
    return Draft(STEP_UP, "band", grade, _GRADE_RESPONSE[grade], _grade_due(where, grade))


_GRADE_RESPONSE = {
    "green": "Look at the family in the next digest: is early help offered?",
    "amber": "Triage today: is this family getting the help it needs?",
    "red": "Consider now whether the family needs a statutory response.",
}


def _grade_due(where: Setting, grade: str) -> int:
    deadlines, working = where.content.policy.deadlines, where.content.working
    if grade == "red":
        return where.at + deadlines.red_hours * 3600
    if grade == "amber":
        return working.due_after_hours(where.at, deadlines.amber_working_hours)
    return working.next_digest(where.at)


def combinations(where: Setting, family: Family, bits: int) -> list[Draft]:
    """Combinations that match and are outside their cool-down."""
    rules = where.content.rules
    result = []
    for name in rule_names(where.compiled, bits):
        last = family.alerted.get(name, 0)
        if last and where.at - last < rules.cool_down_days * DAY:
            continue
        rule = next(
            r for number, r in enumerate(rules.rules) if bits >> number & 1 and r.name == name
        )
        family.alerted[name] = where.at
        result.append(Draft(COMBINATION, name, None, rule.response, _clock_due(where, rule.clock)))
    return result


def _clock_due(where: Setting, clock: Clock) -> int:
    if clock.days is not None:
        return where.content.working.due_after_days(where.at, clock.days)
    hours = clock.hours or 0
    return (
        where.at + hours * 3600
        if clock.any_hour
        else where.content.working.due_after_hours(where.at, hours)
    )


def rule_named(content: Content, name: str) -> Rule | None:
    """The first rule of that name."""
    return next((rule for rule in content.rules.rules if rule.name == name), None)


def still_raised(
    where: Setting, kind: str, rule: str, grade: str | None, row: Features, index: int
) -> bool:
    """Whether an alert's rule would have raised it, from the features at the alert's own moment."""
    content = where.content
    if kind == COMBINATION:
        return rule in rule_names(where.compiled, int(row.rules[index]))
    if kind == STEP_UP:
        fresh = row.fresh[index] >= round(content.policy.step_up.fresh_points * UNIT) or bool(
            row.rules[index]
        )
        return bool(fresh) and band_of(lines(where.compiled), int(row.score[index])) >= BANDS.index(
            grade or "red"
        )
    return bool(row.score[index] < round(content.policy.lines.down * UNIT))


def withheld(where: Setting, family: str, draft: Draft) -> bool:
    """Whether the comparison arm of a pilot keeps this alert in the shadow: never red, never a combination."""
    control = where.authority.control or {}
    if control.get("stage") != "pilot" or draft.kind == COMBINATION or draft.grade == "red":
        return False
    text = f"{control.get('pilot_id', '')}|{family}"
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
    return share >= float(control.get("pilot_share", 0.5))
