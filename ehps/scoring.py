"""What a batch's facts come to: features of all its records at once, before the first of them is judged.

Families stand apart where what is kept after one record depends on what was kept after the one before: those near their
bound, and those whose household changes in the batch. Theirs is worked out when its turn comes, by the same code. Most
of the others are calm (`ehps.calm`): their scores are told at once, and their records are not judged one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ehps import calm
from ehps.alerts import score_writer
from ehps.batch import sources_index
from ehps.calendar import Bools, Ints, local_day
from ehps.calm import Held, Seen
from ehps.catalogue import Horizon
from ehps.compiled import Compiled
from ehps.errors import NothingInForce
from ehps.facts import BIRTH, CLASS_OF, Facts
from ehps.kernel import Features, Row, Rows, features
from ehps.lanes import Lanes
from ehps.log import RecordKind
from ehps.merging import account, countable, cut, keep, merged, restarts, told
from ehps.policy import Scene, row_of
from ehps.ragged import Ragged, picked
from ehps.rescore import Before
from ehps.state import NONE
from ehps.timeline import Timeline
from schemas.links import authority_of

BLOCK_FACTS = 12288
"""Facts in one call of the kernel: enough that its array operations cost little by themselves, and few enough that what
they pass on to each other stays in the processor's cache."""

_UNKNOWN = -1 << 62
"""In place of a score that was not, or could not be, worked out: below every line, so that somebody looks."""


class Sight(NamedTuple):
    """Some families' facts over the batch.

    Args:
        line: the versions that count.
        births: days of birth of each family's children.
        owner: index of the family of each record, by the record's number.
    """

    line: Timeline
    births: Ragged
    owner: Ints

    def rows(self, since: int, after: Ints, owners: Ints, today: Ints) -> Rows:
        """What these families held after these records, as the kernel takes it."""
        line = self.line
        index, starts = line.rows(after, owners, today)
        row, child = picked(self.births.starts, owners)
        born = np.stack((row, self.births.values[child].astype(np.int64)), axis=1)
        return Rows(line.facts.take(index), line.days[index], starts, today, born, since)


class Block(NamedTuple):
    """Rows that were worked out in one call of the kernel.

    Args:
        rows: the first of them are the records', the others were asked for the scores before.
        number: the record of each row; the row is its family after it.
        before: units just before it, of every family that had a band, or may have got one by an earlier record under
            the same content; else known or `_UNKNOWN`.
    """

    sight: Sight
    rows: Rows
    found: Features
    number: Ints
    before: Ints

    def owners(self) -> Ints:
        """Index of each row's family."""
        return self.sight.owner[self.number]


class Change(NamedTuple):
    """A record that changed its family's facts: row `at` of its block.

    Args:
        row: the features after it; None where the kernel failed.
    """

    block: Block
    at: int
    row: Row | None

    @property
    def facts(self) -> Facts:
        """Those that count after the record."""
        rows = self.block.rows
        return rows.facts[rows.starts[self.at] : rows.starts[self.at + 1]]


class Course:
    """The facts of a batch in the course of its records, which are asked for by number, in order.

    Attributes:
        apart: by index, the families that stand apart.
        rest: numbers of the records to be judged one by one, which are those of no calm family.
        restarts: of those after which quiet days start again.
    """

    def __init__(self, lanes: Lanes) -> None:
        """Work out all families but those that stand apart, and tell the calm ones' scores.

        Raises:
            NothingInForce: no control is in force in the authority of a record with facts.
        """
        self._lanes, self._records, numbers = lanes, lanes.records, lanes.numbers
        self._scenes, self._scene_of = _distinct(lanes.scenes)
        self._content_of = _contents(self._scenes)[self._scene_of]
        if (self._scene_of[numbers] < 0).any():
            raise NothingInForce
        known = np.array([*(scene.at for scene in self._scenes), 0], np.int64)[self._scene_of]
        self._today = local_day(known)
        self._told = told(self._records, numbers.tolist(), known, self._today)
        self.restarts = restarts(self._told, self._records)
        self._owner = lanes.owner
        self._held = Held.of(lanes.keys, lanes.raw())
        self.apart = self._held.crowded(self._facts_told())
        self.apart |= lanes.families_with(lanes.kinds == RecordKind.MEMBERSHIP)
        self._sight, self._line, self._moved, blocks = self._together(numbers)
        self._calm = self._calm_throughout(blocks, lanes.latest(known))
        self._calm &= ~lanes.families_with(lanes.kinds == RecordKind.DECISION)
        self._head = self._tell_calm(blocks)
        self._changes = {n: change for block in blocks for n, change in self._of_others(block)}
        judged = np.ones(len(self._records), bool)
        judged[numbers] = ~self._calm[self._owner[numbers]]
        self.rest: list[int] = judged.nonzero()[0].tolist()

    def change(self, number: int) -> Change | None:
        """What the record changed; None: it told nothing new."""
        if self.apart[self._owner[number]]:
            self._alone(number)
        return self._changes.get(number)

    def before(self, number: int, change: Change) -> Before:
        """The record's family just before it."""
        line, owner = change.block.sight.line, int(change.block.sight.owner[number])
        scene = self._scene(number)

        def facts(day: int) -> Facts:
            return line.facts_at(number - 1, owner, day)

        def score() -> int:
            known = int(change.block.before[change.at])
            if known != _UNKNOWN:
                return known
            family = self._lanes.family(int(self._owner[number]))
            return row_of(scene, family, facts(scene.day)).score

        return Before(facts, score, undone=number in line.replaced)

    def facts(self, number: int, key: str, day: int) -> Facts:
        """A family's facts that count on `day`, just before a record."""
        lane = self._lanes.of(number)
        owner = lane.index.get(key)
        if owner is None or self.apart[owner]:
            return lane.batch.family(key).counted(day)
        return self._sight.line.facts_at(number - 1, owner, day)

    def keep(self) -> None:
        """Give the families that do not stand apart their new sets, the calm ones their whole states."""
        kept = keep(self._line, self._moved, self._owner, self._today)
        for owner in [owner for owner in kept if not self._calm[owner]]:
            self._lanes.family(owner).facts = kept.pop(owner)
        for owner, state in calm.states(self._held, self._head, kept).items():
            self._lanes.home(owner).batch.calm_states[self._held.keys[owner]] = state
        for owner, due in calm.timers(self._held, self._head).items():
            key = self._held.keys[owner]
            self._lanes.home(owner).batch.calm_timers[authority_of(key), key] = due

    def _facts_told(self) -> Ints:
        """By (index, class): the facts that the batch tells of a family."""
        news, shape = self._told, (len(self._held.keys), len(Horizon))
        cell = self._owner[news.number] * len(Horizon) + CLASS_OF[news.facts["kind"]]
        return np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)

    def _together(self, numbers: Ints) -> tuple[Sight, Timeline, Ints, list[Block]]:
        news, held, owner = self._told, self._held, self._owner
        if self.apart.any():
            numbers = numbers[~self.apart[owner[numbers]]]
            news = news.only(~self.apart[owner[news.number]])
        line = merged(news, held.facts(), owner)
        changed = line.changed()
        told = map(self._lanes.counts, (numbers, changed, news.expired()))
        for lane, own, moved, expired in zip(self._lanes, *told, strict=True):
            account(lane.batch.partition, own, moved, moved, expired)
        gone = {at: self._lanes.family(at).gone() for at in held.with_gone()}
        sight = Sight(countable(line, gone), held.births(), owner)
        banded = held.head["band"] > 0
        return sight, line, changed, self._work_out(sight, changed, banded)

    def _alone(self, number: int) -> None:
        family, today = self._lanes.family(int(self._owner[number])), int(self._today[number])
        place = self._told.number.searchsorted((number, number + 1)).tolist()
        news, owner = self._told.part(slice(*place)), np.zeros_like(self._today)
        line = merged(news, [family.facts], owner)
        changed = len(line.changed())
        cut(line, family, number, today)
        remain = line.changed()
        partition = self._lanes.of(number).batch.partition
        account(partition, 1, changed, len(remain), len(news.expired()))
        births = Ragged.of([family.births()], BIRTH)
        sight = Sight(countable(line, {0: family.gone()}), births, owner)
        for block in self._work_out(sight, remain, np.array([family.band > 0])):
            self._changes[number] = Change(block, 0, *block.found.rows())
        family.facts = keep(line, remain, owner, self._today).get(0, family.facts)

    def _work_out(self, sight: Sight, numbers: Ints, banded: Bools) -> list[Block]:
        """Features after these records, a block at a time, and scores just before them.

        Args:
            banded: by index, whether the family has a band, from which it may fall back.
        """
        worked: list[tuple[Rows, Features, Ints]] = []
        alike = self._alike(sight.owner, numbers)
        score, before = np.full((2, len(self._records)), _UNKNOWN)
        for part in self._by_content(numbers):
            # Of families with a band also what they held before the record, on its day: of that the score alone.
            asked = part[banded[sight.owner[part]] & (alike[part] < 0)]
            number, after = np.concatenate((part, asked)), np.concatenate((part, asked - 1))
            size = sight.line.sizes()[sight.owner[number]]
            cuts = np.diff(size.cumsum() // BLOCK_FACTS).nonzero()[0] + 1
            first = 0
            for own, held in zip(np.split(number, cuts), np.split(after, cuts), strict=True):
                judged = min(max(len(part) - first, 0), len(own))
                rows = self._rows(sight, held, own)
                found = features(self._compiled(part), rows, judged=judged)
                told, first = found.scores(_UNKNOWN), first + len(own)
                score[own[:judged]], before[own[judged:]] = told[:judged], told[judged:]
                if judged:
                    worked.append((rows, found.first(judged), own[:judged]))
            late = part[(alike[part] < 0) & self._raised(sight, part, score, banded)]
            if len(late):
                rows = self._rows(sight, late - 1, late)
                before[late] = features(self._compiled(late), rows, judged=0).scores(_UNKNOWN)
        known = numbers[alike[numbers] >= 0]
        before[known] = score[alike[known]]
        return [Block(sight, rows, found, own, before[own]) for rows, found, own in worked]

    def _raised(self, sight: Sight, numbers: Ints, score: Ints, banded: Bools) -> Bools:
        """Which of these records are of families that had no band and may have got one by an earlier of them."""
        owner, since = sight.owner[numbers], np.full(len(banded), len(self._records))
        crossed = (score[numbers] >= self._compiled(numbers).lines[0]) & ~banded[owner]
        np.minimum.at(since, owner[crossed], numbers[crossed])
        return numbers > since[owner]

    def _alike(self, owner: Ints, numbers: Ints) -> Ints:
        """By number: the change of the family after which the score is the one before this record, -1 where none is.

        It is the change before this one, if on the same day and under the same content.
        """
        found = np.full(len(self._records), -1)
        order = numbers[owner[numbers].argsort(kind="stable")]
        before, after = order[:-1], order[1:]
        same = owner[before] == owner[after]
        for held in (self._today, self._content_of):
            same &= held[before] == held[after]
        found[after[same]] = before[same]
        return found

    def _by_content(self, numbers: Ints) -> Iterator[Ints]:
        """The numbers by what is in force at them, and since when their authority has been listened to."""
        contents = self._content_of[numbers]
        for content in sorted(set(contents.tolist())):
            yield numbers[contents == content]

    def _rows(self, sight: Sight, after: Ints, numbers: Ints) -> Rows:
        """The families of these records after others, on the days of these."""
        since, owners = self._scene(int(numbers[0])).since, sight.owner[numbers]
        return sight.rows(since, after, owners, self._today[numbers])

    def _compiled(self, numbers: Ints) -> Compiled:
        """What is in force at the first of these records."""
        return self._scene(int(numbers[0])).compiled

    def _calm_throughout(self, blocks: Sequence[Block], latest: Ints) -> Bools:
        """By index: families that none of the records makes loud, nor time until their `latest` moment."""
        held, restarts = self._held, np.zeros(len(self._records), bool)
        restarts[list(self.restarts)] = True
        quiet = held.still(latest) & ~self.apart
        for block in blocks:
            owners, found, compiled = block.owners(), block.found, self._compiled(block.number)
            head = held.head[owners]
            met = owners[(found.rules != 0) & quiet[owners]]
            cool = calm.cooling(held, compiled, met, latest)[owners]
            loud = calm.loud(compiled, found, head, block.before, cool)
            loud |= restarts[block.number] & (head["below"] != NONE)
            quiet[owners[loud | block.sight.line.undoes(block.number)]] = False
        return quiet

    def _tell_calm(self, blocks: Sequence[Block]) -> NDArray[np.void]:
        """Tell the calm families' scores. Returns the heads of all families, which remember them."""
        parts = [self._seen(block, self._calm[block.owners()]) for block in blocks]
        if not parts:
            return self._held.head
        seen = Seen(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        telling, head = calm.tell(self._held, seen, self._scenes)
        offset = np.array([record.offset for record in self._records], np.int64)
        writers = [score_writer(scene) for scene in self._scenes]
        for lane, part in zip(self._lanes, self._lanes.parts(telling.number), strict=True):
            if not lane.batch.silent:
                lane.batch.scores += telling.part(part).written(self._held, writers, offset)
        return head

    def _seen(self, block: Block, chosen: Bools) -> Seen:
        number, owner, found = block.number[chosen], block.owners()[chosen], block.found
        scene, day = self._scene_of[number], self._today[number]
        sources = sources_index(found.spells[chosen], found.states[chosen])
        return Seen(number, owner, scene, day, found.score[chosen], sources)

    def _of_others(self, block: Block) -> Iterator[tuple[int, Change]]:
        """The records of families that are not calm, and what they changed."""
        chosen = (~self._calm[block.owners()]).nonzero()[0]
        places = zip(block.number[chosen].tolist(), chosen.tolist(), strict=True)
        for (number, at), row in zip(places, block.found.rows(chosen), strict=True):
            yield number, Change(block, at, row)

    def _scene(self, number: int) -> Scene:
        return self._scenes[int(self._scene_of[number])]


def _distinct(scenes: Sequence[Scene | None]) -> tuple[list[Scene], Ints]:
    """The scenes, each once, and the index of each record's among them; -1: it has none."""
    met = {id(scene): scene for scene in scenes if scene is not None}
    place = {name: at for at, name in enumerate(met)}
    return list(met.values()), np.array([place.get(id(scene), -1) for scene in scenes], np.int64)


def _contents(scenes: Sequence[Scene]) -> Ints:
    """A number for each scene, equal where the same is in force and the authority has been listened to as long."""
    met: dict[tuple[Compiled, int], int] = {}
    numbers = [met.setdefault((scene.compiled, scene.since), len(met)) for scene in scenes]
    return np.array([*numbers, -1], np.int64)  # the last for records that have no scene
