"""How large is a family's state? The simulated authority's years through intake, agents and core, sizes at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from contextlib import nullcontext
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any

import numpy as np
import redis

from benchmarks import seeds
from benchmarks.seeds import Tape
from benchmarks.stage import PARTITIONS
from benchmarks.workload import DAY_S, LA
from ehps.library import Library
from ehps.replay import MemoryStore
from ehps.simulate import Message, World
from schemas.control import Heartbeat
from schemas.topics import AGENCY_TOPICS, LINKS, LOG, UNLINKED, source_of
from streams.agents import Links
from streams.intake import Intake
from streams.logs import configure
from streams.logwriter import LogWriter
from streams.parking import Parking
from streams.patience import utc_now
from streams.ports import Stretch
from streams.registry import HISTORY, Registry
from streams.segments import Record
from streams.telling import Pace

START = date(2021, 9, 1)


def sizes(
    client: redis.Redis, families: int, weeks: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Median, 99th percentile and greatest state, bytes, after `weeks` of a simulated authority."""
    say(f"simulating {families:,} families for {weeks} weeks")
    client.flushall()
    configure("error")
    stores = {partition: MemoryStore() for partition in range(PARTITIONS)}
    messages = World(families, weeks, 1, START, LA).simulate()
    count = 0
    teller = _Teller(Registry(client))
    for day, group in groupby(messages, key=lambda message: message.known // DAY_S):
        count += teller.day(day, list(group))
        if len(teller.tape.records) > seeds.PORTION:
            seeds.apply(stores, teller.take())
    seeds.apply(stores, teller.take())
    held = [len(state) for store in stores.values() for state in store.families.values()]
    median, high = np.percentile(held, [50, 99])
    return {
        "families": families,
        "weeks": weeks,
        "messages": count,
        "states": len(held),
        "mean": round(float(np.mean(held))),
        "median": round(float(median)),
        "p99": round(float(high)),
        "max": max(held),
    }


class _Teller:
    """Tells days through the product's link agent, intake and parking, onto a tape of the log."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._signs: dict[str, datetime] = {}
        self._read: Counter[str] = Counter()
        self._begun = False
        self.tape = Tape()

    def take(self) -> Tape:
        """The log so far, which then starts anew."""
        tape, self.tape = self.tape, Tape()
        tape.records = [record for record in tape.records if record[0] == LOG]
        return tape

    def day(self, number: int, messages: list[Message]) -> int:
        """One day's messages, links first, and the heartbeat at its end."""
        log = LogWriter(self.tape, PARTITIONS)
        if not self._begun:
            self._begin(log, datetime.fromtimestamp(number * DAY_S, UTC))
        parking = Parking(self._registry, self.tape, log, utc_now, nullcontext())
        intake = Intake(_nobody(), self._registry, self.tape, log, Pace(1, 1.0), _known)
        events = [message for message in messages if message.topic in AGENCY_TOPICS]
        links = [message for message in messages if message.topic == LINKS]
        Links(self._registry, self.tape, log, parking, _known).take(*self._records(LINKS, links))
        before = len(self.tape.records)
        for topic in AGENCY_TOPICS:
            _, records = self._records(topic, [event for event in events if event.topic == topic])
            intake.take(records)
        unlinked = [record for record in self.tape.records[before:] if record[0] == UNLINKED]
        parking.take(*self._again(unlinked))
        self._signs |= {
            source_of(event.topic): datetime.fromtimestamp(event.known, UTC) for event in events
        }
        end = datetime.fromtimestamp((number + 1) * DAY_S, UTC)
        log.beat(Heartbeat(la=LA, time=end, sources=dict(self._signs)))
        return len(messages)

    def _begin(self, log: LogWriter, moment: datetime) -> None:
        self._begun = True
        self._registry.mark_whole({LA: HISTORY})
        log.control(Library.packaged().default_control(LA, moment))
        log.beat(Heartbeat(la=LA, time=moment, sources={}))

    def _records(self, topic: str, messages: list[Message]) -> tuple[Stretch, list[Record]]:
        return self._stretch(topic, [(m.key.encode(), m.value, []) for m in messages])

    def _again(self, records: list[Any]) -> tuple[Stretch, list[Record]]:
        return self._stretch(
            UNLINKED, [(key, value, headers) for _, _, key, value, headers in records]
        )

    def _stretch(self, topic: str, contents: list[Any]) -> tuple[Stretch, list[Record]]:
        """Records of a topic with one partition, which goes on where it stood."""
        start = self._read[topic]
        self._read[topic] += len(contents)
        records = [
            Record(topic, 0, start + n, 0, key, value, headers)
            for n, (key, value, headers) in enumerate(contents)
        ]
        return Stretch(topic, 0, start, self._read[topic]), records


def _known(authorities: Collection[str]) -> None:
    """Nobody is refused here."""
    if authorities:
        raise AssertionError(f"not set up: {authorities}")


def _nobody() -> Any:
    """Intake's reader: its batches are handed to it here."""
    return None
