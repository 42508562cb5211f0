"""Files of messages, one JSON document a line: checked, routed by type, sent, each delivery confirmed.

The check is the one that intake makes, so what passes here is not dead-lettered there, and what
fails is told line by line what to send instead.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import orjson

from schemas.control import ControlMessage
from schemas.decisions import Decision
from schemas.envelope import Event
from schemas.topics import AGENCY_TOPICS, CONTROL, DECISIONS, LINKS, LOG, agency_topic
from schemas.validate import (
    MESSAGE_BYTES_MAX,
    Rejection,
    validate_control,
    validate_decision,
    validate_event,
    validate_link,
)
from streams.config import Settings
from streams.errors import StreamsError
from streams.kafka import producer
from streams.throttle import NoThrottle, Throttle

FLUSH_DEADLINE_S = 60.0
"""Longest wait for the broker to confirm what was sent, in seconds."""
FAILURES_KEPT_MAX = 20
"""Failed deliveries that are told one by one; further ones are counted."""
INPUTS = (*AGENCY_TOPICS, LINKS, DECISIONS, CONTROL)
"""Topics that others than EHPS may write to."""
_QUEUE_FULL_POLL_S = 0.05


class NotDelivered(StreamsError):
    """The broker did not confirm every message."""


class Line(NamedTuple):
    """One line of a file; `number` counts from 1."""

    file: str
    number: int
    value: bytes


class Routed(NamedTuple):
    """A message that passed the check: where it goes, and when its sender knew (s since 1970)."""

    topic: str
    key: bytes
    value: bytes
    la: str
    known_s: int


class Room(Protocol):
    """What `streams.throttle` offers."""

    def room(self, topic: str, nbytes: int, records: int = 1) -> None:
        """Return when a record of `nbytes` bytes may be produced."""


def read_lines(paths: Iterable[str]) -> Iterator[Line]:
    """Lines of files ("-": standard input) that are not empty.

    A line past the limit of a message is cut just beyond it, so that the check refuses it and a file
    without line ends cannot fill the memory.
    """
    for path in paths:
        with nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb") as file:
            for number, value in enumerate(_bounded(file), start=1):
                if value.strip():
                    yield Line(path, number, value.rstrip(b"\r\n"))


def _bounded(file: IO[bytes]) -> Iterator[bytes]:
    limit = MESSAGE_BYTES_MAX + 2
    while value := file.readline(limit):
        yield value
        rest = value
        while len(rest) == limit and not rest.endswith(b"\n"):
            rest = file.readline(limit)


def check(value: bytes, now: datetime) -> Routed | Rejection:
    """Route one message, or say why not; never raises for any bytes.

    Args:
        value: the message as it would be sent.
        now: clock of the caller, aware; times more than a day later are refused.
    """
    document = _peek(value)
    kind = document.get("type")
    text = kind if isinstance(kind, str) else ""
    if text.startswith("link."):
        return _routed(LINKS, validate_link(value, None, now), value)
    if text.startswith("decision."):
        return _routed(DECISIONS, validate_decision(value, None, now), value)
    if kind is None and ("control" in document or "heartbeat" in document):
        return _routed(CONTROL, validate_control(value), value)
    topic = agency_topic(_source_of(text, document))
    return _routed(topic, validate_event(topic, value, None, now), value)


def _peek(value: bytes) -> dict[str, Any]:
    if len(value) > MESSAGE_BYTES_MAX:
        return {}
    try:
        document = orjson.loads(value)
    except (orjson.JSONDecodeError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _source_of(text: str, document: dict[str, Any]) -> str:
    """First part of the type; for a retraction that of the type taken back."""
    data = document.get("data")
    if text.startswith("record.") and isinstance(data, dict):
        text = str(data.get("type"))
    return text.split(".", 1)[0]


def _routed(
    topic: str, checked: Event | Decision | ControlMessage | Rejection, value: bytes
) -> Routed | Rejection:
    if isinstance(checked, Rejection):
        return checked
    if isinstance(checked, ControlMessage):
        inner = checked.control or checked.heartbeat
        la = inner.la if inner is not None else ""
        return Routed(topic, la.encode(), value, la, 0)
    key = checked.family if isinstance(checked, Decision) else checked.subject
    return Routed(topic, key.encode(), value, checked.la, int(checked.recordedtime.timestamp()))


class Publisher:
    """Sends messages and keeps count of what the broker confirmed.

    Args:
        producer: a confluent-kafka producer (idempotent, acks=all).
        room: makes each message wait until the broker can hold it.

    Attributes:
        ends: for each topic and partition the offset after the last confirmed message.
        sent: messages handed to the producer.
    """

    def __init__(self, producer: Any, room: Room) -> None:
        self._producer = producer
        self._room = room
        self.ends: dict[tuple[str, int], int] = {}
        self.sent = 0
        self.confirmed = 0
        self._failures: list[str] = []
        self._failed = 0

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int | None = None,
    ) -> None:
        """Hand over one message; blocks while the broker has no room for it."""
        self._room.room(topic, len(value) + len(key or b""))
        where = {} if partition is None else {"partition": partition}
        while True:
            try:
                self._producer.produce(
                    topic,
                    key=key,
                    value=value,
                    headers=list(headers),
                    on_delivery=self._delivered,
                    **where,
                )
                break
            except BufferError:
                self._producer.poll(_QUEUE_FULL_POLL_S)
        self.sent += 1
        self._producer.poll(0)

    def flush(self, deadline_s: float = FLUSH_DEADLINE_S) -> None:
        """Wait until everything sent is confirmed.

        Raises:
            NotDelivered: some of it was refused, or not confirmed in time. `flush` of the client
                answers 0 also where deliveries failed: only the callbacks tell.
        """
        deadline = time.monotonic() + deadline_s
        while self.confirmed + self._failed < self.sent and time.monotonic() < deadline:
            self._producer.flush(0.2)
        if self.confirmed < self.sent:
            missing = self.sent - self.confirmed
            why = "; ".join(self._failures) or f"no answer within {deadline_s:g} s"
            msg = f"{missing} of {self.sent} messages were not delivered: {why}"
            raise NotDelivered(msg)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failed += 1
            if len(self._failures) < FAILURES_KEPT_MAX:
                why = f"{message.topic()}: {error.str()}"
                if why not in self._failures:
                    self._failures.append(why)
            return
        self.confirmed += 1
        at = message.topic(), message.partition()
        self.ends[at] = max(self.ends.get(at, 0), message.offset() + 1)


def room_of(settings: Settings, client: Any) -> Throttle | NoThrottle:
    """What keeps a producer within the embedded broker; nothing where the broker is a real one."""
    if not settings.embedded:
        return NoThrottle()
    readers = {topic: [settings.intake_group] for topic in AGENCY_TOPICS}
    readers |= {topic: [settings.agents_group] for topic in (LINKS, DECISIONS, CONTROL)}
    readers[LOG] = [settings.scorer_group]
    return Throttle(settings.kafka, readers, producer=client)


def publisher(settings: Settings) -> Publisher:
    """A publisher for the broker of the settings."""
    client = producer(settings.kafka)
    return Publisher(client, room_of(settings, client))


def now() -> datetime:
    """The clock of this process, for the check of times in the future."""
    return datetime.now(UTC)
