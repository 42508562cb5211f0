"""A run's facts merged into what its families held, and what became of each record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ehps.calendar import local_day
from ehps.facts import FACT, KEPT_OF, SPELL_OF, VOID, WIRE_BYTES, Facts, from_wire, retained
from ehps.kernel import ATTENDANCE, ON_ROLL, Bools, Ints
from ehps.log import HEAD_BYTES, LogRecord, RecordKind
from ehps.state import Family, Partition
from ehps.stepdown import RESTART
from ehps.timeline import Timeline, timeline


class Run(NamedTuple):
    """Records of one authority, all at one log time.

    Args:
        keys, families: each family of the run once.
        owner: for each record the index of its family.
        day: of the log time, in London.
    """

    records: Sequence[LogRecord]
    keys: Sequence[str]
    families: Sequence[Family]
    owner: Ints
    day: int


class Merged(NamedTuple):
    """What the run changed.

    Args:
        line: which facts each family held after each record.
        changed: numbers of the records that changed a set, ascending.
        moves: those after which quiet days start again: the child or the home moved.
        attends: those that tell of attendance or of a school's roll, which may end a condition.
    """

    line: Timeline
    changed: Ints
    moves: set[int]
    attends: set[int]


class _Told(NamedTuple):
    """New facts: `number` is the record's, `kept` says which are not past keeping."""

    facts: Facts
    number: Ints
    kept: Bools


def merge_run(run: Run, known: int, partition: Partition, *, bounded: bool) -> Merged:
    """Merge the run's facts, known at log time `known`, and count what became of each record.

    Args:
        bounded: the run is one record of a family near its bound, and is cut to it.
    """
    told = _told(run, known)
    number, held = told.number[told.kept], [family.facts for family in run.families]
    line = timeline(held, told.facts[told.kept], run.owner[number], number)
    changed = line.changed()
    if bounded:
        line = _cut(line, run)
    remain = line.changed()
    _count(told, len(run.records), len(remain), len(changed) - len(remain), partition)
    return Merged(line, remain, _moves(told, run), _attends(told))


def _told(run: Run, known: int) -> _Told:
    packed = [record.compact[HEAD_BYTES:] for record in run.records]
    facts = from_wire(b"".join(packed), known)
    number = np.repeat(np.arange(len(packed)), [len(raw) // WIRE_BYTES for raw in packed])
    age = run.day - local_day(facts["occurred"].astype(np.int64))
    return _Told(facts, number, age <= KEPT_OF[facts["kind"]])


def _cut(line: Timeline, run: Run) -> Timeline:
    """Within the bounds, of the run's one family after its one record."""
    standing = np.flatnonzero(line.standing())
    kept, over = retained(line.facts[standing], run.day)
    keep = np.zeros(len(line.facts), bool)
    keep[standing[kept]] = True
    run.families[0].over |= over
    return line.only(keep)


def _count(told: _Told, records: int, applied: int, evicted: int, partition: Partition) -> None:
    """Each record once: applied, evicted, expired (all its facts past keeping), or a duplicate."""
    facts = np.bincount(told.number, minlength=records)
    kept = np.bincount(told.number[told.kept], minlength=records)
    expired = int(((facts > 0) & (kept == 0)).sum())
    partition.count("applied", applied)
    partition.count("evicted", evicted)
    partition.count("expired", expired)
    partition.count("duplicate", records - applied - evicted - expired)


def _moves(told: _Told, run: Run) -> set[int]:
    live = np.isin(told.facts["kind"], RESTART) & (told.facts["flags"] & VOID == 0) & told.kept
    moved = set(told.number[live].tolist())
    return {number for number in moved if run.records[number].kind == RecordKind.EVENT}


def _attends(told: _Told) -> set[int]:
    ends = (told.facts["kind"] == ATTENDANCE) | (SPELL_OF[told.facts["kind"]] == ON_ROLL)
    return set(told.number[ends].tolist())


def counted(line: Timeline, run: Run) -> Timeline:
    """The versions that count: not those of people who left."""
    hidden = np.zeros(len(line.facts), bool)
    for owner, family in enumerate(run.families):
        if gone := family.gone():
            part = slice(line.starts[owner], line.starts[owner + 1])
            hidden[part] = np.isin(line.facts["person"][part], gone)
    return line.only(~hidden) if hidden.any() else line


def keep(merged: Merged, run: Run) -> None:
    """Give the families their new sets: what still stands, less what is past keeping."""
    line = merged.line
    standing = line.standing() & (run.day - line.days <= KEPT_OF[line.facts["kind"]])
    kept = np.flatnonzero(standing)
    raw, bounds = line.facts[kept].tobytes(), np.searchsorted(kept, line.starts) * FACT.itemsize
    for owner in np.unique(run.owner[merged.changed]).tolist():
        run.families[owner].facts = raw[bounds[owner] : bounds[owner + 1]]
