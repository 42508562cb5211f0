"""Policy: what is worth telling somebody. One family at a time, in the order of its log.

`band` is the band alerted; it falls back only when the score falls below the down line (hysteresis), so
that a score that wavers about a line alerts once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ehps.calendar import DAY, local_day_of
from ehps.compiled import Compiled, units
from ehps.content import Clock, Rule
from ehps.errors import KernelFailed, NothingInForce
from ehps.facts import Facts, person_hash
from ehps.kernel import Row, features, pack_rows
from ehps.library import Content
from ehps.state import Authority, Family, Standing
from ehps.views import BANDS, band_of, rule_names, rules_of

STEP_UP, STEP_DOWN, COMBINATION = "step_up", "step_down", "combination"
RED = BANDS.index("red")


class Draft(NamedTuple):
    """An alert decided on, not yet written out."""

    kind: str
    rule: str
    grade: str | None
    response: str
    due: int | None


class Scene(NamedTuple):
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

    @property
    def since(self) -> int:
        """The day since which the authority has been listened to."""
        return (
            self.authority.started if self.authority.started is not None else local_day_of(self.at)
        )

    @property
    def stage(self) -> str:
        """Where the authority stands: shadow, pilot or live."""
        return str((self.authority.control or {}).get("stage"))

    def at_record(self, offset: int) -> Scene:
        """The same for what a record's outputs are named by."""
        return Scene(self.la, self.authority, self.compiled, self.at, self.partition, offset)

    @property
    def day(self) -> int:
        """The day of the moment, in London."""
        return local_day_of(self.at)


def required(scene: Scene | None) -> Scene:
    """The scene, which a record with facts or members must have.

    Raises:
        NothingInForce: no control is in force.
    """
    if scene is None:
        raise NothingInForce
    return scene


class Look(NamedTuple):
    """A family as the policy sees it: the facts that count, and their features at the moment."""

    key: str
    family: Family
    facts: Facts
    row: Row


def row_of(scene: Scene, family: Family, facts: Facts) -> Row:
    """Features of one family at the scene's moment.

    Raises:
        KernelFailed: the arithmetic failed on its facts.
    """
    return rows_of(scene, family, [facts], [scene.at])[0]


def rows_of(
    scene: Scene, family: Family, parts: Sequence[Facts], moments: Sequence[int]
) -> list[Row]:
    """The same for several sets of facts, each at a moment (seconds)."""
    births = [family.births()] * len(parts)
    found = features(scene.compiled, pack_rows(parts, moments, births, scene.since))
    return [settled(row) for row in found.rows()]


def settled(row: Row | None) -> Row:
    """The row, which must be.

    Raises:
        KernelFailed: the arithmetic failed on it.
    """
    if row is None:
        raise KernelFailed("the kernel failed on this family")
    return row


def alert_id(family: str, scene: Scene, rule: str, sequence: int) -> str:
    """The alert's name for ever: a hash of family, position and rule. A repeat after a crash has the same."""
    text = f"{family}|{scene.partition}|{scene.offset}|{sequence}|{rule}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def fall_back(scene: Scene, look: Look, score_before: Callable[[], int | None]) -> None:
    """The band alerted falls back once the score is below the down line, or was before new facts raised it again.

    Args:
        score_before: score just before, which silence may have let fall (units), or None.
    """
    if not look.family.band:
        return
    down = scene.compiled.down
    before = look.row.score if look.row.score < down else score_before()
    if before is not None and before < down:
        look.family.band = 0


def drafts(scene: Scene, look: Look) -> list[Draft]:
    """What this look at the family raises; its memory of what was alerted moves on."""
    combos = combinations(scene, look)
    step = step_up(scene, look, new_combination=bool(combos))
    return ([step] if step else []) + combos


def step_up(scene: Scene, look: Look, *, new_combination: bool) -> Draft | None:
    """A band crossed upwards on new facts, or with a combination, outside the cool-down of its grade."""
    family, band = look.family, band_of(scene.compiled, look.row.score)
    if band <= family.band or not _on_new_facts(scene, look.row):
        return None
    if band == RED and _red_on_weak_links_alone(scene, look):
        band -= 1
        if band <= family.band:
            return None
    alerted = family.case.alerted
    last = max((alerted.get(BANDS[grade], 0) for grade in range(band, len(BANDS))), default=0)
    cool_down = scene.content.policy.step_up.cool_down_days * DAY
    if last and scene.at - last < cool_down and not new_combination:
        return None
    grade = BANDS[band]
    family.band = band
    alerted[grade] = scene.at
    return Draft(STEP_UP, "band", grade, _GRADE_RESPONSE[grade], _grade_due(scene, grade))


def _on_new_facts(scene: Scene, row: Row) -> bool:
    """Old facts alone have been seen before."""
    return row.fresh >= units(scene.content.policy.step_up.fresh_points) or bool(row.rules)


def _red_on_weak_links_alone(scene: Scene, look: Look) -> bool:
    """Whether red rests on facts of people whose link to the family is in doubt; then it is amber at most."""
    limit = scene.content.policy.weak_link_below
    weak = [person_hash(s) for s, p in look.family.case.members().items() if p.confidence < limit]
    if not weak:
        return False
    sure = look.facts[~np.isin(look.facts["person"], weak)]
    return band_of(scene.compiled, row_of(scene, look.family, sure).score) < RED


_GRADE_RESPONSE = {
    "green": "Look at the family in the next digest: is early help offered?",
    "amber": "Triage today: is this family getting the help it needs?",
    "red": "Consider now whether the family needs a statutory response.",
}


def _grade_due(scene: Scene, grade: str) -> int:
    deadlines, working = scene.content.policy.deadlines, scene.content.working
    if grade == "red":
        return scene.at + deadlines.red_hours * 3600
    if grade == "amber":
        return working.due_after_hours(scene.at, deadlines.amber_working_hours)
    return working.next_digest(scene.at)


def combinations(scene: Scene, look: Look) -> list[Draft]:
    """Combinations that match and are outside their cool-down."""
    rules = rules_of(scene.compiled, look.row.rules)
    if not rules:
        return []
    cool_down = scene.content.rules.cool_down_days * DAY
    alerted = look.family.case.alerted
    result: dict[str, Draft] = {}
    for rule in rules:
        last = alerted.get(rule.name, 0)
        if not last or scene.at - last >= cool_down:
            due = _clock_due(scene, rule.clock)
            result[rule.name] = Draft(COMBINATION, rule.name, None, rule.response, due)
    alerted.update(dict.fromkeys(result, scene.at))
    return list(result.values())


def _clock_due(scene: Scene, clock: Clock) -> int:
    if clock.days is not None:
        return scene.content.working.due_after_days(scene.at, clock.days)
    hours = clock.hours or 0
    if clock.any_hour:
        return scene.at + hours * 3600
    return scene.content.working.due_after_hours(scene.at, hours)


def rule_named(content: Content, name: str) -> Rule | None:
    """The first rule of that name."""
    return next((rule for rule in content.rules.rules if rule.name == name), None)


def still_raised(scene: Scene, alert: Standing, row: Row) -> bool:
    """Whether an alert's rule would have raised it, from the features at the alert's own moment."""
    if alert.kind == COMBINATION:
        return alert.rule in rule_names(scene.compiled, row.rules)
    if alert.kind == STEP_UP:
        grade = BANDS.index(alert.grade or "red")
        return _on_new_facts(scene, row) and band_of(scene.compiled, row.score) >= grade
    return row.score < scene.compiled.down


def withheld(scene: Scene, family: str, draft: Draft) -> bool:
    """Whether the comparison arm of a pilot keeps this alert in the shadow: never red, never a combination."""
    control = scene.authority.control or {}
    if scene.stage != "pilot" or draft.kind == COMBINATION or draft.grade == "red":
        return False
    text = f"{control.get('pilot_id', '')}|{family}"
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
    return share >= float(control.get("pilot_share", 0.5))
