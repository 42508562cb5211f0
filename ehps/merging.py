"""New facts merged into what families held, and what became of each record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ehps.calendar import Bools, Ints, local_day
from ehps.errors import InvariantBroken
from ehps.facts import FACT, KEPT_OF, NEVER, VOID, WIRE_BYTES, Facts, from_wire, retained
from ehps.log import HEAD_BYTES, LogRecord, RecordKind
from ehps.state import Family, Partition
from ehps.stepdown import RESTARTS
from ehps.timeline import Timeline, timeline


class Told(NamedTuple):
    """The facts that records tell, in order: `number` is the record's, `kept` says which are not past keeping."""

    facts: Facts
    number: Ints
    kept: Bools

    def part(self, part: slice) -> Told:
        """Those of one stretch."""
        return Told(self.facts[part], self.number[part], self.kept[part])

    def expired(self) -> Ints:
        """Records of which all facts are past keeping, ascending."""
        facts = np.bincount(self.number)
        fresh = np.bincount(self.number[self.kept], minlength=len(facts))
        found: Ints = ((facts > 0) & (fresh == 0)).nonzero()[0]
        return found

    def only(self, chosen: Bools) -> Told:
        """Those of some records."""
        return Told(self.facts.take(chosen.nonzero()[0]), self.number[chosen], self.kept[chosen])


def told(records: Sequence[LogRecord], numbers: Sequence[int], known: Ints, today: Ints) -> Told:
    """What the records of these numbers tell.

    Args:
        known, today: log time (seconds) and day of every record of the batch.

    Raises:
        InvariantBroken: the facts of a record are not of this version.
    """
    packed = [records[number].compact[HEAD_BYTES:] for number in numbers]
    sizes, over = np.divmod(np.array([len(raw) for raw in packed], np.int64), WIRE_BYTES)
    if over.any():
        bad = records[numbers[int(over.nonzero()[0][0])]].offset
        raise InvariantBroken(
            f"the facts of record {bad} are not whole: another version wrote them"
        )
    number = np.array(numbers, np.int64).repeat(sizes)
    facts = from_wire(b"".join(packed), known[number])
    age = today[number] - local_day(facts["occurred"].astype(np.int64))
    return Told(facts, number, age <= KEPT_OF[facts["kind"]])


def merged(news: Told, held: Sequence[bytes], owner: Ints) -> Timeline:
    """Told facts in what families held; `owner` is the index of each record's family, by record number."""
    number = news.number[news.kept]
    facts = news.facts.take(news.kept.nonzero()[0])
    return timeline(held, facts, owner[number], number)


def cut(line: Timeline, family: Family, number: int, today: int) -> None:
    """Hold one family within its bounds after the one record that was merged: what gives way ends with it."""
    standing = line.standing().nonzero()[0]
    kept, over = retained(line.facts.take(standing), today)
    gone = standing[~kept]
    line.death[gone] = number
    line.birth[gone[line.birth[gone] == number]] = NEVER
    family.over |= over


def account(partition: Partition, records: int, changed: int, kept: int, expired: int) -> None:
    """Each record once: applied, evicted, expired, or a duplicate.

    Args:
        changed, kept: records that changed a set, and those of them that still do within the bounds.
        expired: records of which all facts are past keeping.
    """
    partition.count("applied", kept)
    partition.count("evicted", changed - kept)
    partition.count("expired", expired)
    partition.count("duplicate", records - changed - expired)


def restarts(news: Told, records: Sequence[LogRecord]) -> set[int]:
    """Events after which quiet days start again: the child or the home moved."""
    live = RESTARTS[news.facts["kind"]] & (news.facts["flags"] & VOID == 0) & news.kept
    moved = set(news.number[live].tolist())
    return {number for number in moved if records[number].kind == RecordKind.EVENT}


def countable(line: Timeline, gone: Mapping[int, list[int]]) -> Timeline:
    """The versions that count: not those of people who left, whose hashes `gone` holds by index of their family."""
    hidden = np.zeros(len(line.facts), bool)
    for owner, people in gone.items():
        part = slice(line.starts[owner], line.starts[owner + 1])
        hidden[part] = np.isin(line.facts["person"][part], people)
    return line.only(~hidden) if hidden.any() else line


def keep(line: Timeline, changed: Ints, owner: Ints, today: Ints) -> dict[int, bytes]:
    """The new sets of families that changed: what stands, less what was past keeping on the day of the last change.

    Args:
        changed: the records that changed a set.
        owner, today: index of the family, and the day, of each record by number.

    Returns:
        Bytes of the facts, by index of the family.
    """
    day = np.zeros(len(line.starts) - 1, np.int64)
    np.maximum.at(day, owner[changed], today[changed])
    kept = (line.standing() & (day.repeat(line.sizes()) <= line.last)).nonzero()[0]
    bounds = (kept.searchsorted(line.starts) * FACT.itemsize).tolist()
    raw = line.facts.take(kept).tobytes()
    return {at: raw[bounds[at] : bounds[at + 1]] for at in sorted(set(owner[changed].tolist()))}
