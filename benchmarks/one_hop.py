"""EHPS's whole job in one hop: events in, alerts and scores out, for comparison with the peers' one hop.

In the product two processes share this work, with the log between them. Here one does all of it on the product's own
functions, in the product's order (outputs confirmed before state), and with the same guard against doing it twice.
Log time is the time of the latest event of the partition, cut to beats: there is no intake that would write heartbeats.
Records are numbered as they would be on a log.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import redis
from confluent_kafka import Message, TopicPartition

from benchmarks.meter import Meter
from benchmarks.seeds import heartbeat
from benchmarks.workload import LA, source_in
from ehps.advance import Step, advance, needs
from ehps.library import Library
from ehps.log import LogRecord, RecordKind, pack_event, pack_other
from schemas.envelope import Event
from schemas.topics import ALERTS, SCORES, agency_topic
from schemas.validate import validate_event
from streams import collector
from streams.config import BATCH_RECORDS
from streams.kafka import CONFIRMED_LINGER_MS, Sender, consumer, drain, good, producer
from streams.ports import Write
from streams.store import RedisStore
from streams.throttle import NoThrottle


class OneHop:
    """Validate, pack, advance, send, commit."""

    def __init__(self, kafka: str, store: RedisStore, topic: str, run: str, beat_s: int) -> None:
        self._store, self._topic, self._beat_s = store, topic, beat_s
        self._consumer = consumer(kafka, run)
        self._consumer.subscribe([topic])
        self._sender = Sender(producer(kafka, CONFIRMED_LINGER_MS), NoThrottle())
        self._library = Library.packaged()
        self._beats: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._pending: tuple[int, int, Step, int, int] | None = None
        self.alerts = 0

    def poll(self) -> int:
        """One batch. Its last step is committed when the next batch has been read. Returns events done."""
        by_partition: dict[int, list[Message]] = {}
        for message in good(drain(self._consumer, BATCH_RECORDS, 0.05)):
            by_partition.setdefault(message.partition(), []).append(message)
        batches = [
            (p, messages, list(self._records(p, messages))) for p, messages in by_partition.items()
        ]
        done = 0 if batches else self._settle()
        for partition, messages, records in batches:
            done += self._settle()
            snapshot = self._store.read({partition: needs(records)})[partition]
            if snapshot.offset != records[0].offset:
                raise RuntimeError(
                    "the states are of other records: this benchmark starts from offset 0"
                )
            step = advance(snapshot, records, self._library, partition)
            for topic, outputs in ((ALERTS, step.alerts), (SCORES, step.scores)):
                for output in outputs:
                    self._sender.send(topic, output.value, output.key)
            self._pending = (
                partition,
                snapshot.offset,
                step,
                messages[-1].offset() + 1,
                len(messages),
            )
        return done

    def _settle(self) -> int:
        if self._pending is None:
            return 0
        partition, expected, step, after, events = self._pending
        self._pending = None
        self._sender.confirm()
        self._store.commit([Write(partition, expected, step, b"{}")])
        self._consumer.commit(
            offsets=[TopicPartition(self._topic, partition, after)], asynchronous=True
        )
        self.alerts += len(step.alerts)
        return events

    def _records(self, partition: int, messages: list[Message]) -> Iterator[LogRecord]:
        now = datetime.now(UTC)
        for message in messages:
            value = message.value()
            event = validate_event(agency_topic(source_in(value)), value, message.headers(), now)
            if not isinstance(event, Event):
                raise TypeError(f"the workload is not valid: {event}")
            beat = int(event.recordedtime.timestamp()) // self._beat_s
            if beat > self._beats.get(partition, 0):
                self._beats[partition] = beat
                compact = pack_other(RecordKind.HEARTBEAT, LA)
                yield self._next(partition, "", compact, _json(beat * self._beat_s))
            yield self._next(partition, message.key().decode(), pack_event(event, LA), value)

    def _next(self, partition: int, family: str, compact: bytes, value: bytes) -> LogRecord:
        """There is no log here: its records are numbered as they would be."""
        offset = self._ends[partition] = self._ends.get(partition, -1) + 1
        return LogRecord(offset, family, compact, value)


def _json(seconds: int) -> bytes:
    return heartbeat(seconds).model_dump_json().encode()


def main() -> None:
    """Until every event of the workload is committed."""
    collector.spare()
    meter, store = Meter(), RedisStore(redis.Redis.from_url(os.environ["BENCH_REDIS"]))
    environment = os.environ
    hop = OneHop(
        environment["BENCH_KAFKA"],
        store,
        environment["BENCH_TOPIC"],
        environment["BENCH_RUN"],
        int(environment["BENCH_BEAT_S"]),
    )
    done = False
    while not done:
        done = meter.count(hop.poll())
    meter.alerts = hop.alerts
    meter.finish()


if __name__ == "__main__":
    main()
