"""Dead letters read back: why a message was refused, without showing what it said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from schemas.events import SOURCES as AGENCY_SOURCES
from schemas.topics import INTERNAL_INPUTS, SENT_BYTES_MAX, dead_letter_topic
from streams.kafka import partitions_of
from streams.reading import read_topic
from streams.segments import Record

SOURCES = (*AGENCY_SOURCES, *INTERNAL_INPUTS)
"""Kinds of sender that have a dead-letter topic."""
ATTEMPTS_MAX = 3
"""Times that one message is sent back; refused after that, its letter is parked for good."""

_ERRORS = "__streams.errors."
ATTEMPTS = f"{_ERRORS}attempts"
REDRIVEN_FROM = f"{_ERRORS}redriven-from"
PARKED = f"{_ERRORS}parked"
SIZE = "ehps.errors.size"
"""How many bytes a message had of which only the first are kept."""
_CARRIED = (ATTEMPTS, REDRIVEN_FROM)
Headers = Sequence[tuple[str, bytes]]


def sent_headers(record: Record) -> list[tuple[str, bytes]]:
    """The headers that are part of the message: in CloudEvents' binary mode they hold its attributes."""
    return [(n, v) for n, v in record.headers if n.startswith("ce_") or n == "content-type"]


def kept_headers(record: Record) -> list[tuple[str, bytes]]:
    """What a dead letter takes over from the message that it is a copy of: its own headers, and its earlier attempts.

    A message that has had its attempts is parked: the letter says so.
    """
    kept = [*sent_headers(record), *((n, v) for n, v in record.headers if n in _CARRIED)]
    if attempts(record) >= ATTEMPTS_MAX:
        kept.append((PARKED, f"refused after {ATTEMPTS_MAX} attempts".encode()))
    return kept


def fitting(record: Record) -> tuple[Record, list[tuple[str, bytes]]]:
    """The message as its letter keeps it, and what the letter says of that.

    It is kept whole, but for one that no honest client could have sent: a broker counts compressed bytes, so a message
    may be of any size. Of such a one the first bytes are kept, and how many it had.
    """
    size = len(record.value or b"") + len(record.key or b"")
    size += sum(len(name) + len(value) for name, value in record.headers)
    if size <= SENT_BYTES_MAX:
        return record, []
    first = (record.value or b"")[:SENT_BYTES_MAX]
    cut = [(SIZE, str(size).encode())]
    return record._replace(value=first, key=None, headers=[]), cut


def attempts(record: Record) -> int:
    """How often a message was sent back already."""
    text = dict(record.headers).get(ATTEMPTS, b"0")
    return int(text) if text.isdigit() and len(text) <= 3 else 0


def letter_id(letter: Record) -> str:
    """Topic, partition and offset of a letter, as `dlq list` names it."""
    return f"{letter.topic}/{letter.partition}/{letter.offset}"


def origin(letter: Record) -> tuple[str, int, int] | None:
    """Topic, partition and offset of the message that a letter is a copy of; None where it does not say."""
    topic, partition, offset = (told(letter, name) for name in ("topic", "partition", "offset"))
    if not (topic and partition.isdigit() and offset.isdigit()):
        return None
    return topic, int(partition), int(offset)


def told(letter: Record, name: str) -> str:
    """What a letter's headers say."""
    headers = dict(letter.headers)
    raw = headers.get(_ERRORS + name) or headers.get(f"ehps.errors.{name}", b"")
    return raw.decode("utf-8", "replace")


def letters(
    bootstrap: str, segments: Path | None, sources: tuple[str, ...] = SOURCES
) -> Iterator[Record]:
    """Every dead letter of these kinds of sender, oldest first within a partition."""
    for source in sources:
        topic = dead_letter_topic(source)
        if partitions_of(bootstrap, topic):
            yield from read_topic(bootstrap, topic, segments)


def view(record: Record) -> dict[str, Any]:
    """A dead letter as a document: coordinates, reason and hint, never the content."""
    topic, partition, offset = origin(record) or (told(record, "topic"), None, None)
    return {
        "id": letter_id(record),
        "code": told(record, "exception"),
        "field": told(record, "field"),
        "observed": told(record, "observed"),
        "hint": told(record, "message"),
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "stage": told(record, "stage"),
        "failed_at": told(record, "failed-at"),
        "attempts": attempts(record),
        "redriven_from": told(record, "redriven-from"),
        "parked": bool(told(record, "parked")),
        "size": len(record.value or b""),
    }


def grouped(records: Iterator[Record]) -> list[dict[str, Any]]:
    """Dead letters counted by topic, code and field, most frequent first, each with one example."""
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for record in records:
        seen = view(record)
        key = seen["topic"], seen["code"], seen["field"]
        group = groups.setdefault(
            key,
            {
                "topic": seen["topic"],
                "code": seen["code"],
                "field": seen["field"],
                "count": 0,
                "parked": 0,
                "hint": seen["hint"],
                "example": seen["id"],
                "last": "",
            },
        )
        group["count"] += 1
        group["parked"] += seen["parked"]
        group["last"] = max(group["last"], _moment(record))
    return sorted(groups.values(), key=lambda group: (-group["count"], group["topic"]))


def _moment(record: Record) -> str:
    if record.timestamp_ms < 0:
        return ""
    return (
        datetime.fromtimestamp(record.timestamp_ms / 1000)
        .astimezone()
        .isoformat(timespec="seconds")
    )
