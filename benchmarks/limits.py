"""What no worker in Python can leave out: reading, parsing, sending on, one read and write of the states.

And, of EHPS alone, its features on top of that.

python -m benchmarks.limits consume|orjson|pydantic|relay|states|features
"""

from __future__ import annotations

import functools
import operator
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import orjson
import redis
from confluent_kafka import Message
from pydantic import Field, TypeAdapter

from benchmarks.meter import Meter
from ehps.advance import Needs, Share, Step, lanes_of, needs, step_of
from ehps.facts import WIRE_BYTES
from ehps.library import Library
from ehps.log import HEAD_BYTES, LogRecord
from ehps.scoring import Course
from schemas.envelope import Event
from schemas.events import EVENT_TYPES
from streams import collector
from streams.config import BATCH_RECORDS
from streams.guard import log_record
from streams.kafka import CONFIRMED_LINGER_MS, Sender, consumer, drain, good, producer
from streams.logwriter import EHPS, INPUT, RECEIVED
from streams.ports import Write
from streams.store import RedisStore
from streams.throttle import NoThrottle

Work = Callable[[list[Message]], None]


def consume(messages: list[Message]) -> None:
    """Nothing."""


def parse(messages: list[Message]) -> None:
    """JSON to dictionaries."""
    for message in messages:
        orjson.loads(message.value())


def validation() -> Work:
    """Pydantic's fastest way to the contracts' own models: a union told apart by `type`, from bytes."""
    validate = validator()

    def work(messages: list[Message]) -> None:
        for message in messages:
            validate(message.value())

    return work


def validator() -> Callable[[bytes], Event]:
    """The same, of one event."""
    union: Any = functools.reduce(operator.or_, EVENT_TYPES.values())
    models: Any = Annotated[union, Field(discriminator="type")]
    return TypeAdapter(models).validate_json


def relay() -> Work:
    """The same, and each event sent on with as many headers as a log record has, every delivery confirmed."""
    validate, topic = validation(), os.environ["BENCH_ALERTS"]
    sender = Sender(producer(os.environ["BENCH_KAFKA"], CONFIRMED_LINGER_MS), NoThrottle())
    headers = [
        (EHPS, bytes(HEAD_BYTES + WIRE_BYTES)),
        (INPUT, b"agency.police.v1/1/123456"),
        (RECEIVED, bytes(8)),
    ]

    def pass_on(messages: list[Message]) -> None:
        validate(messages)
        for message in messages:
            sender.send(topic, message.value(), message.key(), headers)
        sender.confirm()

    return pass_on


def states() -> Work:
    """The compact form out of the header; one read and one write of the families that a batch names, no thinking."""
    store = RedisStore(redis.Redis.from_url(os.environ["BENCH_REDIS"]))
    return lambda messages: store.commit(grown(store, messages))


def grown(store: RedisStore, messages: list[Message]) -> list[Write]:
    """States read, and longer by their records' facts, as the scorer's are, so that as many bytes travel."""
    by_partition: dict[int, dict[str, bytes]] = {}
    ends: dict[int, int] = {}
    for message in messages:
        compact = next(value for name, value in message.headers() if name == EHPS)
        ends[message.partition()] = message.offset() + 1
        facts = by_partition.setdefault(message.partition(), {})
        key = message.key()
        if key:
            name = key.decode()
            facts[name] = facts.get(name, b"") + compact[HEAD_BYTES:]
    held = store.read({p: Needs(list(facts), []) for p, facts in by_partition.items()})
    writes: list[Write] = []
    for partition, facts in by_partition.items():
        snapshot = held[partition]
        longer = {name: (snapshot.families[name] or b"") + new for name, new in facts.items()}
        step = Step(ends[partition], snapshot.partition or b"", longer, {}, [], [], len(messages))
        writes.append(Write(partition, snapshot.offset, step, b"{}"))
    return writes


def features() -> Work:
    """The states, and EHPS's transition up to where records are judged: a limit of the product, not of any worker."""
    store = RedisStore(redis.Redis.from_url(os.environ["BENCH_REDIS"]))
    return lambda messages: store.commit(worked_out(store, messages))


_library = functools.cache(Library.packaged)


def worked_out(store: RedisStore, messages: list[Message]) -> list[Write]:
    """States read, and what EHPS's features make of them (`unjudged`)."""
    logs: dict[int, list[LogRecord]] = {}
    for message in messages:
        logs.setdefault(message.partition(), []).append(log_record(message))
    held = store.read({p: Needs(needs(records).families, []) for p, records in logs.items()})
    steps = unjudged([Share(p, held[p], logs[p], True) for p in logs], _library())
    return [Write(p, held[p].offset, step, b"{}") for p, step in zip(logs, steps, strict=True)]


def unjudged(shares: list[Share], library: Library) -> list[Step]:
    """Facts merged, every feature of every record, calm families' scores kept; no alerts, no timers.

    Since nobody is alerted, more families stay loud than in the product, which costs nothing here.
    """
    lanes = lanes_of(shares, library)
    course = Course(lanes)
    if course.apart.any():
        raise RuntimeError("a family stands apart: its features would be left out")
    course.keep()
    steps = (step_of(share.snapshot, lane) for share, lane in zip(shares, lanes, strict=True))
    return [step._replace(timers={}) for step in steps]


MODES: dict[str, Callable[[], Work]] = {
    "consume": lambda: consume,
    "orjson": lambda: parse,
    "pydantic": validation,
    "relay": relay,
    "states": states,
    "features": features,
}


def main() -> None:
    """Until every record of the topic is read."""
    collector.spare()
    meter, work = Meter(), MODES[sys.argv[1]]()
    client = consumer(os.environ["BENCH_KAFKA"], os.environ["BENCH_RUN"])
    client.subscribe([os.environ["BENCH_TOPIC"]])
    done = False
    while not done:
        messages = good(drain(client, BATCH_RECORDS, 0.5))
        work(messages)
        done = meter.count(len(messages))
    meter.finish()


if __name__ == "__main__":
    main()
