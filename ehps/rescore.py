"""One row of features told: score, alerts, timers, withdrawals. Records, timers and members all end here."""

from __future__ import annotations

import numpy as np

from ehps.alerts import ended, raise_alert, score_output, unscored_output
from ehps.batch import Batch
from ehps.calendar import local_day, local_day_of, start_of_day
from ehps.explain import lines
from ehps.facts import VOID, Facts
from ehps.kernel import Compiled, Features, Rows, features, pack_rows
from ehps.policy import Setting, drafts, still_raised
from ehps.state import Family
from ehps.stepdown import reviewable, schedule

SILENT = "silent:"
"""Prefix of the timers that wait for a rule's silence; the rule's name follows."""


def row_of(where: Setting, family: Family, facts: Facts, at: int | None = None) -> Features:
    """Features of one family at one moment (default: the setting's)."""
    return features(
        where.compiled, pack_rows([facts], [where.at if at is None else at], [family.births()])
    )


def safely(compiled: Compiled, rows: Rows) -> Features | None:
    """Features, or None where the kernel fails: the transition is total, so that one family cannot stop the log."""
    try:
        return features(compiled, rows)
    except (ArithmeticError, IndexError, ValueError):
        return None


def tell(
    batch: Batch,
    where: Setting,
    key: str,
    family: Family,
    facts: Facts,
    row: Features,
    index: int,
    before: int | None,
    cause: str,
) -> None:
    """Let the policy see row `index`: emit the score if it moved, alerts if any, and set the family's timers."""
    score = int(row.score[index])
    insufficient = batch.insufficient(where, row, index)
    if score != family.score or insufficient != family.insufficient:
        family.score, family.insufficient = score, insufficient
        batch.scores.append(
            score_output(where, key, score, insufficient, batch.next_sequence(where.offset))
        )
    family.unscored = False
    if score >= lines(where.compiled)[0] or family.band or row.rules[index]:
        for draft in drafts(where, family, before, row, index):
            sequence = batch.next_sequence(where.offset)
            batch.alerts += raise_alert(
                where, key, family, facts, row, index, draft, sequence, cause
            )
    if (
        family.timers
        or family.below_since is not None
        or reviewable(where.content, int(row.spells[index]))
    ):
        schedule(where.compiled, family, facts, row, index, where.at)
    _await_silence(where, family, facts, int(row.pending[index]))
    batch.note_timer(key, family)


def fail(batch: Batch, where: Setting, key: str, family: Family) -> None:
    """The kernel could not score this family: keep its facts, mark it, tell operations."""
    family.unscored = True
    batch.scores.append(
        unscored_output(
            where, key, "the kernel failed on this family", batch.next_sequence(where.offset)
        )
    )


def withdraw(batch: Batch, where: Setting, key: str, family: Family, facts: Facts) -> None:
    """Withdraw standing alerts whose rule, at their own moment and on the facts now held, would not have raised them."""
    for alert in list(family.standing):
        row = row_of(where, family, facts, alert.at)
        if not still_raised(where, alert.kind, alert.rule, alert.grade, row, 0):
            family.standing.remove(alert)
            family.alerted.pop(alert.grade or alert.rule, None)
            if alert.kind == "step_up":
                family.band = 0
            why = "Withdrawn: what it stood on was retracted, corrected or unlinked."
            sequence = batch.next_sequence(where.offset)
            batch.alerts.append(ended(where, key, alert, "withdrawn", why, None, sequence))


def _await_silence(where: Setting, family: Family, facts: Facts, pending: int) -> None:
    """Set a timer for the day on which a rule that lacks nothing but its silence will match."""
    rules = where.content.rules
    wanted: dict[str, int] = {}
    for number, rule in enumerate(rules.rules):
        if pending >> number & 1:
            day = _silence_reached(where, facts, number)
            if day is not None:
                wanted[SILENT + rule.name] = start_of_day(day)
    if wanted or any(name.startswith(SILENT) for name in family.timers):
        family.timers = {
            n: due for n, due in family.timers.items() if not n.startswith(SILENT)
        } | wanted


def _silence_reached(where: Setting, facts: Facts, number: int) -> int | None:
    """The day the silence is reached, if a fact of the rule will still be fresh then."""
    rule, live = where.content.rules.rules[number], facts[facts["flags"] & VOID == 0]
    day = local_day(live["occurred"].astype(np.int64))
    ends = [
        int(day[np.isin(live["kind"], c.codes)].max()) + c.days + 1 for c in rule.all if c.silent
    ]
    newest = max(
        (int(d) for c in rule.all if c.any for d in day[np.isin(live["kind"], c.codes)]), default=0
    )
    reached = max(ends)
    fresh = reached <= newest + where.content.rules.fresh_days
    return reached if fresh and reached > local_day_of(where.at) else None
