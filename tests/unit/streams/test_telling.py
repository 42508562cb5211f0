"""What a loop tells its group: seldom while much is done, everything in the end."""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition

from streams.telling import EVERY_S, Pace, Teller


class Group:
    """A reader that only hears: at once, or `lost` for who does not wait."""

    def __init__(self, *, lost: bool = False) -> None:
        self.heard: list[int] = []
        self.waited: list[int] = []
        self._lost = lost

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        told = [at.offset for at in offsets]
        self.heard += [] if asynchronous and self._lost else told
        self.waited += [] if asynchronous else told


def told(moments: list[float], *, idle: int = 0, last: bool = False, lost: bool = False) -> Group:
    """A batch done at each moment, then turns without any."""
    group, clock = Group(lost=lost), [0.0]
    teller = Teller(group, Pace(1, 1.0, lambda: clock[0]))  # type: ignore[arg-type]
    for number, moment in enumerate(moments):
        clock[0] = moment
        teller.done("agency.police.v1", 0, number)
        teller.tell()
    for _ in range(idle):
        clock[0] += teller.rest_s()
        teller.tell()
    if last:
        teller.tell(last=True)
    return group


def test_batches_far_apart_are_told_one_by_one_without_waiting() -> None:
    group = told([1.0, 2.0, 3.0])

    assert (group.heard, group.waited) == ([0, 1, 2], [])


@pytest.mark.parametrize("tellings", [1, 3])
def test_of_batches_close_together_the_newest_is_told_once_in_a_while(tellings: int) -> None:
    moments = [1.0 + n * (EVERY_S / 4 + 1e-6) for n in range(4 * tellings - 3)]

    assert told(moments).heard == list(range(0, 4 * tellings - 3, 4))


def test_what_was_held_back_is_told_before_the_loop_ends() -> None:
    group = told([1.0, 1.01, 1.02], last=True, lost=True)

    assert (group.heard, group.waited) == ([2], [2])


def test_once_idle_what_may_be_lost_is_told_again_and_heard_once() -> None:
    group = told([1.0, 1.01], idle=5, lost=True)

    assert (group.heard, group.waited) == ([1], [1])
