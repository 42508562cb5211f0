"""The scorer: the commit protocol, top to bottom.

For every batch of a log partition:
  1. read      offset, partition state, due timers and families from Redis, in one atomic call;
  2. compare   if Redis does not stand at the batch's first record, advance nothing: go to where Redis stands;
  3. advance   the pure transition;
  4. send      alerts and scores, every delivery confirmed;
  5. commit    compare the offset once more and set states, timers, partition state and offset: all or nothing;
  6. tell      Kafka's group the offset, which so proves delivery.
Killed anywhere, the next owner starts at Redis's offset and, the transition being deterministic, says the same things
again under the same ids. Outputs go before state: the other order would lose an alert between the two.
"""

from __future__ import annotations

import hashlib
import time
from threading import Event as Flag

import orjson
import redis
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from ehps.advance import advance, needs
from ehps.library import Library
from ehps.log import HEAD_BYTES, LogRecord
from schemas.topics import ALERTS, ALERTS_SHADOW, LOG, SCORES
from streams.config import Settings
from streams.errors import BrokerUnavailable, Conflict, DeliveryFailed, LogMismatch
from streams.kafka import Sender, consumer, drain, good, headers_of, read_range, watermarks
from streams.logs import logger
from streams.logwriter import EHPS
from streams.store import RedisStore

OUTAGE_S_MAX = 600.0
"""After this long without the broker or Redis the process ends, and whoever supervises it decides."""
BACK_OFF_S = (0.2, 5.0)
FAMILIES_MAX = 1000
"""Records, so at most families, advanced at once: bounds one Redis call to a few megabytes."""


class Scorer:
    """Owns some partitions of the log and keeps their families' states."""

    def __init__(
        self, settings: Settings, store: RedisStore, library: Library, sender: Sender, topic_id: str
    ) -> None:
        """Nothing starts before `run`."""
        self._settings, self._store, self._library, self._sender = settings, store, library, sender
        self._topic_id = topic_id
        self._consumer: Consumer = consumer(
            settings.kafka, settings.scorer_group, reset="error", wait_ms=settings.fetch_wait_ms
        )
        self._mismatch: Exception | None = None
        self._told: dict[int, int] = {}

    def run(self, stop: Flag) -> None:
        """Score until told to stop.

        Raises:
            LogMismatch, EhpsError, KafkaException: nothing of the batch was committed.
        """
        self._consumer.subscribe([LOG], on_assign=self._assigned)
        failing_since: float | None = None
        delay = BACK_OFF_S[0]
        while not stop.is_set():
            try:
                self._poll()
                failing_since, delay = None, BACK_OFF_S[0]
            except (redis.ConnectionError, redis.TimeoutError, DeliveryFailed, Conflict) as error:
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > OUTAGE_S_MAX:
                    raise
                logger().warning("scorer.again", reason=type(error).__name__, wait_s=delay)
                stop.wait(delay)
                delay = min(delay * 2, BACK_OFF_S[1])
                self._rewind(stop)
        self._consumer.close()

    def _poll(self) -> None:
        by_partition: dict[int, list[Message]] = {}
        messages = drain(self._consumer, self._settings.batch_records, self._settings.poll_s)
        if self._mismatch is not None:
            raise self._mismatch
        for message in good(messages):
            by_partition.setdefault(message.partition() or 0, []).append(message)
        for partition, batch in by_partition.items():
            for first in range(0, len(batch), FAMILIES_MAX):
                if not self._step(
                    partition, [_record(m) for m in batch[first : first + FAMILIES_MAX]]
                ):
                    break

    def _step(self, partition: int, records: list[LogRecord]) -> bool:
        """One batch through the protocol. False: Redis stands elsewhere, and reading goes on from there."""
        began = time.perf_counter()
        snapshot = self._store.read(partition, needs(records))
        if snapshot.offset != records[0].offset:
            self._seek(partition, snapshot.offset, records[0].offset)
            return False
        step = advance(snapshot, records, self._library, partition)
        told = self._told.get(
            partition, 0
        )  # a rebuild says nothing that Kafka's commit proves was said
        for alert in step.alerts:
            if alert.offset >= told:
                self._sender.send(ALERTS_SHADOW if alert.shadow else ALERTS, alert.value, alert.key)
        for score in step.scores:
            if score.offset >= told:
                self._sender.send(SCORES, score.value, score.key)
        self._sender.confirm()
        self._store.commit(partition, snapshot.offset, step, self._guard(records[-1]))
        self._consumer.commit(
            offsets=[TopicPartition(LOG, partition, step.offset)], asynchronous=False
        )
        logger().info(
            "scorer.batch",
            partition=partition,
            offset=step.offset,
            records=step.records,
            families=len(step.states),
            alerts=len(step.alerts),
            scores=len(step.scores),
            ms=round((time.perf_counter() - began) * 1000, 1),
        )
        return True

    def _seek(self, partition: int, held: int, first: int) -> None:
        """Read on from Redis's offset. A gap in between is a loss: the log never skips an offset."""
        if held < first:
            low, _ = self._consumer.get_watermark_offsets(
                TopicPartition(LOG, partition), timeout=10
            )
            if low > held:
                raise LogMismatch(
                    f"partition {partition} of the log starts at {low}, but the states stand at {held}: "
                    "records are gone"
                )
        self._consumer.seek(TopicPartition(LOG, partition, held))

    def _rewind(self, stop: Flag) -> None:
        """After a failure: every partition from where Redis stands."""
        while not stop.is_set():
            try:
                for place in self._consumer.assignment():
                    self._consumer.seek(
                        TopicPartition(LOG, place.partition, self._store.offset(place.partition))
                    )
                return
            except (redis.ConnectionError, redis.TimeoutError, KafkaException):
                stop.wait(BACK_OFF_S[1])

    def _assigned(self, client: Consumer, places: list[TopicPartition]) -> None:
        """Start at Redis's offset, not Kafka's, and only on the log that the states were made from."""
        try:
            kept = watermarks(self._settings.kafka, LOG)
            for place in client.committed(places, timeout=10):
                self._told[place.partition] = max(place.offset, 0)
            for place in places:
                place.offset = self._store.offset(place.partition)
                self._check_guard(place, *kept[place.partition])
        except (BrokerUnavailable, LogMismatch, KafkaException, redis.RedisError) as error:
            self._mismatch = error
        client.assign(places)
        logger().info("scorer.assigned", partitions=[place.partition for place in places])

    def _check_guard(self, place: TopicPartition, low: int, high: int) -> None:
        guard = self._store.guard(place.partition)
        if guard is not None and guard["topic_id"] != self._topic_id:
            raise LogMismatch(
                "the log is another topic than the states were made from: rebuild, or point to the right broker"
            )
        if not low <= place.offset <= high:
            raise LogMismatch(
                f"partition {place.partition} of the log holds {low}-{high}, the states stand at {place.offset}"
            )
        if guard is not None and low < place.offset:
            last = next(
                iter(
                    read_range(
                        self._settings.kafka, LOG, place.partition, place.offset - 1, place.offset
                    )
                )
            )
            compact = next((value for name, value in last.headers if name == EHPS), b"")
            if _digest(compact, last.value or b"") != guard["digest"]:
                raise LogMismatch(
                    f"record {place.offset - 1} of partition {place.partition} is not the one that was applied"
                )

    def _guard(self, last: LogRecord) -> bytes:
        return orjson.dumps(
            {"topic_id": self._topic_id, "digest": _digest(last.compact, last.value)}
        )


def _digest(compact: bytes, value: bytes) -> str:
    return hashlib.sha256(compact + value).hexdigest()


def _record(message: Message) -> LogRecord:
    key = message.key() or b""
    compact = next((value for name, value in headers_of(message) if name == EHPS), b"")
    if len(compact) < HEAD_BYTES:
        raise LogMismatch(
            f"record {message.offset()} of the log was not written by EHPS: it has no `{EHPS}` header"
        )
    return LogRecord(
        message.offset() or 0,
        key.decode(),
        compact,
        message.value() or b"",
    )
