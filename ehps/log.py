"""The log: what a record of `ehps.log.v1` is, and the compact form that saves the scorer from parsing JSON.

Every record carries a Kafka header `ehps`: one byte of kind, nine of the authority's ONS code, then its facts (28 bytes
each) for events and retractions. The value is the validated message as JSON.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from functools import cache, lru_cache
from typing import Any, NamedTuple, Self

from ehps.calendar import local_day_of
from ehps.catalogue import VALUES, Kind, horizon_of, matches, slots_of
from ehps.facts import VOID, epoch_seconds, hash32, hash64, person_hash
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


_OF_AUTHORITIES = frozenset({RecordKind.CONTROL, RecordKind.HEARTBEAT})


class LogRecord(NamedTuple):
    """One record of one partition. `family` is empty for controls and heartbeats."""

    offset: int
    family: str
    compact: bytes
    value: bytes

    @classmethod
    def of(cls, offset: int, key: bytes | None, compact: bytes, value: bytes | None) -> Self:
        """From what Kafka holds. A control or heartbeat is of no family, whatever its key."""
        family = "" if not key or compact[0] in _OF_AUTHORITIES else key.decode()
        return cls(offset, family, compact, value or b"")

    @property
    def kind(self) -> int:
        """Its `RecordKind`; an unknown number is for the reader to refuse."""
        return self.compact[0]

    @property
    def la(self) -> str:
        """ONS code of the authority it belongs to."""
        return self.compact[1:10].decode()


HEAD_BYTES = 10
_WIRE = struct.Struct("<QIIIIBBBB")


@lru_cache(maxsize=4096)
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
    key, original = _key(event, event.type, event.time, event.id), event.correctionof
    facts = _facts(event, event.type, key, vars(event.data))
    if original is not None:
        moved_from = _key(event, event.type, original, event.id)
        facts += _facts(event, event.type, moved_from, None) if moved_from != key else b""
    return pack_other(RecordKind.EVENT, la or event.la) + facts


def pack_retraction(event: Event, la: str | None = None) -> bytes:
    """Header of a retraction: a void version of every fact that the original told."""
    original = event.data
    key = _key(event, original.type, original.occurred, original.id)
    return pack_other(RecordKind.RETRACTION, la or event.la) + _facts(
        event, original.type, key, None
    )


class _Told(NamedTuple):
    """What a type of event tells: its agency, numbers and kinds of its slots, and the name of a daily kind.

    A slot's number says its horizon class too, so that all versions under one key are forgotten together, even where an
    event's name is used again for another type.
    """

    agency: str
    slots: tuple[tuple[int, tuple[Kind, ...]], ...]
    daily: str | None


@cache
def _told(event_type: str) -> _Told:
    slots = slots_of(event_type)
    daily = slots[0][0].name if slots and slots[0][0].daily else None
    numbered = ((kinds[0].slot | horizon_of(kinds[0]) << 6, kinds) for kinds in slots)
    return _Told(event_type.split(".", 1)[0], tuple(numbered), daily)


def _key(event: Event, event_type: str, occurred: datetime, event_id: str) -> tuple[int, int]:
    """When a fact occurred and its id: one a person and day for daily kinds.

    The agency is part of the id, so that none can replace or take back what another told.
    """
    moment, told = epoch_seconds(occurred), _told(event_type)
    if told.daily is None:
        return moment, hash64(told.agency, event.source, event_id)
    day = local_day_of(moment)
    return day * 86_400 + 43_200, hash64("daily", told.daily, event.subject, str(day))


def _facts(
    event: Event, event_type: str, key: tuple[int, int], data: Mapping[str, Any] | None
) -> bytes:
    """One fact a slot of the type; all void where `data` is None."""
    moment, name = key
    recorded, person = epoch_seconds(event.recordedtime), person_hash(event.subject)
    incident = hash32(event.incident) if event.incident and data is not None else 0
    packed = b""
    for slot, kinds in _told(event_type).slots:
        code, value, flags = kinds[0].code, 0, VOID
        if data is not None:
            for kind in kinds:
                if not kind.where or matches(kind, data):
                    code, flags = kind.code, 0
                    value = VALUES[kind.value](data) if kind.value else 0
                    break
        row = (name, moment, recorded, incident, person, code, slot, value, flags)
        packed += _WIRE.pack(*row)
    return packed
