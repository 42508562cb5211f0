"""A family looked at: score, alerts, timers, withdrawals. Records, timers and members all end here."""

from __future__ import annotations

import numpy as np

from ehps.alerts import ended, raise_alert, score_output, unscored_output
from ehps.batch import Batch, too_little_heard
from ehps.calendar import local_day, local_day_of, start_of_day
from ehps.errors import KernelFailed
from ehps.facts import ON_ROLL_BIT, VOID, Facts
from ehps.kernel import STATE_BIT, Features, Rows, features
from ehps.policy import Look, Scene, drafts, row_of, still_raised
from ehps.state import Family
from ehps.stepdown import schedule, set_watch

SILENT = "silent:"
"""Prefix of the timers that wait for a rule's silence; the rule's name follows."""


def safely(scene: Scene, rows: Rows, *, with_rules: bool = True) -> Features | None:
    """Features, or None where the kernel fails: the transition is total, so one family cannot stop the log."""
    try:
        return features(scene.compiled, rows, with_rules=with_rules)
    except KernelFailed:
        return None


def tell(batch: Batch, scene: Scene, look: Look, before: int | None, cause: str) -> None:
    """Emit the score if it moved and alerts if any, and set the family's timers."""
    row = look.row
    on_roll, under_five = row.spells & ON_ROLL_BIT, row.states & STATE_BIT["child_under_5"]
    insufficient = too_little_heard(scene, on_roll=bool(on_roll), under_five=bool(under_five))
    if moved(look.family, row.score, insufficient):
        emit_score(batch, scene, look.key, look.family, row.score, insufficient)
    judge_bands(batch, scene, look, before, cause)
    if schedule(scene, look):
        set_watch(scene, [look])
    batch.note_timer(look.key, look.family)


def moved(family: Family, score: int, insufficient: bool) -> bool:  # noqa: FBT001
    """Whether the score, or what it rests on, is other than last told."""
    return family.unscored or (score, insufficient) != (family.score, family.insufficient)


def emit_score(
    batch: Batch,
    scene: Scene,
    key: str,
    family: Family,
    score: int,
    insufficient: bool,  # noqa: FBT001
) -> None:
    """Tell the score."""
    family.unscored, family.score, family.insufficient = False, score, insufficient
    sequence = batch.next_sequence(scene.offset)
    batch.scores.append(score_output(scene, key, score, sequence, insufficient=insufficient))


def judge_bands(batch: Batch, scene: Scene, look: Look, before: int | None, cause: str) -> None:
    """Alerts of bands and combinations, and timers of rules that wait for silence."""
    for draft in drafts(scene, look, before):
        sequence = batch.next_sequence(scene.offset)
        batch.alerts += raise_alert(scene, look, draft, sequence, cause)
    _await_silence(scene, look)


def fail(batch: Batch, scene: Scene, key: str, family: Family) -> None:
    """The kernel could not score this family: keep its facts, mark it, tell operations."""
    family.unscored = True
    sequence = batch.next_sequence(scene.offset)
    batch.scores.append(unscored_output(scene, key, "the kernel failed on this family", sequence))


def withdraw(batch: Batch, scene: Scene, look: Look) -> None:
    """Withdraw standing alerts whose rule, at their own moment and on the facts now held, would not hold."""
    family, case = look.family, look.family.case
    for alert in list(case.standing):
        if still_raised(scene, alert, row_of(scene, family, look.facts, alert.at)):
            continue
        case.standing.remove(alert)
        case.alerted.pop(alert.grade or alert.rule, None)
        if alert.kind == "step_up":
            family.band = 0
        why = "Withdrawn: what it stood on was retracted, corrected or unlinked."
        sequence = batch.next_sequence(scene.offset)
        batch.alerts.append(ended(scene, look.key, alert, "withdrawn", why, None, sequence))


def waits(family: Family) -> bool:
    """Whether a rule waits for silence."""
    return family.due() is not None and any(name.startswith(SILENT) for name in family.case.timers)


def _await_silence(scene: Scene, look: Look) -> None:
    """Set a timer for the day on which a rule that lacks nothing but its silence will match."""
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
    rule, live = scene.content.rules.rules[number], facts[facts["flags"] & VOID == 0]
    day = local_day(live["occurred"].astype(np.int64))

    def days_of(codes: tuple[int, ...]) -> list[int]:
        return [int(d) for d in day[np.isin(live["kind"], codes)]]

    newest = max((d for c in rule.all if c.any for d in days_of(c.codes)), default=0)
    quiet_since = [(max((*days_of(c.codes), scene.since)), c.days) for c in rule.all if c.silent]
    reached = max(last + days + 1 for last, days in quiet_since)
    fresh = reached <= newest + scene.content.rules.fresh_days
    return reached if fresh and reached > local_day_of(scene.at) else None
