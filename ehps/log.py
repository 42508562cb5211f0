"""The log: what a record of `ehps.log.v1` is, and the compact form that saves the scorer from parsing JSON.

Every record carries a Kafka header `ehps`: one byte of kind, nine of the authority's ONS code, then its facts (32 bytes
each) for events and retractions. The value is the validated message as JSON.
"""

from __future__ import annotations

import struct
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from ehps.calendar import local_day_of
from ehps.catalogue import VALUES, Kind, matches, slots_of
from ehps.facts import VOID, epoch_seconds, hash32, hash64
from schemas.envelope import Event


class RecordKind(IntEnum):
    """What a log record says."""

    EVENT = 1
    RETRACTION = 2
    MEMBERSHIP = 3
    DECISION = 4
    CONTROL = 5
    HEARTBEAT = 6
    HANDOFF = 7
    """Reserved: the facts of a person who moved to another family."""


class LogRecord(NamedTuple):
    """One record of one partition. `family` is empty for controls and heartbeats."""

    offset: int
    family: str
    compact: bytes
    value: bytes

    @property
    def kind(self) -> int:
        """Its `RecordKind`; an unknown number is for the reader to refuse."""
        return self.compact[0]

    @property
    def la(self) -> str:
        """ONS code of the authority it belongs to."""
        return self.compact[1:10].decode()


HEAD_BYTES = 10
_WIRE = struct.Struct("<QIIIIIBBBB")


def pack_other(kind: RecordKind, la: str) -> bytes:
    """Header of a record without facts."""
    return bytes((kind,)) + la.encode()


def pack_event(event: Event, la: str | None = None) -> bytes:
    """Header of an event: one fact for each slot of its type, void where the event says nothing for the slot.

    A void fact is needed: a corrected assessment may drop a factor that an earlier version named.

    Args:
        event: validated.
        la: the authority of the family, where it differs from the sender's.
    """
    facts = _facts(event, event.type, event.time, event.id, void=False)
    if event.correctionof is not None and _moved(event):
        facts += _facts(event, event.type, event.correctionof, event.id, void=True)
    return pack_other(RecordKind.EVENT, la or event.la) + b"".join(facts)


def pack_retraction(event: Event, la: str | None = None) -> bytes:
    """Header of a retraction: a void version of every fact that the original told."""
    data = event.data
    facts = _facts(event, data.type, data.occurred, data.id, void=True)
    return pack_other(RecordKind.RETRACTION, la or event.la) + b"".join(facts)


def _moved(event: Event) -> bool:
    first = slots_of(event.type)
    original = event.correctionof
    return (
        bool(first)
        and original is not None
        and _key(event, first[0][0], original, event.id)
        != _key(event, first[0][0], event.time, event.id)
    )


def _facts(
    event: Event, event_type: str, occurred: datetime, event_id: str, *, void: bool
) -> list[bytes]:
    data = {} if void else event.data.model_dump(mode="json")
    recorded = epoch_seconds(event.recordedtime)
    digest = hash32(event.time.isoformat(), repr(sorted(data.items())))
    incident = hash32(event.incident) if event.incident and not void else 0
    packed = []
    for slot in slots_of(event_type):
        kind = next((k for k in slot if matches(k, data)), None) if not void else None
        moment, key = _key(event, slot[0], occurred, event_id)
        packed.append(
            _WIRE.pack(
                key,
                moment,
                recorded,
                incident,
                hash32(event.subject),
                digest,
                (kind or slot[0]).code,
                slot[0].slot,
                VALUES[kind.value](data) if kind and kind.value else 0,
                0 if kind else VOID,
            )
        )
    return packed


def _key(event: Event, kind: Kind, occurred: datetime, event_id: str) -> tuple[int, int]:
    """When a fact occurred and its id; one a person and day for daily kinds, whose events carry the day themselves."""
    moment = epoch_seconds(occurred)
    if not kind.daily:
        return moment, hash64(event.source, event_id)
    day = local_day_of(moment)
    return day * 86_400 + 43_200, hash64("daily", kind.name, event.subject, str(day))
