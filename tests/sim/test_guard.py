"""States go on only on the log that they were made from: else the scorer stops and says so, and commits nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from schemas.topics import LOG
from tests.sim.processes import ScorerProcess
from tests.sim.world import World


def world_at_rest() -> World:
    """One that went through its troubles; its scorers have ended since."""
    world = World(1)
    world.run()
    assert world.deaths == []
    for process in world.processes:
        process.stop()
    return world


def lose_the_tail(world: World) -> None:
    del world.broker.topics[LOG][0][-2:]


def write_another_record_in_place(world: World) -> None:
    log = world.broker.topics[LOG][0]
    log[-1] = log[-1]._replace(value=b"{}")


def make_the_topic_anew(world: World) -> None:
    for partition in world.broker.topics[LOG]:
        partition.clear()


def send_something_else(world: World) -> None:
    log = world.broker.topics[LOG][0]
    log.append(log[-1]._replace(offset=len(log), headers=[]))


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lose_the_tail, "the states stand at"),
        (write_another_record_in_place, "is not the one that was applied"),
        (make_the_topic_anew, "the states stand at"),
        (send_something_else, "was not written by EHPS"),
    ],
)
def test_a_log_that_is_not_the_one_stops_the_scorer(
    tamper: Callable[[World], None], said: str
) -> None:
    world = world_at_rest()
    tamper(world)
    before = world.redis.held.copy()
    scorer = ScorerProcess(world)

    for _ in range(4):
        scorer.turn()

    assert said in world.deaths[0]
    assert world.redis.held == before


def test_a_topic_with_another_id_stops_the_scorer() -> None:
    world = world_at_rest()
    world.redis.held.seals[0] = b'{"topic_id":"another","digest":""}'
    scorer = ScorerProcess(world)

    for _ in range(2):
        scorer.turn()

    assert "another topic" in world.deaths[0]
