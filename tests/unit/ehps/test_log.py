"""The compact form: what two messages say decides between them, never which came first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from families import event, retraction
from hypothesis import given
from hypothesis import strategies as st

from ehps.catalogue import KINDS, Kind
from ehps.facts import Facts, from_wire
from ehps.log import HEAD_BYTES, LogRecord, RecordKind, pack_event, pack_other, pack_retraction
from ehps.reference import merge
from schemas import EVENT_TYPES

MORNING = datetime(2025, 3, 4, 9, tzinfo=UTC)
SAID: tuple[tuple[str, dict[str, Any]], ...] = (
    ("police.notification", {"grade": "green", "child_present": True}),
    ("police.notification", {"grade": "red", "child_present": True}),
    ("police.arrest", {"who": "parent"}),
    ("police.arrest", {"who": "child"}),
    ("education.attendance", {"am": "O", "pm": "/", "date": "2025-03-04"}),
    ("education.attendance", {"am": "O", "pm": "O", "date": "2025-03-04"}),
)


@st.composite
def messages(draw: st.DrawFn) -> Facts:
    """Facts of a message of one id, time and recorded time, and of its retraction."""
    kind, data = draw(st.sampled_from(SAID))
    person, incident = draw(st.integers(1, 3)), draw(st.sampled_from([None, "a", "b"]))
    told = event(kind, MORNING, person, event_id="same", incident=incident, **data)
    if draw(st.booleans()):
        return from_wire(pack_retraction(retraction(told, MORNING))[HEAD_BYTES:], 1)
    return from_wire(pack_event(told)[HEAD_BYTES:], 1)


@given(st.lists(messages(), min_size=2, max_size=4), st.randoms())
def test_of_messages_that_share_id_time_and_recorded_time_the_same_wins_in_any_order(
    told: list[Facts], chance: Any
) -> None:
    shuffled = chance.sample(told, len(told))

    assert merged(told) == merged(shuffled)


def merged(told: list[Facts]) -> bytes:
    held = told[0]
    for facts in told:
        held = merge(held, facts)
    return held.tobytes()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_is_told_by_fields_that_its_event_declares(kind: Kind) -> None:
    data: Any = EVENT_TYPES[kind.event].model_fields["data"].annotation

    assert set(kind.where) <= set(data.model_fields)


@pytest.mark.parametrize("kind", [RecordKind.CONTROL, RecordKind.HEARTBEAT])
def test_a_control_or_heartbeat_is_of_no_family_whatever_its_key(kind: RecordKind) -> None:
    record = LogRecord.of(7, b"E06000023:a", pack_other(kind, "E06000023"), b"{}")

    assert record == LogRecord(7, "", pack_other(kind, "E06000023"), b"{}")
