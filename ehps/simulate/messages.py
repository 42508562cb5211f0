"""What the simulated agencies send: drafts of events, their bytes, and files of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import NamedTuple

from ehps.simulate.rates import DAY, MINUTE

EPOCH = date(1970, 1, 1).toordinal()
LINKS_TOPIC = "ehps.links.v1"


class Message(NamedTuple):
    """One message as it reaches its topic.

    `known` is in seconds since 1970. `kind` says what was done on purpose: normal, duplicate, late
    (sent weeks after it was recorded), correction, retraction, unlinked (about a person without a
    link at that time), late-link, malformed.
    """

    known: int
    topic: str
    key: str
    value: bytes
    kind: str = "normal"


class Draft(NamedTuple):
    """An event before it is written: times in seconds since 1970, whole minutes; JSON data."""

    source: str
    type: str
    id: str
    subject: str
    time: int
    recorded: int
    known: int
    data: str
    incident: str = ""
    correction_of: int | None = None
    kind: str = "normal"


_MINUTES = tuple(f"T{m // 60:02d}:{m % 60:02d}:00Z" for m in range(1440))
_days: dict[int, str] = {}


def iso_day(day: int) -> str:
    """ISO date of a day counted from 1970."""
    text = _days.get(day)
    if text is None:
        text = _days[day] = date.fromordinal(EPOCH + day).isoformat()
    return text


def iso(seconds: int) -> str:
    """ISO 8601 in UTC to the minute: several times as fast as `datetime`, needed by the million."""
    return iso_day(seconds // DAY) + _MINUTES[seconds % DAY // MINUTE]


def seconds_of(day: date) -> int:
    """Seconds since 1970 of the start of a day (UTC)."""
    return (day.toordinal() - EPOCH) * DAY


def token(*parts: object, size: int = 16) -> str:
    """Hex digest that stands in for a keyed hash made at an agency's edge; `size` bytes."""
    return hashlib.blake2b(":".join(map(str, parts)).encode(), digest_size=size).hexdigest()


def encode(la: str, draft: Draft) -> bytes:
    """The bytes of an event or link (CloudEvents 1.0 as structured JSON)."""
    incident = f'"incident":"{draft.incident}",' if draft.incident else ""
    moved = "" if draft.correction_of is None else f'"correctionof":"{iso(draft.correction_of)}",'
    return (
        f'{{"specversion":"1.0","id":"{draft.id}","source":"urn:ehps:{draft.source}:{la}",'
        f'"type":"{draft.type}","subject":"{draft.subject}","time":"{iso(draft.time)}",'
        f'"recordedtime":"{iso(draft.recorded)}","la":"{la}",'
        f'{incident}{moved}"data":{draft.data}}}'
    ).encode()


def topic_of(draft: Draft) -> str:
    """The topic that a draft belongs to."""
    return LINKS_TOPIC if draft.source == "links" else f"agency.{draft.source}.v1"


class Outbox:
    """Collects drafts, and numbers records and incidents so that two worlds never share an id."""

    def __init__(self, prefix: str) -> None:
        """An empty outbox of the world of that name."""
        self.drafts: list[Draft] = []
        self.prefix = prefix
        self._number = 0

    def number(self, what: str) -> str:
        """A new id such as `evt-1f0c22aa-3e`."""
        self._number += 1
        return f"{what}-{self.prefix}-{self._number:x}"

    def put(
        self,
        event_type: str,
        subject: str,
        time: int,
        known: int,
        data: str,
        *,
        recorded: int | None = None,
        incident: str = "",
        source: str | None = None,
    ) -> None:
        """Add an event, recorded half-way between `time` and `known` unless `recorded` is given."""
        middle = (time + known) // 2 if recorded is None else recorded
        self.drafts.append(
            Draft(
                source or event_type.split(".", 1)[0],
                event_type,
                self.number("evt"),
                subject,
                _minute(time),
                _minute(middle),
                _minute(known),
                data,
                incident,
            )
        )

    def take(self) -> list[Draft]:
        """Empty the outbox."""
        drafts, self.drafts = self.drafts, []
        return drafts


def _minute(seconds: int) -> int:
    return seconds - seconds % MINUTE


def to_ndjson(messages: Iterable[Message]) -> Iterator[bytes]:
    """Lines of a file: the message alone, one a line; links are told apart by their type.

    A message that is not one line of UTF-8 JSON on purpose has its line breaks turned into spaces.
    """
    for message in messages:
        yield message.value.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"


def parse_start(moment: date) -> int:
    """Seconds of the first day; refuses a datetime, whose time of day would be lost silently.

    Raises:
        ValueError: a datetime was given.
    """
    if isinstance(moment, datetime):
        raise ValueError("start is a date; give start.date()")  # noqa: TRY004  (wrong usage, as documented)
    return seconds_of(moment)
