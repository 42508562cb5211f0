"""Parked events, where a link and the sweep of the same process find them at once."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import orjson
import pytest

from streams.parking import Parking
from streams.patience import utc_now

SUBJECT = "person-" + "0" * 32
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "urn:test:police",
    "type": "police.notification.v1",
    "subject": SUBJECT,
    "time": "2024-01-08T10:00:00Z",
    "recordedtime": "2024-01-08T10:00:00Z",
    "la": "E06000023",
    "data": {"grade": "amber"},
}


class Held:
    """The look-ups: one person, linked, with one parked event."""

    def __init__(self) -> None:
        self.events = {"agency.police.v1/0/0": orjson.dumps(EVENT)}

    def families_of(self, subjects: list[str]) -> list[str | None]:
        return ["E06000023:f-1" for _ in subjects]

    def parked(self, subjects: list[str]) -> dict[str, dict[str, bytes]]:
        return {subject: dict(self.events) for subject in subjects if self.events}

    def unpark(self, subject: str, coordinates: list[str]) -> None:
        self.events.clear()


class Log:
    """A log and its sender: the broker takes its time."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def event(self, family: str, event: Any, value: bytes, coordinates: str) -> None:
        self.written.append(coordinates)

    def confirm(self) -> None:
        time.sleep(0.05)


@pytest.mark.parametrize(("releasing", "times"), [(threading.Lock(), 1), (nullcontext(), 2)])
def test_an_event_found_by_two_at_once_goes_on_the_log_once_if_they_take_turns(
    releasing: AbstractContextManager[Any], times: int
) -> None:
    held, log = Held(), Log()
    parking: Any = Parking(held, log, log, utc_now, releasing)  # type: ignore[arg-type]
    both = [threading.Thread(target=parking.release, args=([SUBJECT],)) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()

    assert log.written == ["agency.police.v1/0/0"] * times
