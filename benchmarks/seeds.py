"""States and log of a workload, made by the product's own log writer and core.

A run of the scorer starts with families known, a control in force and, for the questions about growth, years of facts;
so what is measured is events alone. States are put into Redis with the store's own commit, at offset 0 of a log that
goes on where they end.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Any

import redis

from benchmarks.stage import PARTITIONS
from benchmarks.workload import LA, PEOPLE, Sent, Workload, family_name, subject_of
from ehps.advance import Step
from ehps.library import Library
from ehps.log import LogRecord
from ehps.replay import MemoryStore, replay
from ehps.state import Partition
from schemas.control import Heartbeat
from schemas.envelope import Event
from schemas.events import EVENT_TYPES, SOURCES
from schemas.topics import LOG, agency_topic
from schemas.validate import validate_event
from streams.agents import version_at
from streams.logwriter import EHPS, LogWriter
from streams.partitioning import partition_of
from streams.ports import Write
from streams.store import RedisStore, tag

Stores = dict[int, MemoryStore]
PORTION = 20_000
COMMIT_FAMILIES = 1000
ROLES = (("adult", None), ("child", "2014-05"), ("child", "2024-02"))

place_of = cache(partition_of)


class Tape:
    """Stands where a sender would: keeps what a log writer writes."""

    def __init__(self) -> None:
        self.records: list[tuple[str, int | None, bytes, bytes, list[tuple[str, bytes]]]] = []

    def send(
        self, topic: str, value: Any, key: Any, headers: Any = (), partition: int | None = None
    ) -> None:
        """Keep one record, in the order that `Stage.produce` takes."""
        raw = key if isinstance(key, bytes) else key.encode()
        self.records.append((topic, partition, raw, value, list(headers)))

    def confirm(self) -> None:
        """Nothing is on its way."""


def log_of(sents: Iterable[Sent], beat_s: int, last: int = 0) -> Tape:
    """The events on the log, with a heartbeat on every partition before the first event of each beat."""
    tape, now = Tape(), datetime.now(UTC)
    writer = LogWriter(tape, PARTITIONS)
    for number, sent in enumerate(sents):
        if (beat := sent.recorded_s // beat_s) > last:
            last = beat
            writer.beat(heartbeat(beat * beat_s))
        event = validate_event(agency_topic(sent.source), sent.value, None, now)
        if not isinstance(event, Event):
            raise TypeError(f"the workload is not valid: {event}")
        writer.event(
            sent.family,
            event,
            sent.value,
            f"{agency_topic(sent.source)}/{number % PARTITIONS}/{number}",
        )
    return tape


def heartbeat(seconds: int) -> Heartbeat:
    """Every source was heard a minute ago."""
    signs = dict.fromkeys(SOURCES, datetime.fromtimestamp(seconds - 60, UTC))
    return Heartbeat(la=LA, time=datetime.fromtimestamp(seconds, UTC), sources=signs)


def fresh(workload: Workload, *, people: bool = True) -> Stores:
    """Families known, children on a school's roll and a control in force, at the workload's first moment."""
    tape, start = Tape(), int(workload.start_s)
    writer = LogWriter(tape, PARTITIONS)
    moment = datetime.fromtimestamp(start, UTC)
    writer.control(Library.packaged().default_control(LA, moment))
    writer.beat(heartbeat(start))
    for family in range(workload.families if people else 0):
        for person in range(PEOPLE):
            role, born = ROLES[person]
            member = {
                "subject": subject_of(family, person),
                "version": version_at(moment, linked=True),
                "removed": False,
                "role": role,
                "born": born,
                "confidence": 1.0,
            }
            writer.membership(family_name(family), member, "ehps.links.v1/0/0")
            if role == "child":
                enrolment = _enrolment(family, person, start)
                writer.event(family_name(family), enrolment, b"{}", "agency.education.v1/0/0")
    stores = {partition: MemoryStore() for partition in range(PARTITIONS)}
    apply(stores, tape)
    return stores


def _enrolment(family: int, person: int, start_s: int) -> Event:
    moment = datetime.fromtimestamp(start_s, UTC)
    return EVENT_TYPES["education.enrolment.v1"].model_validate(
        {
            "specversion": "1.0",
            "id": f"roll-{family}-{person}",
            "source": "urn:benchmark:education",
            "type": "education.enrolment.v1",
            "subject": subject_of(family, person),
            "time": moment,
            "recordedtime": moment,
            "la": LA,
            "data": {"status": "on_roll"},
        }
    )


def grow(stores: Stores, workload: Workload) -> None:
    """Apply the workload's events in memory."""
    sents: Iterator[Sent] = iter(workload)
    last = 0
    while portion := list(islice(sents, PORTION)):
        apply(stores, log_of(portion, workload.beat_s, last))
        last = max(sent.recorded_s for sent in portion) // workload.beat_s


def apply(stores: Stores, tape: Tape) -> None:
    """Replay a tape onto states in memory; it goes on where they stand."""
    logs: dict[int, list[LogRecord]] = {partition: [] for partition in stores}
    for _, partition, key, value, headers in tape.records:
        place = place_of(key.decode(), PARTITIONS) if partition is None else partition
        offset = stores[place].offset + len(logs[place])
        logs[place].append(LogRecord.of(offset, key, dict(headers)[EHPS], value))
    library = Library.packaged()
    for place, records in logs.items():
        for _ in replay(records, library, place, stores[place]):
            pass


def cloned(stores: Stores, factor: int) -> Stores:
    """As many times the families, with the same states: family n becomes n*factor to n*factor+factor-1."""
    clones = {partition: MemoryStore(0, store.partition) for partition, store in stores.items()}
    for store in stores.values():
        for name, state in store.families.items():
            for copy in _copies(name, factor):
                clones[place_of(copy, PARTITIONS)].families[copy] = state
        for (la, name), due in store.timers.items():
            for copy in _copies(name, factor):
                clones[place_of(copy, PARTITIONS)].timers[la, copy] = due
    return clones


def _copies(name: str, factor: int) -> Iterator[str]:
    number = int(name[-7:])
    return (family_name(number * factor + n) for n in range(factor))


def put(stores: Stores, client: redis.Redis) -> None:
    """Make Redis hold exactly these states, at offset 0 and without a guard, which is about a record of another log."""
    client.flushall()
    redis_store = RedisStore(client)
    for partition, store in stores.items():
        names = iter(store.families)
        while portion := list(islice(names, COMMIT_FAMILIES)):
            states = {name: store.families[name] for name in portion}
            timers = {
                (LA, name): store.timers[LA, name] for name in portion if (LA, name) in store.timers
            }
            step = Step(0, store.partition or b"", states, timers, [], [], 0)
            redis_store.commit([Write(partition, 0, step, b"{}")])
        if not store.families:
            nobody = Step(0, store.partition or b"", {}, {}, [], [], 0)
            redis_store.commit([Write(partition, 0, nobody, b"{}")])
        client.delete(f"{tag(partition)}:guard")


def outcomes(client: redis.Redis) -> dict[str, int]:
    """What the records came to, summed over the partitions of the states in Redis."""
    store = RedisStore(client)
    return summed(store.partition_state(partition) for partition in range(PARTITIONS))


def summed(partitions: Iterable[bytes | None]) -> dict[str, int]:
    """The same, of these partition states."""
    total: Counter[str] = Counter()
    for state in partitions:
        total.update(Partition.decode(state).counts)
    return dict(total)


def held(client: redis.Redis) -> str:
    """A digest of all families' states in Redis."""
    store = RedisStore(client)
    return digest(store.families(partition) for partition in range(PARTITIONS))


def digest(partitions: Iterable[Mapping[str, bytes]]) -> str:
    """The same, of these."""
    found = hashlib.sha256()
    for families in partitions:
        for name in sorted(families):
            found.update(name.encode() + families[name])
    return found.hexdigest()


__all__ = [
    "LOG",
    "Stores",
    "Tape",
    "apply",
    "cloned",
    "digest",
    "fresh",
    "grow",
    "heartbeat",
    "held",
    "log_of",
    "outcomes",
    "put",
    "summed",
]
