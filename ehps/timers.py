"""Timers: risk falls in silence, so time itself must be able to speak."""

from __future__ import annotations

from collections.abc import Callable

from ehps.alerts import raise_alert
from ehps.batch import Batch
from ehps.calendar import start_of_day
from ehps.errors import KernelFailed
from ehps.facts import Facts
from ehps.policy import STEP_DOWN, Draft, Look, Scene, row_of
from ehps.rescore import SILENT, Before, fail, tell
from ehps.stepdown import (
    REVIEW,
    WATCH_DAYS,
    ageing_share,
    expected_sources,
    judge,
    reviewable,
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
    timers = family.case.timers
    for _ in range(FIRINGS_MAX):
        due = min(((at, name) for name, at in timers.items() if at <= scene.at), default=None)
        if due is None:
            break
        at, name = due
        then = scene._replace(at=at)
        try:
            held = facts(then.day)
            _fire(batch, then, Look(key, family, held, row_of(then, family, held)), name)
        except KernelFailed:
            # Facts that the kernel does not stand today it may stand when some of them no longer count.
            timers[name] = start_of_day(then.day + WATCH_DAYS)
            fail(batch, then, key, family)
    batch.note_timer(key, family)


def _fire(batch: Batch, scene: Scene, look: Look, name: str) -> None:
    """One timer; whatever it leads to, it is no longer due."""
    timers, row = look.family.case.timers, look.row
    held = timers[name]
    if name == REVIEW and reviewable(scene.content, row.spells) and row.score < scene.compiled.down:
        del timers[name]
        _review(batch, scene, look)
    elif name.startswith(SILENT):
        tell(batch, scene, look, Before.same(look), "timer")
    else:
        schedule(scene, look, lambda: look.facts)
    if timers.get(name) == held:
        del timers[name]


def _review(batch: Batch, scene: Scene, look: Look) -> None:
    """Raise the review, or look again on the first day on which it could be raised."""
    content, day = scene.content, scene.day
    sources = expected_sources(look.family, look.facts, look.row, day)
    verdict = judge(content, scene.authority, look.facts, look.row, sources, day)
    if not verdict.raise_review:
        look.family.case.timers[REVIEW] = start_of_day(verdict.day)
        return
    share = ageing_share(scene.compiled, look.family, look.facts, look.row)
    quiet = not verdict.improved or share > content.policy.step_down.ageing_share_max
    notes = ("Quiet, not shown to be improved.",) if quiet else ()
    days = content.policy.deadlines.step_down_working_days
    due = content.working.due_after_days(scene.at, days)
    response = "Review with two people, a partner check and the family's view. Never a closure."
    draft = Draft(STEP_DOWN, "step-down", None, response, due)
    batch.alerts += raise_alert(scene, look, draft, batch.next_sequence, "timer", notes)
