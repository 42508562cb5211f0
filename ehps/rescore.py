"""A family looked at: score, alerts, timers, withdrawals. Records, timers and members all end here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import repeat
from typing import NamedTuple

import numpy as np

from ehps.alerts import ended, raise_alert, score_writer, unscored_output
from ehps.batch import Batch, sources_index, too_little_heard
from ehps.calendar import local_day, local_day_of, start_of_day
from ehps.facts import VOID, Facts
from ehps.policy import STEP_UP, Look, Scene, drafts, fall_back, rows_of, still_raised
from ehps.state import SILENT, Family
from ehps.stepdown import schedule
from ehps.views import BANDS


class Before(NamedTuple):
    """The family just before what is looked at now, asked only where it matters.

    Args:
        facts: those that counted, on a day: what is past keeping now counted on the days before.
        score: units, at this same moment; None where it is not known.
        undone: whether one of the facts was taken back, corrected or unlinked.
    """

    facts: Callable[[int], Facts]
    score: Callable[[], int | None]
    undone: bool = False


def tell(batch: Batch, scene: Scene, look: Look, before: Before, cause: str) -> None:
    """Everything that may follow from a look, in order: withdrawals, the score, alerts, timers."""
    family = look.family
    if before.undone and family.case.standing:
        withdraw(batch, scene, look, before.facts(scene.day))
    _tell_score(batch, scene, look)
    fall_back(scene, look, before.score)
    for draft in drafts(scene, look):
        batch.say(raise_alert(scene, look, draft, batch.next_sequence, cause))
    _await_silence(scene, look)
    schedule(scene, look, before.facts)
    batch.note_timer(look.key, family)


def _tell_score(batch: Batch, scene: Scene, look: Look) -> None:
    """Tell the score if it, or what it rests on, is other than last told."""
    family, score = look.family, look.row.score
    insufficient = too_little_heard(scene, sources_index(look.row.spells, look.row.states))
    if family.score == score and family.insufficient == insufficient and not family.unscored:
        return
    family.unscored, family.score, family.insufficient = False, score, insufficient
    sequence = batch.next_sequence(scene.offset)
    write = score_writer(scene)
    batch.say_score(partial(write, scene.offset, look.key, score, sequence, insufficient))


def fail(batch: Batch, scene: Scene, key: str, family: Family) -> None:
    """The kernel could not score this family: keep its facts, mark it, tell operations."""
    family.unscored = True
    if family.above_on is not None:
        family.above_on = scene.day  # on the days until now these facts cannot be scored either
    sequence = batch.next_sequence(scene.offset)
    why = "the kernel failed on this family"
    batch.say_score(partial(unscored_output, scene, key, why, sequence))


def withdraw(batch: Batch, scene: Scene, look: Look, before: Facts) -> None:
    """Withdraw standing alerts from which this look took the ground.

    Those whose rule, at their own moment, would hold on the facts `before` and not on those held now. Facts that were
    forgotten since are in neither, so that age alone never withdraws.
    """
    family, case = look.family, look.family.case
    moments = [alert.at for alert in case.standing]
    parts = [*repeat(before, len(moments)), *repeat(look.facts, len(moments))]
    rows = rows_of(scene, family, parts, moments * 2)
    held, holds = rows[: len(moments)], rows[len(moments) :]
    for alert, then, now in zip(list(case.standing), held, holds, strict=True):
        if still_raised(scene, alert, now) or not still_raised(scene, alert, then):
            continue
        case.standing.remove(alert)
        case.alerted.pop(alert.grade or alert.rule, None)
        if alert.kind == STEP_UP:
            # A lower grade that it superseded may be raised again by this very look.
            family.band = 0
            for grade in BANDS[: BANDS.index(alert.grade or "red")]:
                case.alerted.pop(grade, None)
        sequence = batch.next_sequence(scene.offset)
        batch.say([partial(ended, scene, look.key, alert, successor=None, sequence=sequence)])


def _await_silence(scene: Scene, look: Look) -> None:
    """Set a timer for the day on which a rule that lacks nothing but its silence will match."""
    if not look.row.pending and not look.family.awaits_silence():
        return
    wanted: dict[str, int] = {}
    for number, rule in enumerate(scene.content.rules.rules):
        if look.row.pending >> number & 1:
            day = _silence_reached(scene, look.facts, number)
            if day is not None:
                wanted[SILENT + rule.name] = start_of_day(day)
    timers = look.family.case.timers
    for name in [name for name in timers if name.startswith(SILENT)]:
        del timers[name]
    timers.update(wanted)


def _silence_reached(scene: Scene, facts: Facts, number: int) -> int | None:
    """The day the silence is reached, if a fact of the rule will still be fresh then."""
    rule, days = scene.content.rules.rules[number], local_day(facts["occurred"].astype(np.int64))
    told = zip(facts["kind"].tolist(), facts["flags"].tolist(), days.tolist(), strict=True)
    live = [(kind, day) for kind, flags, day in told if not flags & VOID]

    def days_of(codes: tuple[int, ...]) -> list[int]:
        return [day for kind, day in live if kind in codes]

    newest = max((d for c in rule.all if c.any for d in days_of(c.codes)), default=0)
    quiet_since = [(max((*days_of(c.codes), scene.since)), c.days) for c in rule.all if c.silent]
    reached = max(last + days + 1 for last, days in quiet_since)
    fresh = reached <= newest + scene.content.rules.fresh_days
    return reached if fresh and reached > local_day_of(scene.at) else None
