"""Dead letters read back: why a message was refused, without showing what it said."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from schemas.events import SOURCES as AGENCY_SOURCES
from schemas.topics import INTERNAL_INPUTS, dead_letter_topic
from streams.kafka import partitions_of, read_topic
from streams.segments import Record

SOURCES = (*AGENCY_SOURCES, *INTERNAL_INPUTS)
"""Kinds of sender that have a dead-letter topic."""


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
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}

    def told(name: str) -> str:
        return headers.get(f"__streams.errors.{name}") or headers.get(f"ehps.errors.{name}", "")

    return {
        "id": f"{record.topic}/{record.partition}/{record.offset}",
        "code": told("exception"),
        "field": told("field"),
        "observed": told("observed"),
        "hint": told("message"),
        "topic": told("topic"),
        "partition": _number(told("partition")),
        "offset": _number(told("offset")),
        "stage": told("stage"),
        "failed_at": told("failed-at"),
        "size": len(record.value or b""),
    }


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


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
                "hint": seen["hint"],
                "example": seen["id"],
                "last": "",
            },
        )
        group["count"] += 1
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
