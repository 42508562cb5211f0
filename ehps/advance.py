"""The one transition: partition state, family states and records in; new states, alerts and scores out.

The live scorer, the rebuild, the replay and the tests all call `advance`. It reads no clock: log time comes from
heartbeats on the log. It does not matter how the log is cut into batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import orjson

from ehps.alerts import Output
from ehps.authority import advance_time, hear, take_control
from ehps.batch import Batch
from ehps.errors import InvariantBroken
from ehps.facts import epoch_seconds
from ehps.library import Library
from ehps.log import LogRecord, RecordKind
from ehps.members import decide, join_or_leave
from ehps.scoring import score_records
from ehps.timers import fire
from schemas.control import Control, Heartbeat

TIMERS_A_HEARTBEAT_MAX = 1000
"""Families whose timers one heartbeat fires; the rest wait for the next."""

_FACTS = {RecordKind.EVENT, RecordKind.RETRACTION}


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


class Needs(NamedTuple):
    """What a batch must read: families, and for each authority timers due by `until`, at most `limit`."""

    families: list[str]
    due: list[tuple[str, int, int]]


def needs(records: Sequence[LogRecord]) -> Needs:
    """What `advance` will need for these records."""
    families = list(dict.fromkeys(record.family for record in records if record.family))
    beats: dict[str, list[int]] = {}
    for record in records:
        if record.kind == RecordKind.HEARTBEAT:
            beats.setdefault(record.la, []).append(
                epoch_seconds(Heartbeat.model_validate_json(record.value).time)
            )
    due = [
        (la, max(times), TIMERS_A_HEARTBEAT_MAX * len(times) + len(families))
        for la, times in sorted(beats.items())
    ]
    return Needs(families, due)


def advance(
    snapshot: Snapshot, records: Sequence[LogRecord], library: Library, partition_id: int
) -> Step:
    """Apply `records` in order.

    Raises:
        InvariantBroken: a record that cannot be (an unknown kind, no control in force, an offset already applied).
        ContentMissing: a control names content that this process lacks; nothing of the batch may be committed.
    """
    if records and records[0].offset < snapshot.offset:
        raise InvariantBroken(
            f"record {records[0].offset} was applied before: the state stands at {snapshot.offset}"
        )
    batch = Batch.load(snapshot.partition, snapshot.families, snapshot.due, library, partition_id)
    for holds_facts, group in groupby(records, key=lambda record: record.kind in _FACTS):
        if holds_facts:
            score_records(batch, list(group))
        else:
            for record in group:
                _apply(batch, record)
    offset = records[-1].offset + 1 if records else snapshot.offset
    return Step(
        offset,
        batch.partition.encode(),
        batch.changed_states(),
        batch.changed_timers(),
        batch.alerts,
        batch.scores,
        len(records),
    )


def _apply(batch: Batch, record: LogRecord) -> None:
    """A record that is not a fact."""
    if record.kind == RecordKind.HEARTBEAT:
        _beat(batch, record)
    elif record.kind == RecordKind.CONTROL:
        control = Control.model_validate_json(record.value)
        taken = take_control(
            batch.authority(record.la),
            control.model_dump(mode="json"),
            epoch_seconds(control.effective),
        )
        batch.partition.count("control" if taken else "control_duplicate")
    elif record.kind == RecordKind.MEMBERSHIP:
        join_or_leave(batch, record, orjson.loads(record.value))
    elif record.kind == RecordKind.DECISION:
        decide(batch, record, orjson.loads(record.value))
    elif record.kind == RecordKind.HANDOFF:
        batch.partition.count("reserved")
    else:
        raise InvariantBroken(f"record {record.offset} has the unknown kind {record.kind}")


def _beat(batch: Batch, record: LogRecord) -> None:
    heartbeat = Heartbeat.model_validate_json(record.value)
    authority = batch.authority(record.la)
    moved = advance_time(authority, epoch_seconds(heartbeat.time))
    batch.partition.count("heartbeat")
    if authority.control is None:
        return
    hear(
        authority,
        {source: epoch_seconds(sign) for source, sign in heartbeat.sources.items()},
        batch.compiled(record.la).content,
    )
    if moved:
        for family in batch.due_families(record.la, authority.time)[:TIMERS_A_HEARTBEAT_MAX]:
            fire(batch, family, authority.time, record.offset)
