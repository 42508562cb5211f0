"""Builds logs for tests: one authority, its controls and heartbeats, events told by agencies."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from ehps.library import Library
from ehps.log import LogRecord, RecordKind, pack_event, pack_other, pack_retraction
from ehps.replay import MemoryStore, replay
from schemas import EVENT_TYPES

LA = "E06000023"
START = datetime(2024, 1, 8, tzinfo=UTC)
LIBRARY = Library.packaged()
SOURCES = ("police", "education", "health", "housing", "benefits", "social-care")


def subject(number: int) -> str:
    """A pseudonym."""
    return f"person-{number:032x}"


def event(
    kind: str,
    when: datetime,
    person: int = 1,
    /,
    *,
    event_id: str | None = None,
    recorded: datetime | None = None,
    **data: Any,
) -> Any:
    """A validated event of type `kind`.v1; `incident` and `correctionof` among the data go to the envelope."""
    envelope = {name: data.pop(name) for name in ("incident", "correctionof") if name in data}
    name = event_id or f"{kind}-{when.isoformat()}-{person}"
    return EVENT_TYPES[f"{kind}.v1"].model_validate(
        {
            "specversion": "1.0",
            "id": name,
            "source": f"urn:ehps:{kind.split('.', maxsplit=1)[0]}:{LA}",
            "type": f"{kind}.v1",
            "subject": subject(person),
            "time": when.isoformat(),
            "recordedtime": (recorded or when).isoformat(),
            "la": LA,
            "data": data,
            **envelope,
        }
    )


def retraction(of: Any, recorded: datetime) -> Any:
    """The retraction of an event."""
    return EVENT_TYPES["record.retracted.v1"].model_validate(
        {
            "specversion": "1.0",
            "id": f"retract-{of.id}",
            "source": of.source,
            "type": "record.retracted.v1",
            "subject": of.subject,
            "time": recorded.isoformat(),
            "recordedtime": recorded.isoformat(),
            "la": LA,
            "data": {"id": of.id, "type": of.type, "occurred": of.time.isoformat()},
        }
    )


@dataclass
class Log:
    """A log being written."""

    records: list[LogRecord] = field(default_factory=list)
    now: datetime = START
    silent: set[str] = field(default_factory=set)

    def write(self, family: str, compact: bytes, value: bytes = b"{}") -> None:
        """Append one record."""
        self.records.append(LogRecord(len(self.records), family, compact, value))

    def open(self, days_before: int = 200) -> Log:
        """First control, then `days_before` days of heartbeats, so that coverage is known."""
        self.now -= timedelta(days=days_before)
        control = LIBRARY.default_control(LA, self.now)
        self.write("", pack_other(RecordKind.CONTROL, LA), control.model_dump_json().encode())
        for _ in range(days_before):
            self.beat(0)
            self.now += timedelta(days=1)
        self.beat(0)
        return self

    def beat(self, days: int = 1) -> None:
        """Let `days` pass, a heartbeat a day, every source but the silent ones heard."""
        for _ in range(max(days, 1)):
            self.now += timedelta(days=1 if days else 0)
            signs = {
                source: self.now.isoformat() for source in SOURCES if source not in self.silent
            }
            value = orjson.dumps({"la": LA, "time": self.now.isoformat(), "sources": signs})
            self.write("", pack_other(RecordKind.HEARTBEAT, LA), value)

    def tell(self, message: Any, family: str = "f1") -> None:
        """An event or a retraction reaches the log."""
        pack = pack_retraction if message.type == "record.retracted.v1" else pack_event
        self.write(f"{LA}:{family}", pack(message), message.model_dump_json().encode())

    def member(
        self,
        person: int,
        born: str | None = None,
        role: str = "child",
        family: str = "f1",
        *,
        removed: bool = False,
        confidence: float = 1.0,
        version: str = "2023-01-01T00:00:00Z",
    ) -> None:
        """A person joins or leaves a family."""
        document = {
            "subject": subject(person),
            "version": version,
            "role": role,
            "born": born,
            "confidence": confidence,
            "removed": removed,
        }
        self.write(f"{LA}:{family}", pack_other(RecordKind.MEMBERSHIP, LA), orjson.dumps(document))

    def decide(self, decision: str, moment: str, family: str = "f1") -> None:
        """A professional decides."""
        data = {"alert_id": "0" * 32, "action": "accept"}
        document = {"id": decision, "time": moment, "data": data}
        compact = pack_other(RecordKind.DECISION, LA)
        self.write(f"{LA}:{family}", compact, orjson.dumps(document))

    def run(self, batch: int = 2000) -> Outcome:
        """Replay the log in batches of `batch`."""
        store = MemoryStore()
        alerts, scores = [], []
        for step in replay(self.records, LIBRARY, 0, store, batch):
            alerts += step.alerts
            scores += step.scores
        return Outcome(
            store,
            [orjson.loads(o.value) for o in alerts],
            [orjson.loads(o.value) for o in scores],
            sorted(o.value for o in alerts),
            sorted(o.value for o in scores),
        )


@dataclass
class Outcome:
    """What a replay said."""

    store: MemoryStore
    alerts: list[dict[str, Any]]
    scores: list[dict[str, Any]]
    alert_bytes: list[bytes]
    score_bytes: list[bytes]

    def raised(self, kind: str) -> list[dict[str, Any]]:
        """Alerts of one kind that were raised."""
        return [
            alert for alert in self.alerts if alert["kind"] == kind and alert["state"] == "raised"
        ]
