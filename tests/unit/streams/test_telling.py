"""What a loop tells its group: seldom while much is done, everything in the end."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streams.telling import EVERY_S, IDLE_S, Pace, Teller


class Group:
    """A reader that only hears, but for the first `deaf` times."""

    def __init__(self, deaf: int) -> None:
        self.heard: list[int] = []
        self._deaf = deaf

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        assert not asynchronous
        self._deaf -= 1
        if self._deaf >= 0:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        self.heard += [at.offset for at in offsets]


def told(moments: list[float], *, idle: int = 0, last: bool = False, deaf: int = 0) -> list[int]:
    """What the group heard: a batch done at each moment, then turns without any."""
    group, clock = Group(deaf), [0.0]
    teller = Teller(group, Pace(1, 1.0, elapsed=lambda: clock[0]))  # type: ignore[arg-type]
    for number, moment in enumerate(moments):
        clock[0] = moment
        teller.done("agency.police.v1", 0, number)
        teller.tell()
    for _ in range(idle):
        rest_s = teller.rest_s()
        assert rest_s == (IDLE_S if teller._untold else 1.0)
        clock[0] += rest_s
        teller.tell(last=True)
    if last:
        teller.tell(last=True)
    return group.heard


def test_batches_far_apart_are_told_one_by_one() -> None:
    assert told([1.0, 2.0, 3.0]) == [0, 1, 2]


@pytest.mark.parametrize("tellings", [1, 3])
def test_of_batches_close_together_the_newest_is_told_once_in_a_while(tellings: int) -> None:
    moments = [1.0 + n * (EVERY_S / 4 + 1e-6) for n in range(4 * tellings - 3)]

    assert told(moments) == list(range(0, 4 * tellings - 3, 4))


@pytest.mark.parametrize("deaf", [0, 1, 3])
def test_what_was_held_back_or_not_heard_is_told_once_the_loop_is_idle(deaf: int) -> None:
    assert told([1.0, 1.01], idle=5, deaf=deaf)[-1:] == [1]


def test_what_was_held_back_is_told_before_the_loop_ends() -> None:
    assert told([1.0, 1.01, 1.02], last=True) == [0, 2]
