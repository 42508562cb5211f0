"""Timers: risk falls in silence, so time itself must be able to speak."""

from __future__ import annotations

from ehps.alerts import raise_alert
from ehps.batch import Batch
from ehps.calendar import local_day_of, start_of_day
from ehps.errors import KernelFailed
from ehps.policy import STEP_DOWN, Draft, Look, Scene, row_of
from ehps.rescore import SILENT, fail, tell
from ehps.state import Family
from ehps.stepdown import (
    REVIEW,
    WATCH,
    WATCH_ABSENT,
    ageing_share,
    expected_sources,
    judge,
    reviewable,
    schedule,
    set_watch,
    start_quiet,
)
from schemas.links import authority_of

FIRINGS_MAX = 4096
"""Timers of one family that one record or heartbeat fires: a review looked at again every day for eleven years."""


def fire(batch: Batch, key: str, until: int, offset: int) -> None:
    """Fire a family's timers due by `until`, in order, each evaluated at the moment it was due."""
    family = batch.family(key)
    timers = family.case.timers
    for _ in range(FIRINGS_MAX):
        due = min(((at, name) for name, at in timers.items() if at <= until), default=None)
        if due is None:
            break
        at, name = due
        del timers[name]
        scene = batch.scene(authority_of(key), at, offset)
        try:
            _fire(batch, scene, key, family, name)
        except KernelFailed:
            fail(batch, scene, key, family)
    batch.note_timer(key, family)


def _fire(batch: Batch, scene: Scene, key: str, family: Family, name: str) -> None:
    facts = family.counted()
    look = Look(key, family, facts, row_of(scene, family, facts))
    if name.startswith(SILENT):
        tell(batch, scene, look, None, "timer")
    elif reviewable(scene.content, look.row.spells):
        _step_down(batch, scene, look, name)


def _step_down(batch: Batch, scene: Scene, look: Look, name: str) -> None:
    """The watch timer starts the quiet period; the review timer ends it."""
    content, family, row = scene.content, look.family, look.row
    if row.score >= scene.compiled.down:
        if schedule(scene, look):
            set_watch(scene, [look])
    elif name in (WATCH, WATCH_ABSENT):
        start_quiet(content, family, row.spells, local_day_of(scene.at))
    else:
        _review(batch, scene, look)


def _review(batch: Batch, scene: Scene, look: Look) -> None:
    """Raise the review, or look again on the first day on which it could be raised."""
    content, day = scene.content, local_day_of(scene.at)
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
    batch.alerts += raise_alert(
        scene, look, draft, batch.next_sequence(scene.offset), "timer", notes
    )
