"""Replay of the log, and proof that it says what live said: the same alerts, the same states, byte for byte.

Each partition goes through the very `advance` that the live scorer calls, with its states in memory.
Replay stops where the live state stands, so that both have seen the same records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import orjson
import redis

from ehps.library import Library
from ehps.log import LogRecord
from ehps.replay import MemoryStore, replay
from schemas.topics import ALERTS, ALERTS_SHADOW, LOG
from streams.config import Settings
from streams.kafka import partitions_of
from streams.reading import read_topic
from streams.segments import Record
from streams.store import RedisStore

LISTED_MAX = 100
"""Differences listed one by one; further ones are counted."""

Position = tuple[int, int, int]
Said = tuple[str, Position, str, str]
"""What names an output: topic, position, alert and state. An alert that is raised and the lower one
that it supersedes share a position."""


@dataclass(slots=True)
class Replayed:
    """What replay said of one or more partitions."""

    records: int = 0
    families: int = 0
    alerts: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    difference_count: int = 0

    def differ(self, what: str) -> None:
        """Note a difference."""
        self.difference_count += 1
        if len(self.differences) < LISTED_MAX:
            self.differences.append(what)

    def add(self, other: Replayed) -> None:
        """Take in another partition's result."""
        self.records += other.records
        self.families += other.families
        self.alerts += other.alerts
        self.states += other.states
        self.difference_count += other.difference_count
        room = LISTED_MAX - len(self.differences)
        self.differences += other.differences[:room]

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "records": self.records,
            "families": self.families,
            "alerts": dict(sorted(self.alerts.items())),
            "states": dict(sorted(self.states.items())),
            "replay_differences": self.difference_count,
            "differences": self.differences,
        }


@dataclass(frozen=True, slots=True)
class Live:
    """What live holds of one partition: states, and the alerts it sent (by position and topic)."""

    offset: int
    partition: bytes | None
    families: Mapping[str, bytes]
    alerts: Mapping[Said, bytes]


def log_record(record: Record) -> LogRecord:
    """A Kafka record of the log as the core reads it."""
    return LogRecord.of(record.offset, record.key, dict(record.headers)["ehps"], record.value)


def replay_partition(
    records: Iterable[Record],
    library: Library,
    partition: int,
    *,
    live: Live | None = None,
    each: Callable[[bytes, bool], None] | None = None,
) -> Replayed:
    """Replay one partition.

    Args:
        records: of the log's partition, in order of offset, from the first.
        library: content that the controls name.
        partition: its number.
        live: compare with this, and stop at its offset; None: replay to the end.
        each: called with the bytes of every alert and whether it is for the shadow topic.
    """
    result, store = Replayed(), MemoryStore()
    said: dict[Said, bytes] = {}
    wanted: Iterator[Record] = iter(records)
    if live is not None:
        wanted = takewhile(lambda record: record.offset < live.offset, wanted)
    for step in replay((log_record(record) for record in wanted), library, partition, store):
        result.records += step.records
        for output in step.alerts:
            document = orjson.loads(output.value)
            result.alerts[document["kind"]] += document["state"] == "raised"
            result.states[document["state"]] += 1
            topic = ALERTS_SHADOW if output.shadow else ALERTS
            said[_named(topic, document)] = output.value
            if each is not None:
                each(output.value, output.shadow)
    result.families = len(store.families)
    if live is not None:
        _compare_alerts(result, said, live)
        _compare_states(result, store, live, partition)
    return result


def _named(topic: str, document: Mapping[str, Any]) -> Said:
    at = document["position"]
    position = at["partition"], at["offset"], at["sequence"]
    return topic, position, document["alert_id"], document["state"]


def live_alerts(records: Iterable[Record]) -> tuple[dict[int, dict[Said, bytes]], int]:
    """Alerts that live sent, by log partition; and how many were sent a second time with other bytes.

    A crash may send an alert twice: the same id, the same bytes. Anything else is a difference.
    """
    found: dict[int, dict[Said, bytes]] = {}
    changed = 0
    for record in records:
        value = record.value or b""
        name = _named(record.topic, orjson.loads(value))
        held = found.setdefault(name[1][0], {}).setdefault(name, value)
        changed += held != value
    return found, changed


def _compare_alerts(result: Replayed, said: Mapping[Said, bytes], live: Live) -> None:
    sent = {at: value for at, value in live.alerts.items() if at[1][1] < live.offset}
    for at in sorted(said.keys() | sent.keys()):
        where = f"{at[0]} {'/'.join(map(str, at[1]))}: alert {at[2]} ({at[3]})"
        if at not in sent:
            result.differ(f"{where} only in the replay")
        elif at not in said:
            result.differ(f"{where} was only sent live")
        elif said[at] != sent[at]:
            result.differ(f"{where} has other content in the replay")


def _compare_states(result: Replayed, store: MemoryStore, live: Live, partition: int) -> None:
    if store.offset != live.offset:
        result.differ(
            f"partition {partition}: replay ends at {store.offset}, live at {live.offset}"
        )
    if store.partition != live.partition:
        result.differ(f"partition {partition}: the partition state differs")
    for family in sorted(store.families.keys() | live.families.keys()):
        if store.families.get(family) != live.families.get(family):
            held = (
                "differs" if family in store.families and family in live.families else "is missing"
            )
            result.differ(f"partition {partition}: the state of family {family} {held}")


def verify(settings: Settings, client: redis.Redis, library: Library) -> Replayed:
    """Replay everything that live has applied, and compare alerts and states."""
    store, total = RedisStore(client), Replayed()
    sent, changed = live_alerts(
        record
        for topic in (ALERTS, ALERTS_SHADOW)
        for record in read_topic(settings.kafka, topic, settings.segments)
    )
    if changed:
        total.differ(f"{changed} alerts were sent again with other content")
    for partition in range(partitions_of(settings.kafka, LOG)):
        live = Live(
            store.offset(partition),
            store.partition_state(partition),
            store.families(partition),
            sent.get(partition, {}),
        )
        records = read_topic(settings.kafka, LOG, settings.segments, [partition])
        total.add(replay_partition(records, library, partition, live=live))
    return total
