"""A Redis that was lost or went back: authorities come back from the log, each in its mode."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ehps.replay import MemoryStore
from schemas.control import Heartbeat
from streams.errors import LookupsLost
from streams.logwriter import LogWriter
from streams.registry import HISTORY, LIVE
from streams.unknown import Unknown
from tests.sim.broker import LOG_PARTITIONS, Topics
from tests.sim.inputs import IMPORTED, LA, LATE, LIBRARY
from tests.sim.processes import AGENTS, Agents
from tests.sim.redis import Lookups, States
from tests.sim.world import World

NOBODY = "E09000099"


def test_an_authority_told_as_history_does_not_become_live() -> None:
    world = World(0)
    world.run()
    agents = Agents(world)
    log = LogWriter(agents.sender(), LOG_PARTITIONS)
    year_ago = world.now - timedelta(days=365)
    log.control(LIBRARY.default_control(IMPORTED, year_ago))
    log.beat(Heartbeat(la=IMPORTED, time=year_ago, sources={}))
    world.now += timedelta(days=3)
    world.redis.lose()

    agents.turn()

    assert world.redis.held.authorities == {LA: LIVE, LATE: LIVE, IMPORTED: HISTORY}


@pytest.mark.parametrize("state", [None, b'{"version":0}'])
def test_an_authority_met_in_a_state_is_known_though_redis_then_goes_back_further(
    state: bytes | None,
) -> None:
    world = World(0)
    world.run()
    held = world.redis.held
    del held.authorities[IMPORTED]
    require = Unknown(Lookups(world), States(world), Topics(world, AGENTS)).require

    require({NOBODY})
    held.stores[0] = MemoryStore(0, state)
    require({NOBODY})

    assert held.whole
    with pytest.raises(LookupsLost):
        require({IMPORTED})
    assert not held.whole


def test_a_state_of_another_version_leaves_it_to_the_log() -> None:
    world = World(0)
    world.run()
    world.redis.held.stores[0].partition = b'{"version":0}'
    require = Unknown(Lookups(world), States(world), Topics(world, AGENTS)).require

    require({NOBODY})

    with pytest.raises(LookupsLost):
        require({IMPORTED})
