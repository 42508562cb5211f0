"""Which facts a family held after each record of a batch, found for all families of the batch at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ehps.facts import NEVER, Facts, together, version

Ints = NDArray[np.int64]


class Timeline(NamedTuple):
    """Every fact version of the batch, sorted by family and key, and the records between which it held.

    Family f's versions are `starts[f]:starts[f+1]`. A version holds after record r where birth <= r < death; births
    of facts held before the batch are -1. `replaced` marks records that displaced another version.
    """

    facts: Facts
    starts: Ints
    birth: Ints
    death: Ints
    replaced: set[int]

    def after(self, family: int, record: int) -> Facts:
        """The family's facts after `record`, sorted by key."""
        part = slice(self.starts[family], self.starts[family + 1])
        holds = (self.birth[part] <= record) & (record < self.death[part])
        return self.facts[part] if holds.all() else self.facts[part][holds]


def timeline(held: list[Facts], new: Facts, family: Ints, record: Ints) -> Timeline:
    """Merge new fact versions, in the order of their records, into the sets that families held.

    Args:
        held: one set a family, sorted by key.
        new: versions that arrived; `family` and `record` are their family's index and record's number.
    """
    sizes = np.array([len(facts) for facts in held], np.int64)
    facts = together((*held, new))
    owner = np.concatenate((np.repeat(np.arange(len(held)), sizes), family))
    birth = np.concatenate((np.full(sizes.sum(), -1), record)).astype(np.int64)
    order = np.lexsort((birth, facts["slot"], facts["id"], facts["occurred"], owner))
    facts, owner, birth = facts[order], owner[order], birth[order]
    death = np.full(len(facts), NEVER, np.int64)
    same = (
        (owner[1:] == owner[:-1])
        & (facts["occurred"][1:] == facts["occurred"][:-1])
        & (facts["id"][1:] == facts["id"][:-1])
        & (facts["slot"][1:] == facts["slot"][:-1])
    )
    replaced: set[int] = set()
    for second in (np.flatnonzero(same) + 1).tolist():
        _settle(facts, birth, death, second, replaced)
    starts = np.searchsorted(owner, np.arange(len(held) + 1)).astype(np.int64)
    return Timeline(facts, starts, birth, death, replaced)


def _settle(facts: Facts, birth: Ints, death: Ints, challenger: int, replaced: set[int]) -> None:
    """One version meets the one that holds its key: the latest before it that was ever born and has not died."""
    holder = challenger - 1
    while birth[holder] == NEVER or death[holder] != NEVER:
        holder -= 1
    if version(facts[challenger]) > version(facts[holder]):
        death[holder] = birth[challenger]
        replaced.add(int(birth[challenger]))
    else:
        birth[challenger] = NEVER


__all__ = ["Timeline", "timeline"]
