"""Records with facts: features of a whole run at once, then the policy, record by record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ehps.batch import Batch, too_little_heard
from ehps.calendar import local_day_of
from ehps.errors import KernelFailed
from ehps.facts import ON_ROLL_BIT, SPELLS, WIRE_BYTES, Facts
from ehps.kernel import STATE_BIT, Bools, Features, Ints, Rows, pack_births, pack_rows
from ehps.log import HEAD_BYTES, LogRecord
from ehps.merging import Merged, Run, counted, keep, merge_run
from ehps.policy import Look, Scene
from ehps.rescore import emit_score, fail, judge_bands, moved, safely, waits, withdraw
from ehps.state import Family
from ehps.stepdown import on_condition, reviewable, schedule, set_watch, start_quiet, watched
from ehps.timeline import Timeline
from ehps.timers import fire

BLOCK_FACTS = 8192
"""Facts in one call of the kernel: blocks of this size stay in a processor's cache."""


def score_records(batch: Batch, records: Sequence[LogRecord]) -> None:
    """Apply events and retractions of one stretch of the log, between two records of any other kind."""
    for la, mine in _by_authority(records):
        scene = batch.scene(la, batch.authority(la).time, 0)
        first, told = _families_of(mine)
        families = {key: batch.family(key) for key in first}
        for key, family in families.items():
            due = family.due()
            if due is not None and due <= scene.at:
                fire(batch, key, scene.at, first[key])
        near = {key for key, count in told.items() if count > families[key].room()}
        for records_ in _runs(mine, near):
            run = _run(records_, families, local_day_of(scene.at))
            merged = merge_run(run, scene.at, batch.partition, bounded=run.keys[0] in near)
            if len(merged.changed):
                _Judge(batch, scene, run, merged).judge()
                keep(merged, run)


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


def _run(records: Sequence[LogRecord], families: dict[str, Family], day: int) -> Run:
    index = {key: at for at, key in enumerate(dict.fromkeys(record.family for record in records))}
    owner = np.array([index[record.family] for record in records], np.int64)
    return Run(records, tuple(index), [families[key] for key in index], owner, day)


class _Judge:
    """The policy over one run: scores, alerts and timers of its records in order."""

    def __init__(self, batch: Batch, scene: Scene, run: Run, merged: Merged) -> None:
        self._batch, self._scene, self._run, self._merged = batch, scene, run, merged
        # Scores just before a record: of families with a band to fall back from, unseen in silence.
        self._before: dict[int, int] = {}
        # Families above the down line whose day of fall is to be found, for all at once. A later record that
        # only adds leaves the watch as it is: it then comes early, looks again, and is set anew.
        self._watch: dict[int, Look] = {}

    def judge(self) -> None:
        """All records that changed something, a cache-sized block at a time."""
        run, changed = self._run, self._merged.changed
        line = counted(self._merged.line, run)
        self._note_scores_before()
        size = np.diff(line.starts)[run.owner[changed]]
        block = np.cumsum(size) // BLOCK_FACTS
        for part in np.split(changed, np.flatnonzero(np.diff(block)) + 1):
            self._block(line, part)
        self._set_watches()

    def _set_watches(self) -> None:
        """All at once; where the kernel fails, one by one, so that it costs no other family its watch."""
        looks = list(self._watch.values())
        try:
            set_watch(self._scene, looks)
        except KernelFailed:
            for look in looks:
                try:
                    set_watch(self._scene, [look])
                except KernelFailed:
                    look.family.unscored = True
        for look in looks:
            self._batch.note_timer(look.key, look.family)

    def _note_scores_before(self) -> None:
        run = self._run
        owners = dict.fromkeys(run.owner[self._merged.changed].tolist())
        banded = [owner for owner in owners if run.families[owner].band]
        if not self._note(banded) and len(banded) > 1:
            for owner in banded:
                self._note([owner])

    def _note(self, owners: list[int]) -> bool:
        """False: the kernel fails on one of them."""
        families = [self._run.families[owner] for owner in owners]
        facts, births = [f.counted() for f in families], [f.births() for f in families]
        rows = pack_rows(facts, [self._scene.at] * len(owners), births)
        found = safely(self._scene, rows, with_rules=False) if owners else None
        if found is not None:
            self._before |= dict(zip(owners, found.score.tolist(), strict=True))
        return found is not None or not owners

    def _block(self, line: Timeline, numbers: Ints) -> None:
        """Features of a block of records; a block that fails is done again record by record."""
        run, owners = self._run, self._run.owner[numbers]
        index, starts = line.rows(numbers, owners)
        births = pack_births([run.families[owner].births() for owner in owners.tolist()])
        today = np.full(len(numbers), run.day)
        rows = Rows(line.facts[index], line.days[index], starts, today, births, self._scene.since)
        found = safely(self._scene, rows)
        if found is not None:
            self._records(numbers, rows, found)
        elif len(numbers) > 1:
            for at in range(len(numbers)):
                self._block(line, numbers[at : at + 1])
        else:
            self._fail(int(numbers[0]))

    def _fail(self, number: int) -> None:
        record, owner = self._run.records[number], int(self._run.owner[number])
        fail(
            self._batch,
            self._scene.at_record(record.offset),
            record.family,
            self._run.families[owner],
        )

    def _records(self, numbers: Ints, rows: Rows, found: Features) -> None:
        """Each record in order: most move the score alone; where more may follow, the family is looked at."""
        scores, insufficient = found.score.tolist(), self._insufficient(found).tolist()
        calm, replaced = (~self._loud(found)).tolist(), self._merged.line.replaced
        for at, number in enumerate(numbers.tolist()):
            owner = int(self._run.owner[number])
            family, told = self._run.families[owner], (scores[at], insufficient[at])
            if calm[at] and number not in replaced and not self._watched(family, owner):
                if moved(family, *told):
                    record = self._run.records[number]
                    scene = self._scene.at_record(record.offset)
                    emit_score(self._batch, scene, record.family, family, *told)
                continue
            try:
                facts = rows.facts[rows.starts[at] : rows.starts[at + 1]]
                self._look(number, facts, found, at, insufficient=insufficient[at])
            except KernelFailed:
                self._fail(number)

    def _look(
        self, number: int, facts: Facts, found: Features, at: int, *, insufficient: bool
    ) -> None:
        """One record of a family that somebody may be told of."""
        record, owner = self._run.records[number], int(self._run.owner[number])
        family, scene = self._run.families[owner], self._scene.at_record(record.offset)
        look = Look(record.family, family, facts, found.row(at))
        if number in self._merged.line.replaced and family.case.standing:
            withdraw(self._batch, scene, look)
        if moved(family, look.row.score, insufficient):
            emit_score(self._batch, scene, look.key, family, look.row.score, insufficient)
        if (
            look.row.rules
            or look.row.pending
            or family.band
            or waits(family)
            or self._at_a_line(look)
        ):
            judge_bands(self._batch, scene, look, self._before.get(owner), "record")
            self._before[owner] = look.row.score
        if not schedule(scene, look):
            self._watch.pop(owner, None)
        elif number in self._merged.line.replaced or not self._watch_holds(owner, family, number):
            self._watch[owner] = look
        if number in self._merged.moves and family.below_since is not None:
            start_quiet(scene.content, family, look.row.spells, self._run.day)
        self._batch.note_timer(look.key, family)

    def _watch_holds(self, owner: int, family: Family, number: int) -> bool:
        """Whether the watch, set or still to be set with the others, holds after one more record.

        One that rests on a condition on attendance is set before the next record is looked at, as it would be if
        the log were cut between the two.
        """
        pending = self._watch.get(owner)
        if pending is not None and not on_condition(pending):
            return True
        if pending is not None:
            set_watch(self._scene, [self._watch.pop(owner)])
        return watched(family, attends=number in self._merged.attends)

    def _at_a_line(self, look: Look) -> bool:
        return look.row.score >= self._scene.compiled.lines[0]

    def _loud(self, found: Features) -> Bools:
        """Rows that may call for an alert or a timer."""
        content = self._scene.content
        opens = np.array([reviewable(content, bits) for bits in range(1 << len(SPELLS))])
        at_a_line = found.score >= self._scene.compiled.lines[0]
        loud: Bools = at_a_line | (found.rules != 0) | (found.pending != 0) | opens[found.spells]
        return loud

    def _watched(self, family: Family, owner: int) -> bool:
        """Whether something said or timed before makes every record of the family matter."""
        timed = family.due() is not None or owner in self._watch
        return timed or family.band > 0 or family.below_since is not None

    def _insufficient(self, found: Features) -> Bools:
        """Whether too little was heard of a row's family: a table of its four cases."""
        cases = [(roll, young) for roll in (False, True) for young in (False, True)]
        table = np.array([too_little_heard(self._scene, on_roll=r, under_five=y) for r, y in cases])
        on_roll = found.spells & ON_ROLL_BIT > 0
        young = found.states & STATE_BIT["child_under_5"] > 0
        answer: Bools = table[2 * on_roll + young]
        return answer
