"""A lost Redis: authorities come back from the log, each in its mode."""

from __future__ import annotations

from datetime import timedelta

from schemas.control import Heartbeat
from streams.logwriter import LogWriter
from streams.registry import HISTORY, LIVE
from tests.sim.broker import LOG_PARTITIONS
from tests.sim.inputs import IMPORTED, LA, LATE, LIBRARY
from tests.sim.processes import Agents
from tests.sim.world import World


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
