"""Two hops for the latency's limits, in two kinds.

Those that think of nothing show what the broker, Redis and the clients take by themselves; the others validate, find
the family and work out EHPS's features, but judge and tell nothing.

python -m benchmarks.bare pass      agency topics to the log, each record sent on and confirmed
python -m benchmarks.bare touch     the log to a score for each record: states read, sent and confirmed, states written
python -m benchmarks.bare validate  as `pass`, each event validated, its family looked up, its facts packed
python -m benchmarks.bare features  as `touch`, with EHPS's transition up to where records are judged
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import orjson
import redis
from confluent_kafka import Message

from benchmarks.limits import Work, grown, validator, worked_out
from benchmarks.stage import PARTITIONS
from ehps.facts import WIRE_BYTES
from ehps.log import HEAD_BYTES
from schemas.topics import AGENCY_TOPICS, LOG, SCORES
from streams import collector
from streams.config import BATCH_RECORDS
from streams.kafka import CONFIRMED_LINGER_MS, Sender, consumer, drain, good, producer
from streams.logwriter import EHPS, INPUT, LogWriter
from streams.ports import Write
from streams.registry import Registry
from streams.store import RedisStore
from streams.telling import Pace, Teller
from streams.throttle import NoThrottle

PACE = Pace(BATCH_RECORDS, 0.5)
COMPACT = bytes(HEAD_BYTES + WIRE_BYTES)


def passing(sender: Sender) -> Work:
    """The first hop: intake without validation and look-ups."""

    def work(messages: list[Message]) -> None:
        for message in messages:
            headers = [(EHPS, COMPACT), (INPUT, _place(message).encode())]
            sender.send(LOG, message.value(), message.key(), headers)
        sender.confirm()

    return work


def validating(sender: Sender) -> Work:
    """The first hop with the least that intake must think of."""
    validate, registry = validator(), Registry(redis.Redis.from_url(os.environ["BENCH_REDIS"]))
    log = LogWriter(sender, PARTITIONS)

    def work(messages: list[Message]) -> None:
        events = [validate(message.value()) for message in messages]
        _, families = registry.look_up([event.subject for event in events])
        for message, event, family in zip(messages, events, families, strict=True):
            log.event(str(family), event, message.value(), _place(message))
        sender.confirm()

    return work


def touching(sender: Sender, think: Callable[[RedisStore, list[Message]], list[Write]]) -> Work:
    """The second hop: the scorer without scoring. `think` says what the states become."""
    store = RedisStore(redis.Redis.from_url(os.environ["BENCH_REDIS"]))

    def work(messages: list[Message]) -> None:
        writes = think(store, messages)
        for place in map(_position, messages):
            sender.send(SCORES, place, b"family")
        sender.confirm()
        store.commit(writes)

    return work


def _place(message: Message) -> str:
    return f"{message.topic()}/{message.partition()}/{message.offset()}"


def _position(message: Message) -> bytes:
    return orjson.dumps(
        {"position": {"partition": message.partition(), "offset": message.offset()}}
    )


def turns(topics: list[str], group: str) -> Iterator[list[Message]]:
    """Batches as the product's loops read them, and told to the group as they tell it."""
    client = consumer(os.environ["BENCH_KAFKA"], group)
    client.subscribe(topics)
    teller = Teller(client, PACE)
    while True:
        messages = good(drain(client, PACE.batch_records, teller.rest_s()))
        if messages:
            yield messages
        for message in messages:
            teller.done(
                message.topic() or "", message.partition() or 0, (message.offset() or 0) + 1
            )
        teller.tell()


HOPS: dict[str, tuple[list[str], Callable[[Sender], Work]]] = {
    "pass": ([*AGENCY_TOPICS], passing),
    "touch": ([LOG], lambda sender: touching(sender, grown)),
    "validate": ([*AGENCY_TOPICS], validating),
    "features": ([LOG], lambda sender: touching(sender, worked_out)),
}


def main() -> None:
    """Until killed."""
    collector.spare()
    hop, group = sys.argv[1], f"{os.environ['BENCH_RUN']}-{sys.argv[1]}"
    sender = Sender(producer(os.environ["BENCH_KAFKA"], CONFIRMED_LINGER_MS), NoThrottle())
    topics, work = HOPS[hop]
    take = work(sender)
    for messages in turns(topics, group):
        take(messages)


if __name__ == "__main__":
    main()
