"""What a batch's facts come to: features of all its records at once, before the first of them is judged.

Families stand apart where what is kept after one record depends on what was kept after the one before: those near their
bound, and those whose household changes in the batch. Theirs is worked out when its turn comes, by the same code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count, repeat
from typing import NamedTuple

import numpy as np

from ehps.batch import Batch, sources_index
from ehps.calendar import Bools, Ints, local_day
from ehps.compiled import Compiled
from ehps.facts import SPELLS, WIRE_BYTES, Facts
from ehps.kernel import Features, Row, Rows, features, pack_births
from ehps.library import Content
from ehps.log import HEAD_BYTES, LogRecord, RecordKind
from ehps.merging import account, countable, cut, keep, merged, restarts, told
from ehps.policy import Scene, required, row_of
from ehps.rescore import Before
from ehps.state import Family
from ehps.stepdown import reviewable
from ehps.timeline import Timeline

BLOCK_FACTS = 32768
"""Facts in one call of the kernel: so many that what its array operations cost by themselves is small beside them."""

FACT_KINDS = frozenset({RecordKind.EVENT, RecordKind.RETRACTION})


class Sight(NamedTuple):
    """Some families' facts over the batch.

    Args:
        line: the versions that count.
        owner: index of the family of each record, by the record's number.
    """

    line: Timeline
    families: Sequence[Family]
    owner: Ints

    def rows(self, scene: Scene, after: Ints, owners: Ints, today: Ints) -> Rows:
        """What these families held after these records, as the kernel takes it."""
        index, starts = self.line.rows(after, owners, today)
        births = pack_births([self.families[owner].births() for owner in owners.tolist()])
        line = self.line
        return Rows(line.facts.take(index), line.days[index], starts, today, births, scene.since)


class Block(NamedTuple):
    """Rows that were worked out in one call of the kernel."""

    sight: Sight
    rows: Rows
    found: Features


class Change(NamedTuple):
    """A record that changed its family's facts: row `at` of its block, the features after it."""

    block: Block
    at: int

    @property
    def row(self) -> Row | None:
        """The features; None where the kernel failed."""
        return self.block.found.row(self.at)

    @property
    def facts(self) -> Facts:
        """Those that count after the record."""
        rows = self.block.rows
        return rows.facts[rows.starts[self.at] : rows.starts[self.at + 1]]


class Course:
    """The facts of a batch in the course of its records, which are asked for by number, in order."""

    def __init__(
        self, batch: Batch, records: Sequence[LogRecord], scenes: Sequence[Scene | None]
    ) -> None:
        """Work out all families but those that stand apart."""
        self._batch, self._records, self._scenes = batch, records, scenes
        known = np.array([scene.at if scene else 0 for scene in scenes], np.int64)
        self._today = local_day(known)
        numbers = [n for n, record in enumerate(records) if record.compact[0] in FACT_KINDS]
        met = {id(scene): scene for scene in scenes if scene is not None}.values()
        self._contents = {(scene.compiled, scene.since) for scene in met}
        self._told = told(records, numbers, known, self._today)
        self.restarts = restarts(self._told, records)
        self._changes: dict[int, tuple[Block, int]] = {}
        self._calm: dict[int, tuple[int, int]] = {}
        self._scores_before: dict[int, int] = {}
        self._apart = _apart(batch, records, numbers)
        self._index, self._sight, self._line, self._moved = self._together(numbers)

    def calm(self, number: int) -> tuple[int, int] | None:
        """(score in units, `sources_index`) after a record that asks for no more than to tell the score."""
        if self._apart and self._records[number].family in self._apart:
            self._alone(number)
        return self._calm.get(number)

    def change(self, number: int) -> Change | None:
        """What the record changed, asked after `calm`; None: it told nothing new."""
        found = self._changes.get(number)
        return None if found is None else Change(*found)

    def before(self, number: int, change: Change) -> Before:
        """The record's family just before it."""
        scene, sight = self._scene(number), change.block.sight
        line, owner = sight.line, int(sight.owner[number])

        def facts(day: int) -> Facts:
            return line.facts_at(number - 1, owner, day)

        def score() -> int:
            known = self._scores_before.get(number)
            family = sight.families[owner]
            return row_of(scene, family, facts(scene.day)).score if known is None else known

        return Before(facts, score, undone=number in line.replaced)

    def facts(self, number: int, key: str, day: int) -> Facts:
        """A family's facts that count on `day`, just before a record."""
        owner = self._index.get(key)
        if owner is None:
            return self._batch.family(key).counted(day)
        return self._sight.line.facts_at(number - 1, owner, day)

    def keep(self) -> None:
        """Give the families that do not stand apart their new sets."""
        keep(self._line, self._moved, self._sight.families, self._sight.owner, self._today)

    def _together(self, numbers: Sequence[int]) -> tuple[dict[str, int], Sight, Timeline, Ints]:
        records, news = self._records, self._told
        if self._apart:
            numbers = [n for n in numbers if records[n].family not in self._apart]
            news = news.only(np.isin(news.number, numbers))
        keys = dict.fromkeys(records[number].family for number in numbers)
        index = {key: at for at, key in enumerate(keys)}
        owner = np.zeros(len(records), np.int64)
        owner[numbers] = [index[records[number].family] for number in numbers]
        families = [self._batch.family(key) for key in keys]
        line = merged(news, families, owner)
        changed = line.changed()
        account(news, numbers, len(changed), len(changed), self._batch.partition)
        sight = Sight(countable(line, families), families, owner)
        self._work_out(sight, changed)
        return index, sight, line, changed

    def _alone(self, number: int) -> None:
        family, today = self._batch.family(self._records[number].family), int(self._today[number])
        news, owner = self._told.only(self._told.number == number), np.zeros_like(self._today)
        line = merged(news, [family], owner)
        changed = len(line.changed())
        cut(line, family, number, today)
        remain = line.changed()
        account(news, [number], changed, len(remain), self._batch.partition)
        self._work_out(Sight(countable(line, [family]), [family], owner), remain)
        keep(line, remain, [family], owner, self._today)

    def _work_out(self, sight: Sight, numbers: Ints) -> None:
        """Features after these records, a block at a time."""
        for part in filter(len, self._by_content(numbers)):
            self._note_scores_before(sight, part)
            size = np.diff(sight.line.starts)[sight.owner[part]]
            block = np.cumsum(size) // BLOCK_FACTS
            for piece in np.split(part, np.flatnonzero(np.diff(block)) + 1):
                self._block(sight, piece)

    def _by_content(self, numbers: Ints) -> Iterator[Ints]:
        """The numbers by what is in force at them, and in which authority."""
        if len(self._contents) == 1:
            yield numbers
            return
        scenes = [self._scene(number) for number in numbers.tolist()]
        for compiled, since in self._contents:
            these = [scene.compiled is compiled and scene.since == since for scene in scenes]
            yield numbers[these]

    def _block(self, sight: Sight, numbers: Ints) -> None:
        scene, owners = self._scene(int(numbers[0])), sight.owner[numbers]
        rows = sight.rows(scene, numbers, owners, self._today[numbers])
        found = features(scene.compiled, rows)
        block = Block(sight, rows, found)
        self._changes.update(zip(numbers.tolist(), zip(repeat(block), count()), strict=False))
        calm = np.flatnonzero(~_loud(scene.compiled, found) & ~sight.line.undoes(numbers))
        sources = sources_index(found.spells[calm], found.states[calm])
        told = zip(found.score[calm].tolist(), sources.tolist(), strict=True)
        self._calm.update(zip(numbers[calm].tolist(), told, strict=True))

    def _note_scores_before(self, sight: Sight, numbers: Ints) -> None:
        """Just before a record, of families with a band to fall back from."""
        banded = np.array([family.band > 0 for family in sight.families], bool)
        part = numbers[banded[sight.owner[numbers]]]
        if len(part):
            scene, owners = self._scene(int(part[0])), sight.owner[part]
            rows = sight.rows(scene, part - 1, owners, self._today[part])
            found = features(scene.compiled, rows, with_rules=False)
            known = zip(part.tolist(), found.score.tolist(), found.failed.tolist(), strict=True)
            self._scores_before |= {number: score for number, score, failed in known if not failed}

    def _scene(self, number: int) -> Scene:
        return required(self._scenes[number])


def _apart(batch: Batch, records: Sequence[LogRecord], numbers: Sequence[int]) -> set[str]:
    """Families whose household changes, and those that may come to their bound within the batch."""
    apart = {record.family for record in records if record.compact[0] == RecordKind.MEMBERSHIP}
    bytes_most = max((len(records[number].compact) for number in numbers), default=0)
    facts_most = (bytes_most - HEAD_BYTES) // WIRE_BYTES
    told = Counter([records[number].family for number in numbers])
    return apart | {
        key for key, times in told.items() if times * facts_most > batch.family(key).room()
    }


def _loud(compiled: Compiled, found: Features) -> Bools:
    """Rows that may call for an alert or a timer, or failed."""
    loud: Bools = found.score >= compiled.lines[0]
    loud |= (found.rules != 0) | (found.pending != 0) | found.failed
    return loud | _reviewable(compiled.content)[found.spells]


@lru_cache(maxsize=64)
def _reviewable(content: Content) -> Bools:
    """By open spells: whether the family may be stepped down."""
    return np.array([reviewable(content, bits) for bits in range(1 << len(SPELLS))])
