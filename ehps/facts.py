"""Facts and the set of them that a family keeps.

A fact is 32 bytes. Its key (occurred, id, slot) never changes; of several versions under one key the greatest
(recorded, void, digest of the rest) wins, and of equal versions the one known first. That makes merging a semilattice:
whatever the order, grouping or number of deliveries, the same set results. A retraction is a void version, which holds
the slot.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ehps.calendar import DAY, local_day
from ehps.catalogue import COUNTED_DAYS, FACTS_MAX, KEPT_DAYS, KINDS, Horizon, horizon_of
from schemas.envelope import SENT_UTC

FACT: Final = np.dtype(
    [
        ("id", "<u8"),  # first 64 bits of SHA-256 over the event's source and id
        ("occurred", "<u4"),  # seconds since 1970 (until 2106)
        ("recorded", "<u4"),  # when the agency's system knew
        ("incident", "<u4"),  # 0: none
        ("person", "<u4"),
        ("kind", "u1"),
        ("slot", "u1"),  # which of the facts that an event tells; bits 6 and 7: its horizon class
        ("value", "u1"),
        ("flags", "u1"),
        ("known", "<u4"),  # log time at which EHPS first held this version; no feature reads it
    ]
)
BIRTH: Final = np.dtype("<i4")
"""A child's day of birth, days since 1970."""

WIRE_BYTES: Final = FACT.itemsize - 4
"""A fact in the log's compact header: everything but `known`."""

VOID: Final = 1
"""Flag: this version says that the event did not happen (retracted, or corrected into something else)."""

Facts = NDArray[np.void]
"""Records of `FACT`. `take` picks some of them thirty times as fast as an index does, which copies field by field."""
NEVER: Final = 2**31 - 1
_SAYS = struct.Struct("<IIBB")
_EPOCH = datetime(1970, 1, 1, tzinfo=SENT_UTC)

COUNTED_OF = np.zeros(256, np.int64)
KEPT_OF = np.zeros(256, np.int64)
SPELL_OF = np.zeros(256, np.uint8)
IS_START = np.zeros(256, bool)
CLASS_OF = np.zeros(256, np.uint8)
SPELLS: Final = tuple(dict.fromkeys(kind.spell for kind in KINDS if kind.spell))
"""Names of the spells; a fact's spell number is its index here plus one."""

ON_ROLL_BIT: Final = 1 << SPELLS.index("on_roll")
"""Bit of the on-roll spell in a row's open spells."""

for _kind in KINDS:
    CLASS_OF[_kind.code] = horizon_of(_kind)
    COUNTED_OF[_kind.code] = COUNTED_DAYS[horizon_of(_kind)]
    KEPT_OF[_kind.code] = KEPT_DAYS[horizon_of(_kind)]
    if _kind.spell:
        SPELL_OF[_kind.code] = SPELLS.index(_kind.spell) + 1
        IS_START[_kind.code] = _kind.edge == "start"


def hash64(*parts: str) -> int:
    """First 64 bits of SHA-256 over the parts, each ended by a zero byte."""
    return int.from_bytes(
        hashlib.sha256("\0".join((*parts, "")).encode("utf-8", "surrogatepass")).digest()[:8],
        "little",
    )


def hash32(*parts: str) -> int:
    """First 32 bits of the same hash, never 0 (which means none)."""
    return (hash64(*parts) & 0xFFFFFFFF) or 1


person_hash = lru_cache(maxsize=1 << 16)(hash32)
"""The hash by which facts name a person; remembered, since the same few thousand people come again."""


def epoch_seconds(moment: datetime) -> int:
    """Whole seconds since 1970, clipped into the fact's 32 bits."""
    since = moment - _EPOCH
    return min(max(since.days * DAY + since.seconds, 0), 2**32 - 1)


def together(parts: Sequence[Facts]) -> Facts:
    """The parts one after the other. Joins bytes: numpy promotes record types field by field, which is slow."""
    return np.frombuffer(b"".join(part.data for part in parts), FACT)


def from_wire(compact: bytes, known: int | NDArray[np.int64]) -> Facts:
    """The facts of log records' compact bytes, known at log time `known` (seconds), each or all."""
    count = len(compact) // WIRE_BYTES
    facts = np.zeros(count, FACT)
    raw = facts.view(np.uint8).reshape(count, FACT.itemsize)
    raw[:, :WIRE_BYTES] = np.frombuffer(compact, np.uint8, count * WIRE_BYTES).reshape(
        count, WIRE_BYTES
    )
    facts["known"] = known
    return facts


def version(fact: np.void) -> tuple[int, int, int]:
    """What decides between two versions under one key: the greatest wins."""
    return int(fact["recorded"]), int(fact["flags"]) & VOID, digest(fact)


def digest(fact: np.void) -> int:
    """What a fact says beside its key: of versions recorded in one second the same wins whichever came first.

    CRC-32 tells any two apart that differ in one field, for certain.
    """
    said = (int(fact[name]) for name in ("incident", "person", "kind", "value"))
    return crc32(_SAYS.pack(*said))


def ages(facts: Facts, day: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole days, in London, between each fact and `day` (days since 1970)."""
    return day - local_day(facts["occurred"].astype(np.int64))


def retained(facts: Facts, day: int) -> tuple[NDArray[np.bool_], bool]:
    """What a family keeps on `day`: facts that are not forgotten yet, the newest `FACTS_MAX` of a class.

    Args:
        facts: sorted by key, one version a key.
        day: days since 1970, in London.

    Returns:
        Which facts are kept, and whether a bound was reached.
    """
    keep = ages(facts, day) <= KEPT_OF[facts["kind"]]
    over = False
    for horizon in Horizon:
        held = (keep & (CLASS_OF[facts["kind"]] == horizon)).nonzero()[0]
        if len(held) > FACTS_MAX:
            keep[held[:-FACTS_MAX]] = False
            over = True
    return keep, over
