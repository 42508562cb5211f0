"""Timers: risk falls in silence, so time itself must be able to speak."""

from __future__ import annotations

from ehps.alerts import raise_alert
from ehps.batch import Batch
from ehps.calendar import local_day_of, start_of_day
from ehps.facts import Facts
from ehps.kernel import UNIT, Features
from ehps.policy import STEP_DOWN, Draft, Setting
from ehps.rescore import SILENT, row_of, tell
from ehps.state import Family
from ehps.stepdown import (
    REVIEW,
    WATCH,
    ageing_share,
    expected_sources,
    judge,
    reviewable,
    schedule,
    start_quiet,
)

FIRINGS_MAX = 64
"""Timers of one family that one record or heartbeat fires; the rest fire with the next."""


def fire(batch: Batch, key: str, until: int, offset: int) -> None:
    """Fire a family's timers due by `until`, in order, each evaluated at the moment it was due."""
    la = _authority_of(batch, key)
    family = batch.family(key, la)
    for _ in range(FIRINGS_MAX):
        due = min(((at, name) for name, at in family.timers.items() if at <= until), default=None)
        if due is None:
            break
        at, name = due
        del family.timers[name]
        where = batch.setting(la, at, offset)
        facts = family.counted()
        row = row_of(where, family, facts)
        if name.startswith(SILENT):
            tell(batch, where, key, family, facts, row, 0, None, "timer")
        elif reviewable(where.content, int(row.spells[0])):
            _step_down(batch, where, key, family, facts, row, name)
    batch.note_timer(key, family)


def _authority_of(batch: Batch, key: str) -> str:
    return key.split(":", 1)[0]


def _step_down(
    batch: Batch, where: Setting, key: str, family: Family, facts: Facts, row: Features, name: str
) -> None:
    """The watch timer starts the quiet period; the review timer ends it."""
    content, day = where.content, local_day_of(where.at)
    if row.score[0] >= round(content.policy.lines.down * UNIT):
        schedule(where.compiled, family, facts, row, 0, where.at)
    elif name == WATCH:
        start_quiet(content, family, row, 0, day)
    else:
        verdict = judge(
            content,
            where.authority,
            facts,
            row,
            0,
            expected_sources(family, facts, row, 0, day),
            day,
        )
        if not verdict.raise_review:
            family.timers[REVIEW] = start_of_day(verdict.day)
            return
        share = ageing_share(where.compiled, family, facts, row)
        quiet = not verdict.improved or share > content.policy.step_down.ageing_share_max
        notes = ("Quiet, not shown to be improved.",) if quiet else ()
        due = content.working.due_after_days(
            where.at, content.policy.deadlines.step_down_working_days
        )
        response = "Review with two people, a partner check and the family's view. A review, never a closure."
        draft = Draft(STEP_DOWN, "step-down", None, response, due)
        sequence = batch.next_sequence(where.offset)
        batch.alerts += raise_alert(
            where, key, family, facts, row, 0, draft, sequence, "timer", notes
        )


__all__ = ["fire"]
