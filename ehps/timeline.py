"""Which facts each family held after each record of a batch, found for all families of the batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ehps.calendar import local_day
from ehps.facts import FACT, NEVER, Facts, version

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Timeline(NamedTuple):
    """Every fact version of the batch, sorted by family and key, and the records between which it held.

    Family f's versions are `starts[f]:starts[f+1]`. A version holds after record r where birth <= r < death;
    births of facts held before the batch are -1, those of versions that never won are NEVER. `days` are the
    days on which they occurred; `replaced` are the records that displaced another version.
    """

    facts: Facts
    days: Ints
    starts: Ints
    birth: Ints
    death: Ints
    replaced: set[int]

    def changed(self) -> Ints:
        """Records that changed a set, ascending."""
        return np.unique(self.birth[(self.birth >= 0) & (self.birth < NEVER)])

    def standing(self) -> Bools:
        """Versions that hold after the last record."""
        holds: Bools = (self.birth < NEVER) & (self.death == NEVER)
        return holds

    def only(self, keep: Bools) -> Timeline:
        """The same with the versions of `keep` alone."""
        starts = np.concatenate(([0], np.cumsum(keep)))[self.starts]
        facts, days, birth, death = (
            self.facts[keep],
            self.days[keep],
            self.birth[keep],
            self.death[keep],
        )
        return Timeline(facts, days, starts, birth, death, self.replaced)

    def rows(self, records: Ints, family: Ints) -> tuple[Ints, Ints]:
        """One row a record: the facts that its family held after it.

        Returns:
            Indices into `facts`, row after row, and where each row starts among them.
        """
        first, size = self.starts[family], self.starts[family + 1] - self.starts[family]
        row = np.repeat(np.arange(len(records)), size)
        index = np.arange(len(row)) - np.repeat(np.cumsum(size) - size - first, size)
        holds = (self.birth[index] <= records[row]) & (records[row] < self.death[index])
        return index[holds], np.concatenate(([0], np.cumsum(holds)))[
            np.concatenate(([0], np.cumsum(size)))
        ]


def timeline(held: Sequence[bytes], new: Facts, family: Ints, record: Ints) -> Timeline:
    """Merge new fact versions, in the order of their records, into the sets that families held.

    Args:
        held: bytes of one set a family, sorted by key.
        new: versions that arrived; `family` and `record` are their family's index and record's number.
    """
    facts = np.frombuffer(b"".join((*held, new.tobytes())), FACT)
    sizes = np.array([len(raw) for raw in held], np.int64) // FACT.itemsize
    owner = np.concatenate((np.repeat(np.arange(len(held)), sizes), family))
    birth = np.concatenate((np.full(len(facts) - len(new), -1), record)).astype(np.int64)
    when = owner << 32 | facts["occurred"]
    order = np.lexsort((facts["slot"].astype(np.int64) << 32 | (birth + 1), facts["id"], when))
    facts, when, birth = facts[order], when[order], birth[order]
    death = np.full(len(facts), NEVER, np.int64)
    same = np.flatnonzero(when[1:] == when[:-1]) + 1
    same = same[
        (facts["id"][same] == facts["id"][same - 1])
        & (facts["slot"][same] == facts["slot"][same - 1])
    ]
    replaced: set[int] = set()
    for second in same.tolist():
        _settle(facts, birth, death, second, replaced)
    starts = np.searchsorted(when >> 32, np.arange(len(held) + 1)).astype(np.int64)
    days = local_day(facts["occurred"].astype(np.int64))
    return Timeline(facts, days, starts, birth, death, replaced)


def _settle(facts: Facts, birth: Ints, death: Ints, challenger: int, replaced: set[int]) -> None:
    """One version meets the one that holds its key: the latest before it that was born and has not died."""
    holder = challenger - 1
    while birth[holder] == NEVER or death[holder] != NEVER:
        holder -= 1
    if version(facts[challenger]) > version(facts[holder]):
        death[holder] = birth[challenger]
        replaced.add(int(birth[challenger]))
    else:
        birth[challenger] = NEVER
