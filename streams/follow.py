"""Alerts as a person would say them: up to three plain English lines each."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streams.kafka import ALL_AWAY, consumer, drain, good, record_of, watermarks
from streams.reading import read_topic
from streams.segments import Record

BATCH_RECORDS = 500
POLL_S = 0.2
FACTS_NAMED_MAX = 2
"""Contributions named in a sentence; the document lists them all."""
_TIERS = {
    "none": "not open to any service",
    "early_help": "open to early help",
    "child_in_need": "open as child in need",
    "child_protection": "on a child protection plan",
    "looked_after": "with a child looked after",
}


def sentence(alert: Mapping[str, Any]) -> str:
    """One alert in up to three lines. Fields that are missing are left out, never guessed."""
    family = str(alert.get("family", "")).partition(":")[2]
    day = _day(str(alert.get("at") or alert.get("raised_at") or ""))
    state = alert.get("state")
    if state == "superseded":
        return f"{day}  family {family}: an earlier {_short(alert)} was replaced by a higher one."
    if state == "withdrawn":
        return f"{day}  family {family}: the {_short(alert)} was withdrawn. {alert['headline']}"
    first = f"{day}  family {family}: {str(alert['headline']).rstrip('.')}."
    response = alert.get("response")
    third = f"            {response}" if response else ""
    return "\n".join(part for part in (first, _second(alert), third) if part)


def _second(alert: Mapping[str, Any]) -> str:
    parts = []
    why = [c for c in alert.get("contributions", ()) if c.get("units", 0) > 0][:FACTS_NAMED_MAX]
    if why:
        named = " and ".join(f"{_within(c['label'])} ({c['points']:g} points)" for c in why)
        parts.append(f"Mostly {named}")
    tier = _TIERS.get(str(alert.get("open_tier")))
    if tier:
        parts.append(f"the family is {tier}")
    if alert.get("route"):
        due = f" by {_moment(str(alert['due']))}" if alert.get("due") else ""
        parts.append(f"for {alert['route']}{due}")
    if alert.get("insufficient_data"):
        parts.append("data are insufficient")
    if alert.get("withheld"):
        parts.append("not sent: comparison group of the pilot")
    return "            " + "; ".join(parts) + "." if parts else ""


def _within(label: str) -> str:
    """A label inside a sentence: the first word begins small, unless it is an abbreviation."""
    return label if label[:2].isupper() else label[:1].lower() + label[1:]


def _short(alert: Mapping[str, Any]) -> str:
    if alert.get("kind") == "combination":
        return f"combination {alert.get('rule')}"
    if alert.get("kind") == "step_down":
        return "review for stepping down"
    return f"step up to {alert.get('grade')}"


def _day(text: str) -> str:
    return text[:10]


def _moment(text: str) -> str:
    moment = datetime.fromisoformat(text)
    return f"{moment:%a} {moment.day} {moment:%b %Y, %H:%M} UTC"


def recent(
    bootstrap: str,
    segments: Path | None,
    topics: Sequence[str],
    last: int,
    wanted: Callable[[dict[str, Any]], bool] = lambda _: True,
) -> list[dict[str, Any]]:
    """The newest `last` wanted alerts of these topics, oldest first."""
    documents = (
        alert
        for topic in topics
        for record in read_topic(bootstrap, topic, segments)
        if wanted(alert := orjson.loads(record.value or b"{}"))
    )
    return heapq.nlargest(last, documents, key=_order)[::-1]


def _order(alert: Mapping[str, Any]) -> tuple[str, int, int]:
    at = alert["position"]
    return str(alert.get("at") or alert["raised_at"]), at["offset"], at["sequence"]


def follow(
    bootstrap: str,
    topics: Sequence[str],
    stop: Event | None = None,
    away: Callable[[], None] = lambda: None,
) -> Iterator[Record]:
    """Alerts as they come, from now on, until `stop` is set.

    Args:
        away: called when no broker answers any more, once until the next alert.
    """
    silent = False

    def hear(error: KafkaError) -> None:
        nonlocal silent
        if error.code() == ALL_AWAY and not silent:
            silent = True
            away()

    reader = consumer(bootstrap, "ehps-follow", on_error=hear)
    try:
        ends = [
            TopicPartition(topic, partition, high)
            for topic in topics
            for partition, (_, high) in watermarks(bootstrap, topic).items()
        ]
        reader.assign(ends)
        while stop is None or not stop.is_set():
            for message in good(_drained(reader)):
                silent = False
                yield record_of(message)
    finally:
        reader.close()


def _drained(reader: Consumer) -> list[Message]:
    try:
        return drain(reader, BATCH_RECORDS, POLL_S)
    except SystemError as error:  # the client's answer to Ctrl-C while it has errors to tell
        raise KeyboardInterrupt from error
