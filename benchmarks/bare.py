"""Two hops that think of nothing, for the latency's limit: what the broker, Redis and the clients take by themselves.

python -m benchmarks.bare pass    agency topics to the log, each record sent on and confirmed
python -m benchmarks.bare touch   the log to a score for each record: states read, sent and confirmed, states written
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import orjson
import redis
from confluent_kafka import Message

from benchmarks.limits import grown
from ehps.facts import WIRE_BYTES
from ehps.log import HEAD_BYTES
from schemas.topics import AGENCY_TOPICS, LOG, SCORES
from streams import collector
from streams.config import BATCH_RECORDS
from streams.kafka import CONFIRMED_LINGER_MS, Sender, consumer, drain, good, producer
from streams.logwriter import EHPS, INPUT
from streams.store import RedisStore
from streams.telling import Pace, Teller
from streams.throttle import NoThrottle

PACE = Pace(BATCH_RECORDS, 0.5)
COMPACT = bytes(HEAD_BYTES + WIRE_BYTES)


def passing(sender: Sender) -> Callable[[list[Message]], None]:
    """The first hop: intake without validation and look-ups."""

    def work(messages: list[Message]) -> None:
        for message in messages:
            place = f"{message.topic()}/{message.partition()}/{message.offset()}"
            headers = [(EHPS, COMPACT), (INPUT, place.encode())]
            sender.send(LOG, message.value(), message.key(), headers)
        sender.confirm()

    return work


def touching(sender: Sender) -> Callable[[list[Message]], None]:
    """The second hop: the scorer without scoring."""
    store = RedisStore(redis.Redis.from_url(os.environ["BENCH_REDIS"]))

    def work(messages: list[Message]) -> None:
        writes = grown(store, messages)
        for place in map(_position, messages):
            sender.send(SCORES, place, b"family")
        sender.confirm()
        store.commit(writes)

    return work


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


def main() -> None:
    """Until killed."""
    collector.spare()
    hop, group = sys.argv[1], f"{os.environ['BENCH_RUN']}-{sys.argv[1]}"
    sender = Sender(producer(os.environ["BENCH_KAFKA"], CONFIRMED_LINGER_MS), NoThrottle())
    work = passing(sender) if hop == "pass" else touching(sender)
    for messages in turns(list(AGENCY_TOPICS) if hop == "pass" else [LOG], group):
        work(messages)


if __name__ == "__main__":
    main()
