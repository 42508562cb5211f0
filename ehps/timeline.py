"""Which facts each family held after each record of a batch, found for all families of the batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ehps.calendar import Bools, Ints, local_day
from ehps.facts import FACT, KEPT_OF, NEVER, Facts, version

_OPAQUE = np.dtype(f"V{FACT.itemsize}")


class Timeline(NamedTuple):
    """Every fact version of the batch, sorted by family and key, and the records between which it held.

    Family f's versions are `starts[f]:starts[f+1]`. A version holds after record r where birth <= r < death;
    births of facts held before the batch are -1, those of versions that never won are NEVER. `days` are the
    days on which they occurred, `last` those after which they are forgotten; `replaced` are the records that
    displaced another version.
    """

    facts: Facts
    days: Ints
    last: Ints
    starts: Ints
    birth: Ints
    death: Ints
    replaced: set[int]

    def changed(self) -> Ints:
        """Records that changed a set, ascending."""
        return np.unique(self.birth[(self.birth >= 0) & (self.birth < NEVER)])

    def undoes(self, numbers: Ints) -> Bools:
        """Which of the records displaced another version."""
        if not self.replaced:
            return np.zeros(len(numbers), bool)
        return np.isin(numbers, list(self.replaced))

    def sizes(self) -> Ints:
        """How many versions each family has."""
        return self.starts[1:] - self.starts[:-1]

    def standing(self) -> Bools:
        """Versions that hold after the last record."""
        holds: Bools = (self.birth < NEVER) & (self.death == NEVER)
        return holds

    def only(self, keep: Bools) -> Timeline:
        """The same with the versions of `keep` alone."""
        starts = np.concatenate(([0], keep.cumsum()))[self.starts]
        chosen = keep.nonzero()[0]
        facts, days, last = self.facts.take(chosen), self.days[chosen], self.last[chosen]
        birth, death = self.birth[chosen], self.death[chosen]
        return Timeline(facts, days, last, starts, birth, death, self.replaced)

    def rows(self, records: Ints, family: Ints, today: Ints) -> tuple[Ints, Ints]:
        """One row a record: the facts that its family held after it, less those forgotten by its day.

        Returns:
            Indices into `facts`, row after row, and where each row starts among them.
        """
        first, size = self.starts[family], self.starts[family + 1] - self.starts[family]
        row = np.arange(len(records)).repeat(size)
        ends = size.cumsum()
        index = np.arange(len(row)) - (ends - size - first).repeat(size)
        at = records[row]
        holds = (self.birth[index] <= at) & (at < self.death[index])
        holds &= today[row] <= self.last[index]
        starts = np.concatenate(([0], holds.cumsum()))[np.concatenate(([0], ends))]
        return index[holds], starts

    def facts_at(self, record: int, family: int, day: int) -> Facts:
        """What one family held after a record, less what is forgotten by `day`."""
        index, _ = self.rows(np.array([record]), np.array([family]), np.array([day]))
        return self.facts.take(index)


def timeline(held: Sequence[bytes], new: Facts, family: Ints, record: Ints) -> Timeline:
    """Merge new fact versions, in the order of their records, into the sets that families held.

    Args:
        held: bytes of one set a family, sorted by key.
        new: versions that arrived; `family` and `record` are their family's index and record's number.
    """
    old = np.frombuffer(b"".join(held), FACT)
    sizes = np.array([len(raw) for raw in held], np.int64) // FACT.itemsize
    when_old = (np.arange(len(held)) << 32).repeat(sizes) | old["occurred"]
    when_new = family << 32 | new["occurred"]
    order = np.lexsort((record, new["slot"], new["id"], when_new))
    new, when_new, record = new.take(order), when_new[order], record[order]
    place = _places(old, when_old, new, when_new) + np.arange(len(new))
    kept = np.ones(len(old) + len(new), bool)
    kept[place] = False

    def woven(before: NDArray[Any], arrived: NDArray[Any]) -> NDArray[Any]:
        both = np.empty(len(kept), arrived.dtype)
        both[kept], both[place] = before, arrived
        return both

    # As opaque bytes: numpy would copy a record type field by field, which takes thirty times as long.
    facts = woven(old.view(_OPAQUE), new.view(_OPAQUE)).view(FACT)
    when = woven(when_old, when_new)
    birth, death = woven(np.full(len(old), -1), record), np.full(len(facts), NEVER, np.int64)
    replaced: set[int] = set()
    for second in _same_key(facts, when, place).tolist():
        _settle(facts, birth, death, second, replaced)
    starts = (when >> 32).searchsorted(np.arange(len(held) + 1)).astype(np.int64)
    days = local_day(facts["occurred"].astype(np.int64))
    return Timeline(facts, days, days + KEPT_OF[facts["kind"]], starts, birth, death, replaced)


def _places(old: Facts, when_old: Ints, new: Facts, when_new: Ints) -> Ints:
    """Before which of the held facts each new one belongs: after those of a lower or equal key."""
    place = when_old.searchsorted(when_new, "left")
    end = when_old.searchsorted(when_new, "right")
    for at in (place < end).nonzero()[0].tolist():  # facts of one family and second: few
        key, here = _part(new[at]), int(place[at])
        while here < end[at] and _part(old[here]) <= key:
            here += 1
        place[at] = here
    return place.astype(np.int64)


def _part(fact: np.void) -> tuple[int, int]:
    return int(fact["id"]), int(fact["slot"])


def _same_key(facts: Facts, when: Ints, place: Ints) -> Ints:
    """Those of the places where the version before has the same key."""
    second = place[place > 0]
    same = when[second] == when[second - 1]
    for name in ("id", "slot"):
        same &= facts[name][second] == facts[name][second - 1]
    found: Ints = second[same]
    return found


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
