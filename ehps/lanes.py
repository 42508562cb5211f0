"""The partitions of a batch side by side, so that their features are worked out in the same array operations.

These cost the same for a few records as for a few dozen. Nothing else is shared: a family belongs to its lane, even
where another lane has one of that name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter

import numpy as np

from ehps.batch import Batch
from ehps.calendar import Bools, Ints
from ehps.log import LogRecord, RecordKind
from ehps.policy import Scene
from ehps.state import Family

FACT_KINDS = frozenset({RecordKind.EVENT, RecordKind.RETRACTION})
_TELLS_FACTS = np.zeros(256, bool)
_TELLS_FACTS[list(FACT_KINDS)] = True


@dataclass(slots=True)
class Lane:
    """One partition's records, which are numbered on from those of the lane before.

    Args:
        first: number of its first record.
        scenes: where and when each record is judged, None where nothing is in force or nothing happens.
        index: of its families that are told facts, among those of all lanes.
    """

    batch: Batch
    records: Sequence[LogRecord]
    scenes: Sequence[Scene | None]
    first: int
    index: dict[str, int] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """Number of the next lane's first record."""
        return self.first + len(self.records)


class Lanes:
    """All of them.

    Attributes:
        records, kinds, scenes: by number.
        numbers: of the records that tell facts.
        owner: of each record that tells facts, the index of its family.
        keys: the families, by index.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        """Records and families are numbered lane by lane."""
        self._lanes = lanes
        self._of = [lane for lane in lanes for _ in lane.records]
        self._bounds = np.array([0, *(lane.end for lane in lanes)])
        self.records = [record for lane in lanes for record in lane.records]
        self.scenes = [scene for lane in lanes for scene in lane.scenes]
        self.kinds = np.array([record.compact[0] for record in self.records], np.uint8)
        self.numbers: Ints = _TELLS_FACTS[self.kinds].nonzero()[0]
        self.owner = np.zeros(len(self.records), np.int64)
        self.keys: list[str] = []
        for lane, part in zip(lanes, self.parts(self.numbers), strict=True):
            own = self.numbers[part]
            keys = [self.records[number].family for number in own.tolist()]
            lane.index = {key: at for at, key in enumerate(dict.fromkeys(keys), len(self.keys))}
            self.owner[own] = [lane.index[key] for key in keys]
            self.keys += lane.index
        self._home = [lane for lane in lanes for _ in lane.index]

    def __iter__(self) -> Iterator[Lane]:
        """One after the other."""
        return iter(self._lanes)

    def parts(self, numbers: Ints) -> list[slice]:
        """Where each lane's own are among ascending numbers."""
        bounds = numbers.searchsorted(self._bounds).tolist()
        return [slice(*ends) for ends in pairwise(bounds)]

    def counts(self, numbers: Ints) -> list[int]:
        """How many of these ascending numbers are of each lane."""
        return [part.stop - part.start for part in self.parts(numbers)]

    def of(self, number: int) -> Lane:
        """The lane of a record."""
        return self._of[number]

    def raw(self) -> list[bytes | None]:
        """Each family's state as it was read."""
        return [lane.batch.raw[key] for key, lane in zip(self.keys, self._home, strict=True)]

    def home(self, owner: int) -> Lane:
        """The lane of a family."""
        return self._home[owner]

    def family(self, owner: int) -> Family:
        """A family's working copy."""
        return self._home[owner].batch.family(self.keys[owner])

    def families_with(self, chosen: Bools) -> Bools:
        """By index: the families that one of the chosen records is of."""
        found = np.zeros(len(self.keys), bool)
        for number in chosen.nonzero()[0].tolist():
            owner = self._of[number].index.get(self.records[number].family)
            if owner is not None:
                found[owner] = True
        return found

    def latest(self, known: Ints) -> Ints:
        """By index: the latest of the moments at which the records of the family's lane are judged.

        Args:
            known: of each record by number, seconds since 1970.
        """
        found = np.zeros(len(self.keys), np.int64)
        families = 0
        for lane in filter(attrgetter("index"), self._lanes):
            end = families + len(lane.index)
            found[families:end] = known[lane.first : lane.end].max()
            families = end
        return found
