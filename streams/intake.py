"""Intake: agencies' messages in; the log, parked events and dead letters out. At least once: facts absorb repeats."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event as Flag

import orjson
import redis
from confluent_kafka import Consumer, Message, TopicPartition

from schemas.envelope import Event
from schemas.topics import AGENCY_TOPICS, UNLINKED, dead_letter_topic, source_of
from schemas.validate import Rejection, validate_event
from streams.config import Settings
from streams.errors import DeliveryFailed
from streams.kafka import Sender, consumer, drain, good, record_of
from streams.logs import logger
from streams.logwriter import INPUT, LogWriter
from streams.segments import Record
from streams.store import Registry

BACK_OFF_S = (0.2, 5.0)
OUTAGE_S_MAX = 600.0
UNKNOWN_AUTHORITY = "an authority that was never set up here"


class Intake:
    """Validates, finds the family, and puts each message where it belongs."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        sender: Sender,
        log: LogWriter,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Nothing starts before `run`."""
        self._settings, self._registry, self._sender, self._log, self._clock = (
            settings,
            registry,
            sender,
            log,
            clock,
        )
        self._consumer: Consumer | None = None

    def run(self, stop: Flag) -> None:
        """Take messages until told to stop. Offsets are committed once everything of a batch is confirmed."""
        client = self._consumer = consumer(
            self._settings.kafka, self._settings.intake_group, wait_ms=self._settings.fetch_wait_ms
        )
        client.subscribe(list(AGENCY_TOPICS))
        failing_since: float | None = None
        delay = BACK_OFF_S[0]
        while not stop.is_set():
            messages = good(drain(client, self._settings.batch_records, self._settings.poll_s))
            if not messages:
                continue
            while not stop.is_set():
                try:
                    self.take([record_of(message) for message in messages])
                    client.commit(offsets=_next_offsets(messages), asynchronous=False)
                    failing_since, delay = None, BACK_OFF_S[0]
                    break
                except (redis.ConnectionError, redis.TimeoutError, DeliveryFailed) as error:
                    failing_since = failing_since or time.monotonic()
                    if time.monotonic() - failing_since > OUTAGE_S_MAX:
                        raise
                    logger().warning("intake.again", reason=type(error).__name__, wait_s=delay)
                    stop.wait(delay)
                    delay = min(delay * 2, BACK_OFF_S[1])
        client.close()

    def take(self, records: list[Record]) -> dict[str, int]:
        """Put one batch where it belongs, everything confirmed. Returns how many went where."""
        began, now = time.perf_counter(), self._clock()
        authorities = self._registry.authorities()
        events: list[tuple[Record, Event]] = []
        counts = {"logged": 0, "parked": 0, "dead_lettered": 0}
        for record in records:
            verdict = validate_event(record.topic, record.value, record.headers, now)
            if isinstance(verdict, Event) and verdict.la not in authorities:
                verdict = Rejection(
                    "unknown_authority",
                    "la",
                    UNKNOWN_AUTHORITY,
                    "the ONS code of an authority that receives EHPS alerts",
                )
            if isinstance(verdict, Rejection):
                dead_letter(self._sender, record, verdict, now)
                counts["dead_lettered"] += 1
            else:
                events.append((record, verdict))
        unknown = self._put(events)
        counts["parked"], counts["logged"] = len(unknown), len(events) - len(unknown)
        self._sender.confirm()
        self._park(unknown)
        self._sign(events, now)
        logger().info(
            "intake.batch",
            records=len(records),
            **counts,
            ms=round((time.perf_counter() - began) * 1000, 1),
        )
        return counts

    def _put(self, events: list[tuple[Record, Event]]) -> list[tuple[Record, Event]]:
        """Known people's events go to the log; the others are returned, and kept in the unlinked topic."""
        families = self._registry.families_of([event.subject for _, event in events])
        unknown = []
        for (record, event), family in zip(events, families, strict=True):
            if family is not None:
                self._log.event(family, event, _json(record, event), coordinates(record))
            else:
                unknown.append((record, event))
                headers = [(INPUT, coordinates(record).encode())]
                self._sender.send(UNLINKED, _json(record, event), event.subject, headers)
        return unknown

    def _park(self, unknown: list[tuple[Record, Event]]) -> None:
        """Keep events of unknown people at hand. A link may have come since the look-up: then release at once."""
        for record, event in unknown:
            self._registry.park(
                event.subject, coordinates(record), parked_bytes(record.topic, _json(record, event))
            )
        for subject in dict.fromkeys(event.subject for _, event in unknown):
            self.release(subject)

    def release(self, subject: str) -> int:
        """Put a person's parked events on the log, if the person has a family now. Returns how many."""
        family = self._registry.families_of([subject])[0]
        if family is None:
            return 0
        parked = self._registry.parked(subject)
        for place, raw in parked.items():
            topic, value = unparked(raw)
            verdict = validate_event(topic, value, None, self._clock())
            if isinstance(verdict, Event):
                self._log.event(family, verdict, value, place)
        self._log.confirm()
        self._registry.unpark(subject, list(parked))
        return len(parked)

    def sweep(self) -> int:
        """Release whatever can be: a link may have arrived between look-up and parking on another process."""
        return sum(self.release(subject) for subject in self._registry.parked_subjects())

    def _sign(self, events: list[tuple[Record, Event]], now: datetime) -> None:
        seconds = int(now.timestamp())
        signs: dict[str, dict[str, int]] = {}
        for record, event in events:
            signs.setdefault(event.la, {})[source_of(record.topic)] = seconds
        for la, sources in signs.items():
            self._registry.sign(la, sources)


def coordinates(record: Record) -> str:
    """topic/partition/offset: what `reconcile` joins on."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def _json(record: Record, event: Event) -> bytes:
    """The message as structured JSON: as it was sent, or put together from Kafka's binary mode."""
    if any(name.startswith("ce_") for name, _ in record.headers):
        return event.model_dump_json(exclude_none=True).encode()
    return record.value or b""


def parked_bytes(topic: str, value: bytes) -> bytes:
    """A parked event's bytes: its topic and its JSON."""
    return orjson.dumps([topic, base64.b64encode(value).decode()])


def unparked(raw: bytes) -> tuple[str, bytes]:
    """The reverse."""
    topic, value = orjson.loads(raw)
    return topic, base64.b64decode(value)


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
    sender.send(
        dead_letter_topic(source_of(record.topic)),
        record.value,
        record.key,
        [(n, v.encode()) for n, v in headers.items()],
    )


def _next_offsets(messages: list[Message]) -> list[TopicPartition]:
    last: dict[tuple[str, int], int] = {}
    for message in messages:
        last[message.topic() or "", message.partition() or 0] = (message.offset() or 0) + 1
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in last.items()]
