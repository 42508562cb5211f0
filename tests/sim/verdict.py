"""What must hold once the world is at rest, whatever went wrong before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import orjson

from ehps.alerts import Output
from ehps.log import LogRecord, RecordKind
from ehps.replay import MemoryStore, replay
from ehps.state import Family
from schemas.topics import ALERTS, ALERTS_SHADOW, LINKS, LOG, SCORES, UNLINKED
from streams.deadletters import origin as dead_letter_origin
from streams.logwriter import EHPS, INPUT
from streams.reconcile import Coordinate, origin_of
from streams.registry import HISTORY, LIVE
from streams.segments import Record
from tests.sim.broker import LOG_PARTITIONS
from tests.sim.inputs import IMPORTED, LA, LATE, LIBRARY
from tests.sim.redis import Contents
from tests.sim.world import World


def complaints(world: World) -> list[str]:
    """Everything that is wrong, in words; nothing: the run passed."""
    stores, outputs = replayed(world)
    return [
        *world.deaths,
        *lost_inputs(world),
        *wrong_states(world.redis.held, stores),
        *wrong_outputs(world, outputs),
        *wrong_modes(world.redis.held),
        *wrong_members(world.redis.held, stores),
        *overtaken(world),
    ]


def log_records(world: World, partition: int) -> list[LogRecord]:
    """The log as written."""
    return [
        LogRecord.of(r.offset, r.key, dict(r.headers)[EHPS], r.value)
        for r in world.broker.topics[LOG][partition]
    ]


def replayed(world: World) -> tuple[dict[int, MemoryStore], dict[str, set[bytes]]]:
    """States and outputs of the reference for the log as written."""
    stores = {partition: MemoryStore() for partition in range(LOG_PARTITIONS)}
    said: dict[str, set[bytes]] = defaultdict(set)
    for partition, store in stores.items():
        for step in replay(log_records(world, partition), LIBRARY, partition, store):
            for output in step.alerts:
                said[_topic(output)].add(output.value)
            said[SCORES] |= {output.value for output in step.scores}
    return stores, said


def _topic(alert: Output) -> str:
    return ALERTS_SHADOW if alert.shadow else ALERTS


def lost_inputs(world: World) -> Iterator[str]:
    """Join every input, by its coordinates, with what came of it."""
    logged = _by_origin(world.broker.records(LOG))
    parked = _by_origin(world.broker.records(UNLINKED))
    dead = {
        origin: record.value
        for topic in world.broker.topics
        if topic.startswith("ehps.dead-letter")
        for record in world.broker.records(topic)
        if (origin := dead_letter_origin(record)) is not None
    }
    linked = {record.key for record in world.broker.records(LINKS) if record.key != b"?"}
    for message, at in world.inputs:
        if message.topic == "ehps.control.v1":
            continue
        if not message.good:
            if dead.get(at) != message.value or at in logged or at in parked:
                yield f"{at} is not (only) among the dead letters"
        elif at in dead:
            yield f"{at} was refused"
        elif message.topic.startswith("agency.") and message.key not in linked:
            if at not in parked or at in logged:
                yield f"{at}, of a person without a family, is not (only) parked"
        elif at not in logged:
            yield f"{at} is not on the log"
        elif message.topic.startswith("agency.") and any(
            record.value != message.value for record in logged[at]
        ):
            yield f"{at} is on the log with other bytes"


def _by_origin(records: list[Record]) -> dict[Coordinate, list[Record]]:
    found: dict[Coordinate, list[Record]] = defaultdict(list)
    for record in records:
        if INPUT in dict(record.headers):
            origin = origin_of(record)
            assert origin is not None
            found[origin].append(record)
    return found


def wrong_states(held: Contents, stores: dict[int, MemoryStore]) -> Iterator[str]:
    """States equal those of the reference, byte for byte."""
    for partition, store in stores.items():
        live = held.store(partition)
        for name in ("offset", "partition", "families", "timers"):
            if getattr(live, name) != getattr(store, name):
                yield f"partition {partition}: {name} differs from the replay"


def wrong_modes(held: Contents) -> Iterator[str]:
    """Every authority is set up, and its clock is its own or its past's."""
    wanted = {LA: LIVE, LATE: LIVE, IMPORTED: HISTORY}
    if held.authorities != wanted:
        yield f"authorities are {held.authorities}"


def wrong_outputs(world: World, said: dict[str, set[bytes]]) -> Iterator[str]:
    """All that the reference says was said, nothing else, and repeats are the same to the byte."""
    for topic in (ALERTS, ALERTS_SHADOW, SCORES):
        sent = {record.value for record in world.broker.records(topic)}
        if missing := said[topic] - sent:
            yield f"{topic}: {len(missing)} were never sent"
        if extra := sent - said[topic]:
            yield f"{topic}: {len(extra)} were sent that the replay does not say"
    named: dict[tuple[str, str], set[bytes]] = defaultdict(set)
    for topic in (ALERTS, ALERTS_SHADOW):
        for record in world.broker.records(topic):
            alert = orjson.loads(record.value or b"")
            named[alert["alert_id"], alert["state"]].add(record.value or b"")
    if any(len(values) > 1 for values in named.values()):
        yield "two different alerts have one id"


def wrong_members(held: Contents, stores: dict[int, MemoryStore]) -> Iterator[str]:
    """Each person is a member of the family that the greatest link names, and of no other."""
    member_of: dict[str, set[str]] = defaultdict(set)
    for store in stores.values():
        for key, raw in store.families.items():
            for subject, person in Family(raw).case.people.items():
                if not person.removed:
                    member_of[subject].add(key)
    linked = {subject: {text.partition("|")[2]} for subject, text in held.links.items()}
    if linked != member_of:
        yield "families and look-up disagree on who belongs where"


def overtaken(world: World) -> Iterator[str]:
    """No event overtakes the membership of its person."""
    joined: set[tuple[bytes | None, str]] = set()
    for record in world.broker.records(LOG):
        kind = dict(record.headers)[EHPS][0]
        if kind == RecordKind.MEMBERSHIP:
            joined.add((record.key, orjson.loads(record.value or b"")["subject"]))
        elif kind in (RecordKind.EVENT, RecordKind.RETRACTION):
            subject = orjson.loads(record.value or b"")["subject"]
            if (record.key, subject) not in joined:
                yield f"event {record.offset} of partition {record.partition} came before its person"
