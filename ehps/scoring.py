"""Records with facts: merged into their families, features of the whole batch at once, then the policy in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ehps.batch import Batch, too_little_heard
from ehps.calendar import local_day, local_day_of
from ehps.facts import (
    FACT,
    KEPT_OF,
    ON_ROLL_BIT,
    SPELLS,
    VOID,
    WIRE_BYTES,
    Facts,
    from_wire,
    retained,
)
from ehps.kernel import STATE_BIT, Bools, Features, Ints, Rows, pack_births, pack_rows
from ehps.log import HEAD_BYTES, LogRecord, RecordKind
from ehps.policy import Look, Setting
from ehps.rescore import emit_score, fail, judge_bands, safely, waits, withdraw
from ehps.state import Family
from ehps.stepdown import RESTART, reviewable, schedule, set_watch, start_quiet
from ehps.timeline import Timeline, timeline
from ehps.timers import fire

BLOCK_FACTS = 8192
"""Facts in one call of the kernel: blocks of this size stay in a processor's cache."""


def score_records(batch: Batch, records: Sequence[LogRecord]) -> None:
    """Apply events and retractions of one stretch of the log, between two records of any other kind."""
    for la, mine in _by_authority(records):
        where = batch.setting(la, batch.authority(la).time, 0)
        first, told = _families_of(mine)
        families = {key: batch.family(key) for key in first}
        for key, family in families.items():
            due = family.due()
            if due is not None and due <= where.at:
                fire(batch, key, where.at, first[key])
        near = {key for key, count in told.items() if count > families[key].room()}
        for run in _runs(mine, near):
            _Run(batch, where, run, bounded=run[0].family in near).score()


def _by_authority(records: Sequence[LogRecord]) -> Iterator[tuple[str, Sequence[LogRecord]]]:
    codes = dict.fromkeys(record.compact[1:HEAD_BYTES] for record in records)
    for code in codes:
        mine = (
            records if len(codes) == 1 else [r for r in records if r.compact[1:HEAD_BYTES] == code]
        )
        yield code.decode(), mine


def _families_of(records: Sequence[LogRecord]) -> tuple[dict[str, int], dict[str, int]]:
    """For each family the offset of its first record, and how many facts it is told."""
    first: dict[str, int] = {}
    told: dict[str, int] = {}
    for record in records:
        first.setdefault(record.family, record.offset)
        count = (len(record.compact) - HEAD_BYTES) // WIRE_BYTES
        told[record.family] = told.get(record.family, 0) + count
    return first, told


def _runs(records: Sequence[LogRecord], near: set[str]) -> Iterator[Sequence[LogRecord]]:
    """All records together, but those of families near their bound one by one.

    There, what is kept after one record depends on what was kept after the one before.
    """
    free = [record for record in records if record.family not in near] if near else records
    if free:
        yield free
    yield from ([record] for record in records if record.family in near)


class _Told(NamedTuple):
    """New facts of a run's records: `number` is the record's, `kept` says which are not past keeping."""

    facts: Facts
    number: Ints
    kept: Bools


class _Run:
    """One run of records of one authority, all at one log time."""

    def __init__(
        self, batch: Batch, where: Setting, records: Sequence[LogRecord], *, bounded: bool
    ) -> None:
        self._batch, self._where, self._records, self._bounded = batch, where, records, bounded
        self._day = local_day_of(where.at)
        index = {key: at for at, key in enumerate(dict.fromkeys(r.family for r in records))}
        self._families = [batch.family(key) for key in index]
        self._owner = np.array([index[record.family] for record in records], np.int64)
        # Scores just before a record: of families with a band to fall back from, unseen in silence.
        self._before: dict[int, int] = {}
        self._watch: dict[int, tuple[Family, Facts]] = {}

    def score(self) -> None:
        """Merge, compute, judge, keep."""
        told = self._told()
        number = told.number[told.kept]
        held = [family.facts for family in self._families]
        line = timeline(held, told.facts[told.kept], self._owner[number], number)
        changed = line.changed()
        if self._bounded:
            line = self._cut(line)
        evicted = len(changed) - len(changed := line.changed())
        self._count(told, changed, evicted)
        if len(changed):
            self._judge(line, changed, self._moves(told))
            self._keep(line, changed)

    def _told(self) -> _Told:
        packed = [record.compact[HEAD_BYTES:] for record in self._records]
        facts = from_wire(b"".join(packed), self._where.at)
        number = np.repeat(np.arange(len(packed)), [len(raw) // WIRE_BYTES for raw in packed])
        age = self._day - local_day(facts["occurred"].astype(np.int64))
        return _Told(facts, number, age <= KEPT_OF[facts["kind"]])

    def _cut(self, line: Timeline) -> Timeline:
        """Within the bounds, of the run's one family after its one record."""
        standing = np.flatnonzero(line.standing())
        kept, over = retained(line.facts[standing], self._day)
        keep = np.zeros(len(line.facts), bool)
        keep[standing[kept]] = True
        self._families[0].over |= over
        return line.only(keep)

    def _count(self, told: _Told, changed: Ints, evicted: int) -> None:
        """What became of each record: applied, evicted, expired (all its facts too old) or a duplicate."""
        count = len(self._records)
        facts = np.bincount(told.number, minlength=count)
        kept = np.bincount(told.number[told.kept], minlength=count)
        expired = int(((facts > 0) & (kept == 0)).sum())
        duplicates = count - len(changed) - evicted - expired
        outcomes = (
            ("applied", len(changed)),
            ("evicted", evicted),
            ("expired", expired),
            ("duplicate", duplicates),
        )
        for outcome, number in outcomes:
            self._batch.partition.count(outcome, number)

    def _moves(self, told: _Told) -> set[int]:
        """Records after which quiet days start again: the child or the home moved."""
        live = np.isin(told.facts["kind"], RESTART) & (told.facts["flags"] & VOID == 0) & told.kept
        moved = set(told.number[live].tolist())
        return {n for n in moved if self._records[n].kind == RecordKind.EVENT}

    def _judge(self, line: Timeline, changed: Ints, moves: set[int]) -> None:
        counted = self._without_the_gone(line)
        self._note_scores_before(changed)
        size = np.diff(counted.starts)[self._owner[changed]]
        block = np.cumsum(size) // BLOCK_FACTS
        for part in np.split(changed, np.flatnonzero(np.diff(block)) + 1):
            self._judge_block(counted, part, moves)
        families = list(self._watch.values())
        set_watch(self._where.compiled, families, self._where.at)
        for owner in self._watch:
            self._note_timer(owner)

    def _without_the_gone(self, line: Timeline) -> Timeline:
        """The versions that count: not those of people who left."""
        hidden = np.zeros(len(line.facts), bool)
        for owner, family in enumerate(self._families):
            if gone := family.gone():
                part = slice(line.starts[owner], line.starts[owner + 1])
                hidden[part] = np.isin(line.facts["person"][part], gone)
        return line.only(~hidden) if hidden.any() else line

    def _note_scores_before(self, changed: Ints) -> None:
        owners = [o for o in dict.fromkeys(self._owner[changed].tolist()) if self._families[o].band]
        if owners:
            families = [self._families[owner] for owner in owners]
            facts, births = [f.counted() for f in families], [f.births() for f in families]
            rows = pack_rows(facts, [self._where.at] * len(owners), births)
            found = safely(self._where.compiled, rows, with_rules=False)
            if found is not None:
                self._before = dict(zip(owners, found.score.tolist(), strict=True))

    def _judge_block(self, line: Timeline, numbers: Ints, moves: set[int]) -> None:
        """Features of a block of records; a block that fails is done again record by record."""
        owners = self._owner[numbers]
        index, starts = line.rows(numbers, owners)
        births = pack_births([self._families[owner].births() for owner in owners.tolist()])
        today = np.full(len(numbers), self._day)
        rows = Rows(line.facts[index], line.days[index], starts, today, births)
        found = safely(self._where.compiled, rows)
        if found is not None:
            self._policy(numbers, rows, found, moves, line.replaced)
        elif len(numbers) > 1:
            for at in range(len(numbers)):
                self._judge_block(line, numbers[at : at + 1], moves)
        else:
            record = self._records[int(numbers[0])]
            where = self._where._replace(offset=record.offset)
            fail(self._batch, where, record.family, self._families[int(owners[0])])

    def _policy(
        self, numbers: Ints, rows: Rows, found: Features, moves: set[int], replaced: set[int]
    ) -> None:
        """Each record in order: most move the score alone; where more may follow, the family is looked at."""
        scores, insufficient = found.score.tolist(), self._insufficient(found).tolist()
        loud, opens = self._loud(found).tolist(), self._reviewable()[found.spells].tolist()
        for at, number in enumerate(numbers.tolist()):
            record, owner = self._records[number], int(self._owner[number])
            family = self._families[owner]
            where, told = self._where, (scores[at], insufficient[at])
            if not (loud[at] or opens[at] or number in replaced or self._watched(family, owner)):
                if told != (family.score, family.insufficient) or family.unscored:
                    emit_score(
                        self._batch, where.at_record(record.offset), record.family, family, *told
                    )
                continue
            where = where.at_record(record.offset)
            facts = rows.facts[rows.starts[at] : rows.starts[at + 1]]
            if number in replaced and family.case.standing:
                withdraw(self._batch, where, record.family, family, facts)
            emit_score(self._batch, where, record.family, family, *told)
            if loud[at] or family.band or waits(family):
                look = Look(record.family, family, facts, found.row(at))
                judge_bands(self._batch, where, look, self._before.get(owner), "record")
                self._before[owner] = scores[at]
            self._schedule(record.family, owner, facts, told[0], int(found.spells[at]))
            if number in moves:
                self._restart(record.family, family, int(found.spells[at]))

    def _loud(self, found: Features) -> Bools:
        """Rows that may call for an alert, or for a timer that waits for silence."""
        at_a_line = found.score >= self._where.compiled.lines[0]
        loud: Bools = at_a_line | (found.rules != 0) | (found.pending != 0)
        return loud

    def _reviewable(self) -> Bools:
        """Whether a family with these open spells may be stepped down, by their bits."""
        content = self._where.content
        return np.array([reviewable(content, bits) for bits in range(1 << len(SPELLS))])

    def _watched(self, family: Family, owner: int) -> bool:
        """Whether something said or timed before makes every record of the family matter."""
        timed = family.due() is not None or owner in self._watch
        return timed or family.band > 0 or family.below_since is not None

    def _insufficient(self, found: Features) -> Bools:
        table = np.array(
            [
                [
                    too_little_heard(self._where, on_roll=roll, under_five=young)
                    for young in (False, True)
                ]
                for roll in (False, True)
            ]
        )
        on_roll = (found.spells & ON_ROLL_BIT > 0).astype(np.int64)
        young = (found.states & STATE_BIT["child_under_5"] > 0).astype(np.int64)
        answer: Bools = table[on_roll, young]
        return answer

    def _schedule(self, key: str, owner: int, facts: Facts, score: int, spells: int) -> None:
        """Timers after a record. Only the day of fall after a family's last record of the run is wanted."""
        family = self._families[owner]
        self._watch.pop(owner, None)
        if schedule(self._where.content, family, score, spells, self._where.at):
            self._watch[owner] = family, facts
        self._batch.note_timer(key, family)

    def _restart(self, key: str, family: Family, spells: int) -> None:
        """The child or the home moved: quiet days start again."""
        if family.below_since is not None:
            start_quiet(self._where.content, family, spells, self._day)
            self._batch.note_timer(key, family)

    def _note_timer(self, owner: int) -> None:
        key = self._records[int(np.flatnonzero(self._owner == owner)[0])].family
        self._batch.note_timer(key, self._families[owner])

    def _keep(self, line: Timeline, changed: Ints) -> None:
        """The families' new sets: what still stands, less what is past keeping."""
        standing = line.standing() & (self._day - line.days <= KEPT_OF[line.facts["kind"]])
        kept = np.flatnonzero(standing)
        raw, bounds = line.facts[kept].tobytes(), np.searchsorted(kept, line.starts) * FACT.itemsize
        for owner in np.unique(self._owner[changed]).tolist():
            self._families[owner].facts = raw[bounds[owner] : bounds[owner + 1]]
