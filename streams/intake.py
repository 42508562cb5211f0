"""Intake: agencies' messages in; log, unlinked topic and dead letters out. At least once: facts absorb repeats."""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import datetime

from confluent_kafka import Message, TopicPartition

from schemas.envelope import Event
from schemas.topics import AGENCY_TOPICS, UNLINKED, dead_letter_topic, source_of
from schemas.validate import Rejection, validate_event
from streams import metrics
from streams.deadletters import fitting, kept_headers
from streams.kafka import Sender, drain, good, record_of
from streams.logs import logger
from streams.logwriter import INPUT, LogWriter
from streams.patience import Clock, Flag, Patience, utc_now
from streams.ports import Certain, Lookups, Reader
from streams.progress import Progress
from streams.segments import Record
from streams.telling import Pace, Teller

UNKNOWN_AUTHORITY = "an authority that was never set up here"
NOT_SERVED = Rejection(
    "unknown_authority",
    "la",
    UNKNOWN_AUTHORITY,
    "the ONS code of an authority that receives EHPS alerts",
)
SIGN_EVERY_S = 5
"""A source that sends all the time signs once in each such stretch of the clock, none of which lies in two days:
heartbeats, once a minute, are who reads it."""


class Intake:
    """Validates, finds the family, and puts each message where it belongs."""

    def __init__(
        self,
        reader: Reader,
        registry: Lookups,
        sender: Sender,
        log: LogWriter,
        pace: Pace,
        certain: Certain,
        *,
        clock: Clock = utc_now,
        progress: Progress | None = None,
    ) -> None:
        """Nothing starts before `start`. `log` writes through `sender`; `certain` is asked before one is refused."""
        self._reader, self._registry, self._sender, self._log = reader, registry, sender, log
        self._certain = certain
        self._pace, self._clock = pace, clock
        self._teller = Teller(reader, pace)
        self._progress = progress or Progress("intake", asks=False)
        self._messages: list[Message] = []
        self._signed: dict[tuple[str, str], int] = {}

    def run(self, stop: Flag) -> None:
        """Take messages until told to stop."""
        self.start()
        patience = Patience("intake", told=self._progress.waits_out)
        while not stop.is_set():
            patience.attempt(self.turn, stop)
        self._teller.tell(last=True)
        self._reader.close()

    def start(self) -> None:
        """Join the group."""
        self._reader.subscribe(list(AGENCY_TOPICS), on_assign=self._assigned)

    def _assigned(self, reader: Reader, places: list[TopicPartition]) -> None:
        self._teller.forget()
        self._progress.own(reader, places)

    def turn(self) -> None:
        """Take what came, everything confirmed, and only then tell the group. What failed is kept and taken again."""
        if not self._messages:
            most, wait_s = self._pace.batch_records, self._teller.rest_s()
            self._messages = good(drain(self._reader, most, wait_s))
        self._progress.took(len(self._messages))
        last: dict[tuple[str, int], Record] = {}
        if self._messages:
            records = [record_of(message) for message in self._messages]
            self.take(records)
            last = {(record.topic, record.partition): record for record in records}
            for (topic, partition), record in last.items():
                self._teller.done(topic, partition, record.offset + 1)
            self._messages = []
        self._teller.tell(last=not last)
        for (topic, partition), record in last.items():
            self._progress.moved(topic, partition, record.offset + 1, record.timestamp_ms)
        self._progress.rest()

    def take(self, records: list[Record]) -> dict[str, int]:
        """Put one batch where it belongs, everything confirmed. Returns how many went where."""
        began, now, laps = time.perf_counter(), self._clock(), metrics.Laps("intake")
        verdicts = [
            validate_event(record.topic, record.value, record.headers, now) for record in records
        ]
        subjects = [verdict.subject for verdict in verdicts if isinstance(verdict, Event)]
        authorities, families = self._registry.look_up(subjects)
        family_of = dict(zip(subjects, families, strict=True))
        told = {verdict.la for verdict in verdicts if isinstance(verdict, Event)}
        self._certain(told - authorities.keys())
        events: list[tuple[Record, Event]] = []
        for record, verdict in zip(records, verdicts, strict=True):
            if isinstance(verdict, Rejection):
                dead_letter(self._sender, record, verdict, now)
            elif verdict.la not in authorities:
                dead_letter(self._sender, record, NOT_SERVED, now)
            else:
                events.append((record, verdict))
                self._put(record, verdict, family_of[verdict.subject])
        logged = sum(family_of[event.subject] is not None for _, event in events)
        laps.lap("validate")
        self._sender.confirm()
        laps.lap("send")
        self._sign(events, now)
        counts = {
            "logged": logged,
            "parked": len(events) - logged,
            "dead_lettered": len(records) - len(events),
        }
        metrics.RECORDS.labels("intake").inc(len(records))
        for outcome, count in counts.items():
            metrics.INTAKE_OUTCOMES.labels(outcome).inc(count)
        logger().info(
            "intake.batch",
            records=len(records),
            **counts,
            ms=round((time.perf_counter() - began) * 1000, 1),
        )
        return counts

    def _put(self, record: Record, event: Event, family: str | None) -> None:
        """A known person's event goes to the log, another to the unlinked topic."""
        value, place = _json(record, event), coordinates(record)
        if family is not None:
            self._log.event(family, event, value, place, record.timestamp_ms)
        else:
            self._sender.send(UNLINKED, value, event.subject, [(INPUT, place.encode())])

    def _sign(self, events: list[tuple[Record, Event]], now: datetime) -> None:
        seconds, signs = int(now.timestamp()), defaultdict[str, dict[str, int]](dict)
        for la, topic in dict.fromkeys((event.la, record.topic) for record, event in events):
            if self._signed.get((la, topic), -1) // SIGN_EVERY_S != seconds // SIGN_EVERY_S:
                signs[la][topic] = seconds
        for la, topics in signs.items():
            self._registry.sign(la, {source_of(topic): at for topic, at in topics.items()})
            self._signed |= {(la, topic): at for topic, at in topics.items()}


def coordinates(record: Record) -> str:
    """topic/partition/offset: what `reconcile` joins on."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def _json(record: Record, event: Event) -> bytes:
    """The message as structured JSON: as it was sent, or put together from Kafka's binary mode."""
    if record.headers and any(name.startswith("ce_") for name, _ in record.headers):
        return event.model_dump_json(exclude_none=True).encode()
    return record.value or b""


def dead_letter(
    sender: Sender, record: Record, why: Rejection, now: datetime, stage: str = "intake"
) -> None:
    """Keep a rejected message, bytes untouched, with a reason that its sender can act on."""
    headers = {
        "__streams.errors.topic": record.topic,
        "__streams.errors.partition": str(record.partition),
        "__streams.errors.offset": str(record.offset),
        "__streams.errors.exception": why.code,
        "__streams.errors.message": why.hint,
        "ehps.errors.field": why.field,
        "ehps.errors.observed": why.observed,
        "ehps.errors.stage": stage,
        "ehps.errors.failed-at": now.isoformat(),
    }
    metrics.DEAD_LETTERS.labels(source_of(record.topic), why.code).inc()
    kept, cut = fitting(record)
    sender.send(
        dead_letter_topic(source_of(record.topic)),
        kept.value,
        kept.key,
        [*kept_headers(kept), *cut, *((n, v.encode()) for n, v in headers.items())],
    )
