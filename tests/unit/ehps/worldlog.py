"""A simulated authority's months as the log that intake would write: links resolved, a heartbeat a day."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import orjson
from families import LA, LIBRARY

from ehps.log import LogRecord, RecordKind, pack_event, pack_other, pack_retraction
from ehps.simulate import Message, World
from schemas import Event, PersonLinked, family_key, validate_event, validate_link
from schemas.control import Heartbeat
from schemas.topics import AGENCY_TOPICS, LINKS, source_of

DAY_S = 86_400
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class WorldLog:
    """One partition's log of a world; `days` holds each day's records, its heartbeat last."""

    days: list[list[LogRecord]] = field(default_factory=list)
    _families: dict[str, str] = field(default_factory=dict)
    _signs: dict[str, datetime] = field(default_factory=dict)

    def records(self) -> list[LogRecord]:
        """All days, with offsets."""
        plain = [record for day in self.days for record in day]
        return [record._replace(offset=offset) for offset, record in enumerate(plain)]

    def tell(self, message: Message) -> None:
        """One message of the world; what intake would refuse or park is left out."""
        if message.topic == LINKS:
            link = validate_link(message.value, None, NOW)
            if isinstance(link, Event):
                self._join(link)
        elif message.topic in AGENCY_TOPICS:
            event = validate_event(message.topic, message.value, None, NOW)
            self._signs[source_of(message.topic)] = datetime.fromtimestamp(message.known, UTC)
            if isinstance(event, Event) and event.subject in self._families:
                pack = pack_retraction if event.type == "record.retracted.v1" else pack_event
                self._put(self._families[event.subject], pack(event, LA), message.value)

    def _join(self, link: Event) -> None:
        family = family_key(link.la, link.data.family)
        self._families[link.subject] = family
        document = {
            "subject": link.subject,
            "version": link.recordedtime.isoformat(),
            "removed": not isinstance(link, PersonLinked),
            "role": getattr(link.data, "role", "adult"),
            "born": getattr(link.data, "born", None),
            "confidence": getattr(link.data, "confidence", 1.0),
        }
        self._put(family, pack_other(RecordKind.MEMBERSHIP, LA), orjson.dumps(document))

    def open(self, moment: datetime) -> None:
        """The first control and heartbeat."""
        self.days.append([])
        control = LIBRARY.default_control(LA, moment).model_dump_json().encode()
        self._put("", pack_other(RecordKind.CONTROL, LA), control)
        self.beat(moment)

    def beat(self, moment: datetime) -> None:
        """A heartbeat, which ends a day."""
        value = Heartbeat(la=LA, time=moment, sources=dict(self._signs)).model_dump_json().encode()
        self._put("", pack_other(RecordKind.HEARTBEAT, LA), value)
        self.days.append([])

    def _put(self, family: str, compact: bytes, value: bytes) -> None:
        self.days[-1].append(LogRecord(0, family, compact, value))


def world_log(families: int, weeks: int, seed: int) -> WorldLog:
    """The log of a seeded world."""
    log, day = WorldLog(), None
    for message in World(families, weeks, seed, date(2024, 9, 2), LA, 0.0).simulate():
        today = message.known // DAY_S
        if day is None:
            day = today
            log.open(datetime.fromtimestamp(day * DAY_S, UTC))
        while day < today:
            day += 1
            log.beat(datetime.fromtimestamp(day * DAY_S, UTC))
        log.tell(message)
    return log
