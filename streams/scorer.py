"""The scorer: the commit protocol, top to bottom.

For every batch (`_step`), the records of each partition:
  1. read      due timers, then offset, partition state and families from Redis, of each partition as of one moment;
  2. compare   if Redis does not stand at the batch's first record, advance nothing: go to where Redis stands;
  3. advance   the pure transition;
  4. send      alerts and scores, every delivery confirmed;
  5. commit    compare the offset once more and set states, timers, partition state and offset: all or nothing;
  6. tell      Kafka's group the offset, which so proves delivery; four times a second, and when nothing more comes.
Killed anywhere, the next owner starts at Redis's offset and, the transition being deterministic, says the same things
again under the same ids. Outputs go before state: the other order would lose an alert between the two.
"""

from __future__ import annotations

import time
from itertools import groupby
from operator import methodcaller

from confluent_kafka import OFFSET_BEGINNING, Message, TopicPartition

from ehps.advance import Share, Step, advance_all, needs
from ehps.library import Library
from ehps.log import LogRecord
from schemas.topics import ALERTS, ALERTS_SHADOW, LOG, SCORES
from streams import metrics
from streams.errors import StreamsError
from streams.guard import LogGuard, log_record
from streams.kafka import REQUEST_S, Sender, drain, good, header_of
from streams.logs import logger
from streams.logwriter import RECEIVED
from streams.patience import Flag, Patience
from streams.ports import Reader, States, Write
from streams.progress import Progress
from streams.redisclient import ERRORS as REDIS_ERRORS
from streams.telling import Pace, Teller, answered


class Scorer:
    """Owns some partitions of the log and keeps their families' states."""

    def __init__(
        self,
        reader: Reader,
        store: States,
        library: Library,
        sender: Sender,
        guard: LogGuard,
        pace: Pace,
        *,
        progress: Progress | None = None,
    ) -> None:
        """Nothing starts before `start`. `reader` is of the scorers' group and fails where its offset is gone."""
        self._reader, self._store, self._library = reader, store, library
        self._sender, self._guard, self._teller = sender, guard, Teller(reader, pace)
        self._pace = pace
        self._progress = progress or Progress("scorer", asks=False)
        self._messages: dict[int, list[Message]] = {}
        self._astray = False
        self._failed: Exception | None = None
        self._stands: dict[int, int] = {}
        self._said: dict[int, int] = {}

    def run(self, stop: Flag) -> None:
        """Score until told to stop.

        Raises:
            LogMismatch, EhpsError, KafkaException: nothing of the batch was committed.
        """
        self.start()
        patience = Patience("scorer", told=self._progress.waits_out)
        while not stop.is_set():
            patience.attempt(self.turn, stop)
        self._teller.tell(last=True)
        self._reader.close()

    def start(self) -> None:
        """Join the group."""
        self._reader.subscribe([LOG], on_assign=self._assigned)

    def turn(self) -> None:
        """Read once, and take what came through the protocol."""
        if self._astray:
            self._find_place()
        self._astray = True  # until all is done: what was read and not committed must be read again
        batch = rest = self._read()
        while rest:
            rest = self._step(rest)
        self._astray = not batch and self._went_back()
        self._teller.tell(last=not batch)
        self._progress.rest()

    def _step(self, batch: dict[int, list[LogRecord]]) -> dict[int, list[LogRecord]]:
        """One batch of each partition through the protocol; one wait for deliveries serves them all.

        Returns:
            What is left of it, where more timers were due than one read gives.
        """
        began, laps = time.perf_counter(), metrics.Laps("scorer")
        writes: list[Write] = []
        left: dict[int, list[LogRecord]] = {}
        snapshots = self._store.read({p: needs(records) for p, records in batch.items()})
        laps.lap("read")
        shares: list[Share] = []
        for partition, records in batch.items():
            snapshot = snapshots[partition]
            if snapshot.offset != records[0].offset:
                self._go_to(partition, snapshot.offset)
                continue
            silent = records[-1].offset < self._said.get(partition, 0)
            shares.append(Share(partition, snapshot, records, silent))
        if not shares:
            return left
        steps = advance_all(shares, self._library)
        for (partition, snapshot, *_), step in zip(shares, steps, strict=True):
            records = batch[partition]
            self._send(partition, step)
            seal = self._guard.seal(records[step.records - 1])
            writes.append(Write(partition, snapshot.offset, step, seal))
            if step.records < len(records):
                left[partition] = records[step.records :]
                metrics.BOUNDS.labels("timers").inc()
        laps.lap("advance")
        self._sender.confirm()
        laps.lap("send")
        for write in writes:
            self._count_alerts(write.partition, write.step)
        self._store.commit(writes)
        laps.lap("commit")
        for write in writes:
            self._note(write.partition, write.step.offset)
        self._account(writes, time.perf_counter() - began)
        self._teller.tell()
        laps.lap("tell")
        return left

    def _note(self, partition: int, offset: int) -> None:
        """Redis stands at `offset` now; the group is told of it when it is due."""
        self._stands[partition] = offset
        if offset > self._said.get(partition, 0):
            self._said[partition] = offset
            self._teller.done(LOG, partition, offset)

    def _count_alerts(self, partition: int, step: Step) -> None:
        """Before the commit: it may be refused, and what was confirmed on the topic stays there."""
        messages, said = self._messages[partition], self._said.get(partition, 0)
        first = messages[0].offset() or 0
        for alert in step.alerts:
            if alert.offset >= said:
                metrics.alerted(alert, _received_ms(messages[alert.offset - first]))

    def _account(self, writes: list[Write], seconds: float) -> None:
        """What metrics, watchdog and log are told of a batch that is done."""
        steps = [write.step for write in writes]
        for partition, _, step, _ in writes:
            metrics.states_written(step.states.values())
            messages = self._messages[partition]
            newest = messages[step.offset - 1 - (messages[0].offset() or 0)]
            self._progress.moved(LOG, partition, step.offset, newest.timestamp()[1], step.partition)
        records = sum(step.records for step in steps)
        metrics.RECORDS.labels("scorer").inc(records)
        logger().info(
            "scorer.batch",
            offsets={str(write.partition): write.step.offset for write in writes},
            records=records,
            families=sum(len(step.states) for step in steps),
            alerts=sum(len(step.alerts) for step in steps),
            scores=sum(len(step.scores) for step in steps),
            ms=round(seconds * 1000, 1),
        )

    def _send(self, partition: int, step: Step) -> None:
        """Everything not said yet: a rebuild is silent on what Kafka's commit proves was delivered."""
        said = self._said.get(partition, 0)
        for alert in step.alerts:
            if alert.offset >= said:
                self._sender.send(ALERTS_SHADOW if alert.shadow else ALERTS, alert.value, alert.key)
        for score in step.scores:
            if score.offset >= said:
                self._sender.send(SCORES, score.value, score.key)

    def _read(self) -> dict[int, list[LogRecord]]:
        messages = good(drain(self._reader, self._pace.batch_records, self._teller.rest_s()))
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed
        self._progress.took(len(messages))
        if len(messages) == self._pace.batch_records:
            metrics.BOUNDS.labels("batch").inc()
        by_partition: dict[int, list[Message]] = {}
        for partition, run in groupby(messages, methodcaller("partition")):
            by_partition.setdefault(partition, []).extend(run)
        self._messages = by_partition
        return {partition: _unbroken(batch) for partition, batch in by_partition.items()}

    def _assigned(self, reader: Reader, places: list[TopicPartition]) -> None:
        """Start where Redis stands, not where the group does. `turn` raises what fails here, and asks again."""
        self._stands.clear()
        self._teller.forget()
        try:
            self._stand(places)
        except (StreamsError, *REDIS_ERRORS) as error:
            self._failed = error
            places = [TopicPartition(LOG, at.partition, OFFSET_BEGINNING) for at in places]
        reader.assign(places)
        self._progress.own(reader, places)
        logger().info("scorer.assigned", partitions=[place.partition for place in places])

    def _stand(self, places: list[TopicPartition]) -> None:
        """Set the places' offsets to Redis's, if the log is still the one that the states were made from."""
        with answered("what was told of the log"):
            known = self._reader.committed(places, timeout=REQUEST_S)
        told = {place.partition: place.offset for place in known}
        for place in places:
            place.offset, seal = self._store.standing(place.partition)
            self._guard.check(place.partition, place.offset, seal)
            self._stands[place.partition] = place.offset
            self._said[place.partition] = max(told[place.partition], place.offset)
            if place.offset > told[place.partition]:  # the owner before died between the two
                self._teller.done(LOG, place.partition, place.offset)

    def _went_back(self) -> bool:
        """Whether Redis lost what it held, asked while nothing comes: no record's comparison would tell."""
        return any(self._store.standing(p)[0] < offset for p, offset in self._stands.items())

    def _find_place(self) -> None:
        """After a failure: every partition from where Redis stands."""
        with answered("where to go on"):
            places = self._reader.assignment()
            self._stand(places)
            for place in places:
                self._reader.seek(place)
        # Some of a failed batch may have been committed: what waits is counted from where Redis stands.
        self._progress.own(self._reader, places)

    def _go_to(self, partition: int, held: int) -> None:
        """Read on from Redis's offset. A gap before what the log still holds is a loss: it never skips an offset."""
        place = TopicPartition(LOG, partition, held)
        with answered("where to go on"):
            low, _ = self._reader.get_watermark_offsets(place, timeout=REQUEST_S)
            self._guard.check_gap(partition, held, low)
            self._reader.seek(place)


def _received_ms(message: Message) -> int | None:
    """When the broker received the agency's record behind a log record; None where that is not said."""
    raw = header_of(message, RECEIVED)
    return int.from_bytes(raw, "big") if raw else None


def _unbroken(messages: list[Message]) -> list[LogRecord]:
    """The first records that follow each other: a rebalance between two reads may have made a jump."""
    records = [log_record(message) for message in messages]
    follows = [record.offset == due for due, record in enumerate(records, records[0].offset)]
    return records if all(follows) else records[: follows.index(False)]
