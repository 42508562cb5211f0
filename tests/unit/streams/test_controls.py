"""Controls and operators' heartbeats at the edge: judged by the broker's time, so that a repeat is judged alike."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from ehps.library import Library
from ehps.log import RecordKind
from schemas.control import Control, ControlMessage, Heartbeat
from streams.controls import Controls
from streams.kafka import Sender
from streams.logwriter import LogWriter
from streams.ports import Stretch
from streams.registry import HISTORY, LIVE
from streams.segments import Record
from streams.throttle import NoThrottle

LA = "E06000023"
APPENDED = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
LIBRARY = Library.packaged()


class Broker:
    """Takes what is produced and says so at once."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes, dict[str, bytes]]] = []

    def produce(self, topic: str, value: bytes, *place: Any, headers: list[Any]) -> None:
        _key, _partition, on_delivery = place
        self.taken.append((topic, value, dict(headers)))
        on_delivery(None, None)

    def poll(self, _timeout: float) -> int:
        return 0

    def flush(self, _timeout: float) -> int:
        return 0


class Lookups:
    def __init__(self, modes: dict[str, str]) -> None:
        self.modes = modes

    def authorities(self) -> dict[str, str]:
        return self.modes

    served = authorities

    def set_authority(self, la: str, mode: str) -> None:
        self.modes[la] = mode

    def note_control(self, la: str, name: str, control: bytes) -> None:
        assert orjson.loads(control)["id"] == name

    def learn(self, stretch: Stretch, **_: Any) -> None:
        assert stretch.end == 1


def never(authorities: Collection[str]) -> None:
    """None of them was ever set up."""


def said(message: ControlMessage, modes: dict[str, str]) -> tuple[list[str], list[int]]:
    """Reasons of refusal, and kinds of the records put on a log of two partitions."""
    broker = Broker()
    sender = Sender(broker, NoThrottle())  # type: ignore[arg-type]
    controls = Controls(Lookups(modes), sender, LogWriter(sender, 2), LIBRARY, never)  # type: ignore[arg-type]
    value = message.model_dump_json(exclude_none=True).encode()
    at = int(APPENDED.timestamp() * 1000)
    topic = "ehps.control.v1"
    controls.take(Stretch(topic, 0, 0, 1), [Record(topic, 0, 0, at, None, value, [])])
    refused = [h["__streams.errors.exception"].decode() for t, _, h in broker.taken if "dead" in t]
    return refused, [headers["ehps"][0] for t, _, headers in broker.taken if t == "ehps.log.v1"]


def control(minutes_ahead: float, name: str = "second", **changes: Any) -> ControlMessage:
    made = LIBRARY.control(LA, APPENDED + timedelta(minutes=minutes_ahead), name)
    return ControlMessage(control=Control(**{**made.model_dump(), **changes}))


def heartbeat(minutes_off: float, signed: str | None = None) -> ControlMessage:
    time = APPENDED + timedelta(minutes=minutes_off)
    return ControlMessage(heartbeat=Heartbeat(la=LA, time=time, sources={}, jump_signed_by=signed))


def test_a_first_control_sets_the_authority_up_at_once_and_a_repeat_changes_nothing() -> None:
    modes: dict[str, str] = {}
    both = [RecordKind.CONTROL] * 2

    assert said(control(0, f"first-{LA}"), modes) == ([], [*both, *[RecordKind.HEARTBEAT] * 3])
    assert modes == {LA: LIVE}
    assert said(control(0, f"first-{LA}"), modes) == ([], both)


@pytest.mark.parametrize(("minutes", "refused"), [(4.9, ["wrong_value"]), (5, [])])
def test_a_later_control_is_taken_five_minutes_ahead_and_not_nearer(
    minutes: float, refused: list[str]
) -> None:
    assert said(control(minutes), {LA: LIVE})[0] == refused


def test_a_control_that_names_content_which_is_not_held_is_refused_before_it_stops_a_scorer() -> (
    None
):
    assert said(control(10, policy="0" * 64), {LA: LIVE}) == (["unknown_content"], [])
    assert said(control(10, kernel=9), {LA: LIVE}) == (["unknown_content"], [])


@pytest.mark.parametrize(
    ("minutes", "signed", "mode", "refused"),
    [
        (10, None, LIVE, []),
        (10.1, None, LIVE, ["wrong_value"]),
        (-60, None, LIVE, ["wrong_value"]),
        (60, "operations lead", LIVE, []),
        (-60 * 24 * 400, None, HISTORY, []),
    ],
)
def test_one_wrong_clock_ages_no_family(
    minutes: float, signed: str | None, mode: str, refused: list[str]
) -> None:
    assert said(heartbeat(minutes, signed), {LA: mode})[0] == refused


def test_a_heartbeat_of_an_authority_without_control_is_refused() -> None:
    assert said(heartbeat(0), {}) == (["unknown_authority"], [])
