"""Timers: risk falls in silence, so time itself must be able to speak."""

from __future__ import annotations

from ehps.alerts import raise_alert
from ehps.batch import Batch
from ehps.calendar import local_day_of, start_of_day
from ehps.policy import STEP_DOWN, Draft, Look, Setting, row_of
from ehps.rescore import SILENT, tell
from ehps.stepdown import (
    REVIEW,
    WATCH,
    ageing_share,
    down_line,
    expected_sources,
    judge,
    reviewable,
    schedule,
    set_watch,
    start_quiet,
)

FIRINGS_MAX = 64
"""Timers of one family that one record or heartbeat fires; the rest fire with the next."""


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
        where = batch.setting(key[:9], at, offset)
        facts = family.counted()
        look = Look(key, family, facts, row_of(where, family, facts))
        if name.startswith(SILENT):
            tell(batch, where, look, None, "timer")
        elif reviewable(where.content, look.row.spells):
            _step_down(batch, where, look, name)
    batch.note_timer(key, family)


def _step_down(batch: Batch, where: Setting, look: Look, name: str) -> None:
    """The watch timer starts the quiet period; the review timer ends it."""
    content, family, row = where.content, look.family, look.row
    if row.score >= down_line(content):
        if schedule(content, family, row.score, row.spells, where.at):
            set_watch(where.compiled, [(family, look.facts)], where.at)
    elif name == WATCH:
        start_quiet(content, family, row.spells, local_day_of(where.at))
    else:
        _review(batch, where, look)


def _review(batch: Batch, where: Setting, look: Look) -> None:
    """Raise the review, or look again on the first day on which it could be raised."""
    content, day = where.content, local_day_of(where.at)
    sources = expected_sources(look.family, look.facts, look.row, day)
    verdict = judge(content, where.authority, look.facts, look.row, sources, day)
    if not verdict.raise_review:
        look.family.case.timers[REVIEW] = start_of_day(verdict.day)
        return
    share = ageing_share(where.compiled, look.family, look.facts, look.row)
    quiet = not verdict.improved or share > content.policy.step_down.ageing_share_max
    notes = ("Quiet, not shown to be improved.",) if quiet else ()
    days = content.policy.deadlines.step_down_working_days
    due = content.working.due_after_days(where.at, days)
    response = "Review with two people, a partner check and the family's view. Never a closure."
    draft = Draft(STEP_DOWN, "step-down", None, response, due)
    batch.alerts += raise_alert(
        where, look, draft, batch.next_sequence(where.offset), "timer", notes
    )
