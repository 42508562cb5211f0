"""What is in force is told again with the heartbeats: no partition stays behind a control that it missed."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest

from ehps.log import RecordKind, pack_other
from ehps.state import Partition
from schemas.control import ControlMessage
from schemas.topics import CONTROL, LOG
from streams.logwriter import EHPS, LogWriter
from tests.sim.broker import LOG_PARTITIONS
from tests.sim.inputs import LA, LIBRARY, Input
from tests.sim.processes import Agents
from tests.sim.verdict import complaints
from tests.sim.world import World


def put(world: World, name: str) -> None:
    """A control by way of its topic, in force ten minutes later."""
    control = LIBRARY.control(LA, world.now + timedelta(minutes=10), name)
    value = ControlMessage(control=control).model_dump_json(exclude_none=True).encode()
    world.tell(Input(CONTROL, LA.encode(), value, timedelta(), good=True))


def pulse(world: World, agents: Agents, minutes: int) -> None:
    world.now += timedelta(minutes=minutes)
    agents.pulse()
    world.tell()


def in_force(world: World) -> list[str]:
    """Id of the control in force, of each partition."""
    states = (world.redis.held.store(p).partition for p in range(LOG_PARTITIONS))
    return [(Partition.decode(raw).authorities[LA].control or {})["id"] for raw in states]


def live_world() -> tuple[World, Agents]:
    """At rest, with a live authority; the world's seed says which is."""
    world = next(w for w in map(World, range(20)) if b'"live"' in w._waiting[0].value)
    world.run()
    agents = next(p for p in world.processes if isinstance(p, Agents))
    pulse(world, agents, 61)
    return world, agents


def test_a_control_that_a_partition_missed_is_in_force_there_within_the_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, agents = live_world()
    with monkeypatch.context() as patch:
        everywhere = LogWriter._everywhere

        def forgetful(self: LogWriter, kind: RecordKind, what: object) -> None:
            patch.setattr(self, "_partitions", 1)
            everywhere(self, kind, what)

        patch.setattr(LogWriter, "_everywhere", forgetful)
        put(world, "second")
    pulse(world, agents, 11)
    before = in_force(world)
    pulse(world, agents, 50)
    assert (before[0], before[1]) == ("second", f"first-{LA}")
    assert in_force(world) == ["second", "second"]
    assert complaints(world) == []


def test_only_what_is_in_force_or_will_be_is_told_again() -> None:
    world, agents = live_world()
    for name in ("second", "third"):
        put(world, name)
        pulse(world, agents, 61)
    put(world, "fourth")
    already = len(world.broker.topics[LOG][0])
    pulse(world, agents, 61)
    told = [
        orjson.loads(record.value or b"")["id"]
        for record in world.broker.topics[LOG][0][already:]
        if dict(record.headers)[EHPS] == pack_other(RecordKind.CONTROL, LA)
    ]
    assert told == ["fourth"]
    assert list(world.redis.held.controls[LA]) == ["fourth"]
