"""The one transition: partition state, family states and records in; new states, alerts and scores out.

The live scorer, the rebuild, the replay and the tests all call `advance`. It reads no clock: log time comes from
heartbeats on the log. It does not matter how the log is cut into batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from typing import NamedTuple

import orjson

from ehps.alerts import Output
from ehps.authority import advance_time, beat_of, hear, in_force, take_control
from ehps.batch import Batch
from ehps.errors import InvariantBroken, KernelFailed
from ehps.facts import epoch_seconds
from ehps.lanes import FACT_KINDS, Lane, Lanes
from ehps.library import Library
from ehps.log import HEAD_BYTES, LogRecord, RecordKind
from ehps.members import decide, join_or_leave
from ehps.policy import Look, Scene, required, settled
from ehps.rescore import fail, tell
from ehps.scoring import Course
from ehps.state import Family
from ehps.stepdown import start_quiet
from ehps.timers import fire
from schemas.control import Control

TIMERS_A_HEARTBEAT_MAX = 1000
"""Families whose timers one heartbeat fires; the rest wait for the next."""

_OF_FAMILIES = FACT_KINDS | {RecordKind.MEMBERSHIP, RecordKind.DECISION}


class Snapshot(NamedTuple):
    """What the store holds for a batch, read atomically.

    Args:
        offset: the next record to apply.
        partition: bytes of the partition state, None before the first record.
        families: state bytes of every family that `needs` named and every family in `due`; None: a new family.
        due: (authority, due in seconds, family) of timers, as `needs` asked, in order of (due, family).
    """

    offset: int
    partition: bytes | None
    families: dict[str, bytes | None]
    due: list[tuple[str, int, str]]


class Step(NamedTuple):
    """What a batch changed.

    Args:
        offset: the next record to apply.
        partition: new bytes of the partition state.
        states: new bytes of the families that changed.
        timers: (authority, family) -> due in seconds, None: no timer any more.
        alerts, scores: messages to send, in order.
        records: how many were applied.
    """

    offset: int
    partition: bytes
    states: dict[str, bytes]
    timers: dict[tuple[str, str], int | None]
    alerts: list[Output]
    scores: list[Output]
    records: int


class Share(NamedTuple):
    """What one partition has of a batch: records, and what the store holds for them.

    Args:
        silent: alerts and scores are not written out, for those who ask for states alone.
    """

    partition: int
    snapshot: Snapshot
    records: Sequence[LogRecord]
    silent: bool = False


class Needs(NamedTuple):
    """What a batch must read: families, and for each authority timers due by `until`, at most `limit`."""

    families: list[str]
    due: list[tuple[str, int, int]]


def needs(records: Sequence[LogRecord]) -> Needs:
    """What `advance` will need for these records."""
    families = list(dict.fromkeys(record.family for record in records if record.family))
    latest: dict[str, int] = {}
    for record in records:
        if not record.family and record.kind == RecordKind.HEARTBEAT:
            latest[record.la] = max(beat_of(record.value).time, latest.get(record.la, 0))
    most = TIMERS_A_HEARTBEAT_MAX + len(families)
    return Needs(families, [(la, until, most) for la, until in sorted(latest.items())])


def advance(
    snapshot: Snapshot,
    records: Sequence[LogRecord],
    library: Library,
    partition_id: int,
    *,
    silent: bool = False,
) -> Step:
    """Apply `records` in order, or the first of them: `Step.records` says how many, at least one.

    Only the first where more timers are due than were read; what remains is advanced from a snapshot of its own.

    Args:
        silent: as for `Share`.

    Raises:
        InvariantBroken: a record that cannot be (an unknown kind, no control in force, one applied before, a gap).
        ContentMissing: a control names content that this process lacks; nothing of the batch may be committed.
    """
    return advance_all([Share(partition_id, snapshot, records, silent)], library)[0]


def advance_all(shares: Sequence[Share], library: Library) -> list[Step]:
    """The same for several partitions, each as if it were alone: at once, a few records of each cost far less."""
    together = lanes_of(shares, library)
    course = Course(together)
    for number in course.rest:
        _apply(together.of(number), course, number)
    course.keep()
    return [step_of(share.snapshot, lane) for share, lane in zip(shares, together, strict=True)]


def lanes_of(shares: Sequence[Share], library: Library) -> Lanes:
    """The partitions side by side: their records, where and when each is judged, and what the store holds for them."""
    lanes: list[Lane] = []
    for share in shares:
        records = _followed(share)
        batch = Batch.load(
            share.snapshot.partition,
            share.snapshot.families,
            share.snapshot.due,
            library,
            share.partition,
            silent=share.silent,
        )
        first = lanes[-1].end if lanes else 0
        lanes.append(Lane(batch, records, _scenes(batch, records), first))
    return Lanes(lanes)


def _followed(share: Share) -> Sequence[LogRecord]:
    """The records that are applied: those that timers were read for, if they follow each other and the state."""
    snapshot, records = share.snapshot, share.records
    if records and records[-1].offset - records[0].offset != len(records) - 1:
        raise InvariantBroken(f"records do not follow each other from {records[0].offset} on")
    if records and records[0].offset < snapshot.offset:
        raise InvariantBroken(
            f"record {records[0].offset} was applied before: the state stands at {snapshot.offset}"
        )
    return _within_reach(snapshot, records)


def step_of(snapshot: Snapshot, lane: Lane) -> Step:
    """What came of a lane."""
    batch, records = lane.batch, lane.records
    return Step(
        records[-1].offset + 1 if records else snapshot.offset,
        batch.partition.encode(),
        batch.changed_states(),
        batch.changed_timers(),
        batch.alerts,
        sorted(batch.scores, key=attrgetter("offset")),
        len(records),
    )


def _within_reach(snapshot: Snapshot, records: Sequence[LogRecord]) -> Sequence[LogRecord]:
    """The records up to the first heartbeat of an authority of which not all due timers may have been read."""
    due = Counter(la for la, _, _ in snapshot.due)
    if max(due.values(), default=0) < TIMERS_A_HEARTBEAT_MAX:
        return records
    for number, record in enumerate(records):
        if record.kind == RecordKind.HEARTBEAT and due[record.la] >= TIMERS_A_HEARTBEAT_MAX:
            return records[: number + 1]
    return records


def _scenes(batch: Batch, records: Sequence[LogRecord]) -> list[Scene | None]:
    """Where and when each record is judged. None: a heartbeat that moves no clock, or nothing in force."""
    now: dict[bytes, Scene | None] = {}
    scenes: list[Scene | None] = []
    for record in records:
        la, ticks = record.compact[1:HEAD_BYTES], True
        if not record.family:
            if record.kind == RecordKind.HEARTBEAT:
                ticks = _beat(batch, record)
            elif record.kind == RecordKind.CONTROL:
                _take_control(batch, record)
            now.pop(la, None)
        if la not in now:
            now[la] = batch.scene(record.la)
        scenes.append(now[la] if ticks else None)
    return scenes


def _take_control(batch: Batch, record: LogRecord) -> None:
    control = Control.model_validate_json(record.value)
    held = batch.authority(record.la)
    effective = epoch_seconds(control.effective)
    taken = take_control(held, control.model_dump(mode="json"), effective)
    batch.partition.authorities[record.la] = taken
    batch.partition.count("control_duplicate" if taken is held else "control")


def _beat(batch: Batch, record: LogRecord) -> bool:
    """Let time pass in an authority, and hear its sources. False: its clock did not move."""
    held, beat = batch.authority(record.la), beat_of(record.value)
    authority = advance_time(held, beat.time)
    if authority.control is not None:
        authority = hear(authority, beat.sources, in_force(authority, batch.library))
    batch.partition.authorities[record.la] = authority
    batch.partition.count("heartbeat")
    return authority.time > held.time


def _apply(lane: Lane, course: Course, number: int) -> None:
    batch, at = lane.batch, number - lane.first
    record, scene = lane.records[at], lane.scenes[at]
    kind = record.kind
    if kind in _OF_FAMILIES:
        _of_family(batch, course, number, record, scene)
    elif kind == RecordKind.HEARTBEAT:
        if scene is not None:
            for key in batch.due_families(record.la, scene.at, TIMERS_A_HEARTBEAT_MAX):
                fire(batch, scene.at_record(record.offset), key, partial(course.facts, number, key))
    elif kind == RecordKind.HANDOFF:
        batch.partition.count("reserved")
    elif kind != RecordKind.CONTROL:
        raise InvariantBroken(f"record {record.offset} has the unknown kind {kind}")


def _of_family(
    batch: Batch, course: Course, number: int, record: LogRecord, scene: Scene | None
) -> None:
    """Its timers due by now, then the record."""
    family = batch.family(record.family)
    due = family.due()
    if due is not None and scene is not None and due <= scene.at:
        facts = partial(course.facts, number, record.family)
        fire(batch, scene.at_record(record.offset), record.family, facts)
    kind = record.kind
    if kind == RecordKind.DECISION:
        decide(batch, record, orjson.loads(record.value))
        return
    scene = required(scene)
    try:
        if kind == RecordKind.MEMBERSHIP:
            here = scene.at_record(record.offset)
            join_or_leave(batch, here, record, orjson.loads(record.value))
        else:
            _judge(batch, course, number, record, scene, family)
    except KernelFailed:
        fail(batch, scene.at_record(record.offset), record.family, family)


def _judge(
    batch: Batch, course: Course, number: int, record: LogRecord, scene: Scene, family: Family
) -> None:
    """A record with facts: if it told something new, the family is looked at."""
    change = course.change(number)
    if change is None:
        return
    scene = scene.at_record(record.offset)
    look = Look(record.family, family, change.facts, settled(change.row))
    tell(batch, scene, look, course.before(number, change), "record")
    if number in course.restarts and family.below_since is not None:
        start_quiet(scene.content, family, look.row.spells, scene.day)
        batch.note_timer(record.family, family)
