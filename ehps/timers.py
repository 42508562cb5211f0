"""Timers: risk falls in silence, so time itself must be able to speak."""

from __future__ import annotations

from collections.abc import Callable

from ehps.alerts import raise_alert
from ehps.batch import Batch
from ehps.calendar import start_of_day
from ehps.errors import KernelFailed
from ehps.facts import Facts
from ehps.policy import STEP_DOWN, Draft, Look, Scene, row_of
from ehps.rescore import Before, fail, tell
from ehps.state import LOOK_AGAIN_DAYS, Family
from ehps.stepdown import (
    REVIEW,
    ageing_share,
    expected_sources,
    judge,
    schedule,
)

FIRINGS_MAX = 4096
"""Timers of one family that one record or heartbeat fires: a review looked at again every day for eleven years."""


def fire(batch: Batch, scene: Scene, key: str, facts: Callable[[int], Facts]) -> None:
    """Fire a family's timers due by the scene's moment, in order, each evaluated at the moment it was due.

    They are judged under what is in force when log time reaches them.

    Args:
        facts: those that the family holds and that count on a day.
    """
    family = batch.family(key)
    for _ in range(FIRINGS_MAX):
        at = family.due()
        if at is None or at > scene.at:
            break
        then = scene._replace(at=at)
        try:
            held = facts(then.day)
            look = Look(key, family, held, row_of(then, family, held))
            _fire(batch, then, look, Before(facts, lambda: None))
        except KernelFailed:
            _put_off(family, then)
            fail(batch, then, key, family)
    batch.note_timer(key, family)


def _fire(batch: Batch, scene: Scene, look: Look, before: Before) -> None:
    """What is due now: a look at whether the score fell, a rule's silence, or the review."""
    names, family = _due_now(look.family, scene), look.family
    schedule(scene, look, before.facts)
    timers = family.case.timers
    for name in names:
        held = timers.get(name)
        if held is None or held > scene.at:  # where the family's row now asks for that
            continue
        if name == REVIEW:
            _review(batch, scene, look)
        else:
            tell(batch, scene, look, before, "timer")
        if timers.get(name) == held:
            del timers[name]


def _due_now(family: Family, scene: Scene) -> list[str]:
    return sorted(name for name, at in family.case.timers.items() if at <= scene.at)


def _put_off(family: Family, scene: Scene) -> None:
    """Facts that the kernel does not stand now it may stand when some of them no longer count."""
    again = scene.day + LOOK_AGAIN_DAYS
    family.case.timers.update(dict.fromkeys(_due_now(family, scene), start_of_day(again)))


def _review(batch: Batch, scene: Scene, look: Look) -> None:
    """Raise the review, or look again on the first day on which it could be raised."""
    content, day = scene.content, scene.day
    sources = expected_sources(look.family, look.facts, look.row, day)
    verdict = judge(content, scene.authority, look.facts, look.row, sources, day)
    if not verdict.raise_review:
        look.family.case.timers[REVIEW] = start_of_day(verdict.day)
        return
    improved = verdict.improved and (
        ageing_share(scene.compiled, look.family, look.facts, look.row)
        <= content.policy.step_down.ageing_share_max
    )
    notes = () if improved else ("Quiet, not shown to be improved.",)
    days = content.policy.deadlines.step_down_working_days
    due = content.working.due_after_days(scene.at, days)
    response = "Review with two people, a partner check and the family's view. Never a closure."
    draft = Draft(STEP_DOWN, "step-down", None, response, due)
    batch.say(raise_alert(scene, look, draft, batch.next_sequence, "timer", notes))
