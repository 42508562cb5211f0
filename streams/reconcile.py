"""Proof that nothing was lost: every record that was read is joined with what came of it.

Records of the log, of the parking topic and of the dead-letter topics name the record they came
from (topic, partition, offset). What was read and is named by none of them is unaccounted for. It is
a join record by record, not a comparison of sums: two errors cannot cancel out. What retention
removed before it could be looked at is "unverifiable", never "ok".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import redis

from ehps.log import RecordKind
from ehps.state import Partition
from schemas.topics import (
    AGENCY_TOPICS,
    DECISIONS,
    LINKS,
    LOG,
    UNLINKED,
    dead_letter_topic,
    source_of,
)
from streams.config import Settings
from streams.deadletters import origin as letter_origin
from streams.groups import Groups
from streams.kafka import partitions_of, watermarks_of
from streams.logwriter import INPUT
from streams.reading import read_topic
from streams.segments import Record
from streams.store import RedisStore

LISTED_MAX = 100
"""Coordinates listed one by one; further ones are counted."""

_READ, _LOGGED, _PARKED, _DEAD = 1, 2, 4, 8
_BASE_STEP = 1 << 16

Place = tuple[str, int]
Coordinate = tuple[str, int, int]

FACT_OUTCOMES = ("applied", "duplicate", "expired", "evicted")
"""What the scorer counts a record with facts as, each record once."""


@dataclass(slots=True)
class TopicCount:
    """What became of the records of one input topic."""

    read: int = 0
    logged: int = 0
    parked: int = 0
    dead_lettered: int = 0
    waiting: int = 0
    unaccounted: int = 0
    twice: int = 0
    unverifiable: int = 0


class Marks:
    """A byte of marks for each offset of one partition, from the first offset seen."""

    def __init__(self) -> None:
        self._base = -1
        self._marks = bytearray()

    def add(self, offset: int, mark: int) -> None:
        """Mark an offset."""
        if self._base < 0:
            self._base = max(0, offset - offset % _BASE_STEP)
        if offset < self._base:
            self._marks[:0] = bytes(self._base - offset)
            self._base = offset
        at = offset - self._base
        if at >= len(self._marks):
            self._marks.extend(bytes(at + 1 - len(self._marks)))
        self._marks[at] |= mark

    def items(self) -> Iterable[tuple[int, int]]:
        """Offsets that have a mark, ascending."""
        return ((self._base + at, mark) for at, mark in enumerate(self._marks) if mark)


@dataclass(slots=True)
class Ledger:
    """Collects what was read and what came of it, then joins the two.

    Args:
        committed: for each topic and partition the offset that intake has finished.
        first: for each topic and partition the oldest offset still kept.

    Attributes:
        unapplied: records of the log, made of inputs, that the scorer's states do not hold yet.
    """

    committed: Mapping[Place, int]
    first: Mapping[Place, int] = field(default_factory=dict)
    kinds: Counter[int] = field(default_factory=Counter)
    log_without_input: int = 0
    unapplied: int = 0
    _marks: dict[Place, Marks] = field(default_factory=dict)

    def read(self, record: Record) -> None:
        """A record of an input topic."""
        self._mark((record.topic, record.partition, record.offset), _READ)

    def logged(self, record: Record, applied_to: int) -> None:
        """A record of the log; kinds are counted up to `applied_to`, where the scorer's state stands."""
        compact = dict(record.headers).get("ehps", b"")
        if compact and record.offset < applied_to:
            self.kinds[compact[0]] += 1
        origin = origin_of(record)
        if origin is not None:
            self.unapplied += record.offset >= applied_to
            self._mark(origin, _LOGGED)
        elif compact and compact[0] not in (RecordKind.HEARTBEAT, RecordKind.CONTROL):
            self.log_without_input += 1

    def parked(self, record: Record) -> None:
        """A record of the parking topic."""
        origin = origin_of(record)
        if origin is not None:
            self._mark(origin, _PARKED)

    def dead_lettered(self, record: Record) -> None:
        """A record of a dead-letter topic."""
        origin = letter_origin(record)
        if origin is not None:
            self._mark(origin, _DEAD)

    def _mark(self, coordinate: Coordinate, mark: int) -> None:
        topic, partition, offset = coordinate
        # What came of inputs that retention has removed would take a byte each, for ever.
        if offset >= self.first.get((topic, partition), 0):
            self._marks.setdefault((topic, partition), Marks()).add(offset, mark)

    def join(self, topics: Iterable[str]) -> tuple[dict[str, TopicCount], list[Coordinate]]:
        """Counts by topic, and coordinates that ended in no way or in two (at most `LISTED_MAX`)."""
        counts = {topic: TopicCount() for topic in topics}
        listed: list[Coordinate] = []
        for (topic, partition), marks in sorted(self._marks.items()):
            count = counts.get(topic)
            if count is None:
                continue
            done = self.committed.get((topic, partition), 0)
            count.unverifiable += self.first.get((topic, partition), 0)
            for offset, mark in marks.items():
                if (
                    not self._tally(count, mark, finished=offset < done)
                    and len(listed) < LISTED_MAX
                ):
                    listed.append((topic, partition, offset))
        return counts, listed

    def _tally(self, count: TopicCount, mark: int, *, finished: bool) -> bool:
        """Count one record; False where its ending is wrong."""
        if not mark & _READ:
            return True  # removed since by retention or compaction; what came of it is there
        count.read += 1
        if mark & _LOGGED and mark & _DEAD:
            count.twice += 1
            return False
        if mark & _LOGGED:
            count.logged += 1
        elif mark & _DEAD:
            count.dead_lettered += 1
        elif mark & _PARKED:
            count.parked += 1
        elif not finished:
            count.waiting += 1
        else:
            count.unaccounted += 1
            return False
        return True


def origin_of(record: Record) -> Coordinate | None:
    """The input record that a log or parked record came from."""
    text = dict(record.headers).get(INPUT)
    if not text:
        return None
    topic, partition, offset = text.decode().rsplit("/", 2)
    return topic, int(partition), int(offset)


MEMBERSHIP_OUTCOMES = ("membership", "membership_duplicate")
DECISION_OUTCOMES = ("decision", "decision_duplicate", "decision_unmatched")
_OUTCOMES = {
    "records with facts": (FACT_OUTCOMES, (RecordKind.EVENT, RecordKind.RETRACTION)),
    "memberships": (MEMBERSHIP_OUTCOMES, (RecordKind.MEMBERSHIP,)),
    "decisions": (DECISION_OUTCOMES, (RecordKind.DECISION,)),
}
"""What the scorer counts of each kind of record: one of these for every one."""


def counter_problems(counts: Mapping[str, int], kinds: Mapping[int, int]) -> list[str]:
    """Where the scorer's own counts do not add up to the log records it has read."""
    found = []
    for what, (names, of_kind) in _OUTCOMES.items():
        counted = sum(counts.get(name, 0) for name in names)
        logged = sum(kinds.get(kind, 0) for kind in of_kind)
        if counted != logged:
            found.append(f"the log has {logged} {what}, the scorer counted {counted}")
    return found


def summary(
    counts: Mapping[str, TopicCount],
    listed: list[Coordinate],
    outcomes: Mapping[str, int],
    problems: list[str],
) -> dict[str, Any]:
    """The account as one document; `ok` only where every record ended in exactly one way."""
    names = [item.name for item in fields(TopicCount)]
    totals = {name: sum(getattr(count, name) for count in counts.values()) for name in names}
    return {
        "ok": not totals["unaccounted"] and not totals["twice"] and not problems,
        **totals,
        **{name: outcomes.get(name, 0) for name in FACT_OUTCOMES},
        "outcomes": dict(sorted(outcomes.items())),
        "topics": {
            topic: {name: getattr(count, name) for name in names}
            for topic, count in counts.items()
            if count.read or count.unverifiable
        },
        "unaccounted_records": ["/".join(map(str, at)) for at in listed],
        "problems": problems,
    }


def reconcile(settings: Settings, client: redis.Redis) -> dict[str, Any]:
    """Account for every record of a running system, or of one that has just come to rest."""
    inputs = (*AGENCY_TOPICS, LINKS, DECISIONS)
    marks = watermarks_of(settings.kafka, inputs)
    ledger = Ledger(_committed(settings, marks), _first(settings, marks))
    # Inputs before outputs: what is read later was there when its origin was.
    for topic in inputs:
        for record in read_topic(settings.kafka, topic, settings.segments):
            ledger.read(record)
    store, outcomes = RedisStore(client), Counter[str]()
    for partition in range(partitions_of(settings.kafka, LOG)):
        applied_to, state = store.offset(partition), store.partition_state(partition)
        outcomes.update(Partition.decode(state).counts)
        for record in read_topic(settings.kafka, LOG, settings.segments, [partition]):
            ledger.logged(record, applied_to)
    for record in read_topic(settings.kafka, UNLINKED, settings.segments):
        ledger.parked(record)
    for topic in inputs:
        name = dead_letter_topic(source_of(topic))
        for record in read_topic(settings.kafka, name, settings.segments):
            ledger.dead_lettered(record)
    counts, listed = ledger.join(inputs)
    account = summary(counts, listed, outcomes, counter_problems(outcomes, ledger.kinds))
    return {**account, "unapplied": ledger.unapplied}


def _committed(
    settings: Settings, marks: Mapping[str, Mapping[int, tuple[int, int]]]
) -> dict[Place, int]:
    groups = Groups(settings.kafka)
    places = [(topic, partition) for topic, found in marks.items() for partition in found]
    events = [at for at in places if at[0] in AGENCY_TOPICS]
    others = [at for at in places if at[0] not in AGENCY_TOPICS]
    return groups.committed(settings.intake_group, events) | groups.committed(
        settings.agents_group, others
    )


def _first(
    settings: Settings, marks: Mapping[str, Mapping[int, tuple[int, int]]]
) -> dict[Place, int]:
    """Oldest offset that can still be read: 0 where segments hold everything."""
    if settings.segments is not None:
        return {}
    return {
        (topic, partition): low
        for topic, found in marks.items()
        for partition, (low, _) in found.items()
    }
