"""What a loop tells its group: at once where nothing waits, seldom where much does, and never nothing."""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition

from streams.telling import HELD_MAX, Teller


class Group:
    """A reader that only hears."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        assert not asynchronous
        self.heard += [at.offset for at in offsets]


def told(*, busy: bool, batches: int) -> list[int]:
    group = Group()
    teller = Teller(group)  # type: ignore[arg-type]
    teller.busy = busy
    for number in range(batches):
        teller.done("agency.police.v1", 0, number)
        teller.tell()
    return group.heard


def test_who_has_nothing_more_to_do_tells_every_batch() -> None:
    assert told(busy=False, batches=3) == [0, 1, 2]


@pytest.mark.parametrize("rounds", [1, 3])
def test_who_is_busy_tells_the_newest_of_a_few_batches(rounds: int) -> None:
    of_a_few = HELD_MAX + 1

    assert told(busy=True, batches=rounds * of_a_few) == [
        n for n in range(rounds * of_a_few) if n % of_a_few == HELD_MAX
    ]
