"""How large is a family's state? The simulated authority's years through intake, agents and core, sizes at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
from schemas.topics import AGENCY_TOPICS, LOG, source_of
from streams.agents import Links
from streams.config import Settings
from streams.intake import Intake
from streams.logs import configure
from streams.logwriter import LogWriter
from streams.segments import Record
from streams.store import HISTORY, Registry

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
        "median": round(float(median)),
        "p99": round(float(high)),
        "max": max(held),
    }


class _Teller:
    """Tells days through the product's intake and link agent, onto a tape of the log."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._signs: dict[str, datetime] = {}
        self._offset = 0
        self._begun = False
        self.tape = Tape()

    def take(self) -> Tape:
        """The log so far, which then starts anew."""
        tape, self.tape = self.tape, Tape()
        tape.records = [record for record in tape.records if record[0] == LOG]
        return tape

    def day(self, number: int, messages: list[Message]) -> int:
        log = LogWriter(self.tape, PARTITIONS)
        intake = Intake(Settings(), self._registry, self.tape, log)
        links = Links(self._registry, self.tape, log, intake)
        if not self._begun:
            self._begun = True
            moment = datetime.fromtimestamp(number * DAY_S, UTC)
            self._registry.set_authority(LA, HISTORY)
            log.control(Library.packaged().default_control(LA, moment))
            log.beat(Heartbeat(la=LA, time=moment, sources={}))
        links.take(
            self._records(message for message in messages if message.topic not in AGENCY_TOPICS)
        )
        events = [message for message in messages if message.topic in AGENCY_TOPICS]
        intake.take(self._records(events))
        self._signs |= {
            source_of(event.topic): datetime.fromtimestamp(event.known, UTC) for event in events
        }
        end = datetime.fromtimestamp((number + 1) * DAY_S, UTC)
        log.beat(Heartbeat(la=LA, time=end, sources=dict(self._signs)))
        return len(messages)

    def _records(self, messages: Iterable[Message]) -> list[Record]:
        result = []
        for message in messages:
            self._offset += 1
            result.append(
                Record(message.topic, 0, self._offset, 0, message.key.encode(), message.value, [])
            )
        return result
