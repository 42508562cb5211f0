"""Kafka clients as EHPS needs them: confirmed deliveries, one partitioner, reads that do not wait in vain."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import structlog
from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AdminClient,
    OffsetSpec,
)

from schemas.topics import OWN_BYTES_MAX
from streams.errors import BrokerUnavailable, DeliveryFailed
from streams.logs import logger
from streams.ports import Reader
from streams.segments import Record

REQUEST_S = 10.0
DELIVERY_S = 30.0
"""A delivery not confirmed by then has failed; the broker may be gone."""
CONFIRMED_LINGER_MS = 100
"""For whoever confirms each batch: that sends at once what still waits, so nothing is ever late, and while a batch is
being made its records gather into few requests instead of many, which spares the broker most."""
POLL_S_MAX = 60.0
"""A reader silent for longer loses its partitions until it reads again, which costs work done twice and nothing else.
It is also how long a group waits for a member that died while it joined: so no longer than failing deliveries need."""
ANY_PARTITION = -1
"""The partitioner chooses by the key."""
POLL_EVERY = 100
"""Records between two looks at the reports of deliveries: a look takes as long as a record."""


def _tell(error: KafkaError) -> None:
    """A worker's log says that the broker is away; a command says so itself, in one sentence."""
    if structlog.is_configured():
        logger().warning("kafka.error", reason=error.name())


_QUIET: dict[str, Any] = {"log_level": 0, "error_cb": _tell, "reconnect.backoff.max.ms": 2000}
"""The client's own lines are not ours: they go to stderr, by the hundred while a broker is away."""


def producer(bootstrap: str, linger_ms: int = 2) -> Producer:
    """A producer that loses nothing: idempotent, all replicas, and the partitioner that every other client uses.

    Args:
        linger_ms: longest that a record waits for others. `CONFIRMED_LINGER_MS` for a `Sender`.
    """
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
            "linger.ms": linger_ms,
            "batch.size": 262_144,
            "message.max.bytes": OWN_BYTES_MAX,
            "queue.buffering.max.messages": 1_000_000,
            "message.timeout.ms": int(DELIVERY_S * 1000),
            **_QUIET,
        }
    )


def consumer(
    bootstrap: str,
    group: str,
    *,
    reset: str = "earliest",
    eof: bool = False,
    wait_ms: int = 100,
    on_error: Callable[[KafkaError], None] = _tell,
) -> Consumer:
    """A consumer that commits only when told to.

    Args:
        wait_ms: longest that the broker holds back an empty answer. A real one answers as soon as
            there is a record; the embedded one always waits it out.
    """
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": reset,
            "fetch.wait.max.ms": wait_ms,
            "fetch.queue.backoff.ms": 5,
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 1_000,
            "max.poll.interval.ms": int(POLL_S_MAX * 1000),
            **_QUIET,
            "error_cb": on_error,
            "enable.partition.eof": eof,
        }
    )


class _Batch:
    """Deliveries of one batch. A late report of a batch that was given up must not count for the next."""

    def __init__(self) -> None:
        self.sent = self.confirmed = 0
        self.report = self.delivered  # bound once
        self.failed: str | None = None
        self.appended_ms = -1

    def delivered(self, error: KafkaError | None, message: Message | None) -> None:
        self.confirmed += 1
        if error is not None:
            self.failed = error.str()
        elif message is not None:
            kind, moment_ms = message.timestamp()
            if kind == TIMESTAMP_LOG_APPEND_TIME:
                self.appended_ms = max(self.appended_ms, moment_ms)


class Sender:
    """Produces a batch and confirms it: only callbacks tell whether a record arrived, `flush` does not.

    For one thread: each has a sender, and a producer, of its own.
    """

    def __init__(self, client: Producer, throttle: Any) -> None:
        """Wrap a producer; `throttle` keeps within what an embedded broker can hold."""
        self._client, self._throttle, self._batch = client, throttle, _Batch()

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: str | bytes | None,
        headers: list[tuple[str, bytes]] | None = None,
        partition: int = ANY_PARTITION,
    ) -> None:
        """Queue one record."""
        self._throttle.room(topic, len(value or b"") + 200)
        batch = self._batch
        extra: dict[str, Any] = {"headers": headers} if headers else {}
        while True:
            try:
                # By position: names would take as long as the call itself.
                self._client.produce(topic, value, key, partition, batch.report, **extra)
                break
            except BufferError:
                self._client.poll(0.01)
        batch.sent += 1
        if batch.sent % POLL_EVERY == 0:
            self._client.poll(0)

    def confirm(self) -> int:
        """Wait until every record sent since the last call is with the broker.

        Returns:
            The broker's time (ms since 1970) of the newest of them; -1: the topic keeps the sender's.

        Raises:
            DeliveryFailed: one is not, and cannot be told apart from one that is: do the batch again.
        """
        batch, deadline = self._batch, time.monotonic() + DELIVERY_S + 5
        self._batch = _Batch()
        while batch.confirmed < batch.sent and time.monotonic() < deadline:
            self._client.flush(0.5)
        if batch.failed or batch.confirmed < batch.sent:
            raise DeliveryFailed(
                batch.failed
                or f"{batch.sent - batch.confirmed} records were not confirmed in {DELIVERY_S:g} s"
            )
        return batch.appended_ms


def drain(client: Reader, count: int, wait_s: float) -> list[Message]:
    """Up to `count` records; waits for the first only: `consume(n, t)` would wait `t` out for the n-th."""
    first: list[Message] = client.consume(1, wait_s)
    return first + client.consume(count - 1, 0) if first and count > 1 else first


def good(messages: Sequence[Message]) -> list[Message]:
    """Records without the client's own notices.

    Raises:
        KafkaException: the broker reports something that waiting does not mend.
    """
    told = [message.error() for message in messages]
    for error in filter(None, told):
        if error.code() not in _PASSING:
            raise KafkaException(error)
        if error.code() == KafkaError._MAX_POLL_EXCEEDED:
            _tell(error)
    return [message for message, error in zip(messages, told, strict=True) if error is None]


_PASSING = {
    KafkaError._PARTITION_EOF,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._MAX_POLL_EXCEEDED,  # a long outage of Redis: the client joins again by itself
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
}


def partitions_of(bootstrap: str, topic: str) -> int:
    """How many partitions a topic has; 0: it does not exist.

    Raises:
        BrokerUnavailable: nobody answers.
    """
    return len(_partitions(_admin(bootstrap), bootstrap, [topic])[topic])


def watermarks(bootstrap: str, topic: str) -> dict[int, tuple[int, int]]:
    """(first offset kept, next offset) of every partition; nothing where the topic does not exist."""
    return watermarks_of(bootstrap, [topic])[topic]


def watermarks_of(bootstrap: str, topics: Sequence[str]) -> dict[str, dict[int, tuple[int, int]]]:
    """(first offset kept, next offset) of every partition of these topics, in three requests.

    Raises:
        BrokerUnavailable: nobody answers.
    """
    admin, deadline = _admin(bootstrap), time.monotonic() + REQUEST_S
    while True:
        try:
            return _watermarks(admin, bootstrap, topics)
        except KafkaException as error:
            # A broker that has just started does not lead its partitions yet.
            if time.monotonic() > deadline:
                raise _unanswered(bootstrap) from error
            time.sleep(0.2)


def _watermarks(
    admin: AdminClient, bootstrap: str, topics: Sequence[str]
) -> dict[str, dict[int, tuple[int, int]]]:
    found = _partitions(admin, bootstrap, topics)
    places = [TopicPartition(topic, number) for topic in topics for number in found[topic]]
    marks: dict[str, dict[int, tuple[int, int]]] = {topic: {} for topic in topics}
    if not places:
        return marks
    asked = [
        admin.list_offsets(dict.fromkeys(places, spec), request_timeout=REQUEST_S)
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]
    ]
    for place in places:
        low, high = (answers[place].result().offset for answers in asked)
        marks[place.topic][place.partition] = low, high
    return marks


@lru_cache(maxsize=4)
def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, **_QUIET})


def _partitions(admin: AdminClient, bootstrap: str, topics: Sequence[str]) -> dict[str, list[int]]:
    try:
        # One topic is asked for by name: a broker with thousands of others need not list them.
        metadata = admin.list_topics(*topics if len(topics) == 1 else (), timeout=REQUEST_S)
    except KafkaException as error:
        raise _unanswered(bootstrap) from error
    held = metadata.topics
    return {
        topic: sorted(held[topic].partitions) if topic in held and not held[topic].error else []
        for topic in topics
    }


def _unanswered(bootstrap: str) -> BrokerUnavailable:
    return BrokerUnavailable(
        f"Kafka does not answer at {bootstrap}: start it (`ehps up` or `make stack`), or set EHPS_KAFKA"
    )


ALL_AWAY = KafkaError._ALL_BROKERS_DOWN
"""What a client's `on_error` hears once none of its brokers answers."""


def header_of(message: Message, name: str) -> bytes | None:
    """The last header of that name; one without a value reads as empty."""
    headers: Any = message.headers()
    held = dict(headers or ())
    if name not in held:
        return None
    value = held[name]
    return value if isinstance(value, bytes) else b""


def headers_of(message: Message) -> list[tuple[str, bytes]]:
    """A message's headers; one without a value reads as empty."""
    found: Any = message.headers()
    if not found:
        return []
    return [(name, value if isinstance(value, bytes) else b"") for name, value in found]


def record_of(message: Message) -> Record:
    """A consumed message as a record."""
    return Record(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        message.key(),
        message.value(),
        headers_of(message),
    )
