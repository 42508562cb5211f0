"""What passes between a reader and its broker: questions that may stay unanswered, and what the group is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streams.errors import BrokerUnavailable
from streams.logs import logger
from streams.ports import Reader


@contextmanager
def answered(question: str) -> Iterator[None]:
    """Ask the broker something; that it does not answer passes by itself.

    Raises:
        BrokerUnavailable: it did not.
    """
    try:
        yield
    except KafkaException as error:
        raise BrokerUnavailable(f"Kafka did not answer {question}") from error


EVERY_S = 0.25
"""Shortest time between two tellings: the broker takes as long to answer as hundreds of events, which all wait."""
IDLE_S = 0.003
"""After so long without more, what is done is told at once."""


class Pace(NamedTuple):
    """How a loop reads.

    Args:
        batch_records: most records at once.
        poll_s: longest wait for the first of them.
        elapsed: seconds since any moment.
    """

    batch_records: int
    poll_s: float
    elapsed: Callable[[], float] = time.monotonic


class Teller:
    """Tells a reader's group what is done. What the group did not hear costs a repeat, never a loss.

    It waits for the answer: what was not heard is told again, since others wait for the group.
    """

    def __init__(self, reader: Reader, pace: Pace) -> None:
        """Nothing is told yet."""
        self._reader, self._pace, self._next = reader, pace, 0.0
        self._untold: dict[tuple[str, int], int] = {}

    def done(self, topic: str, partition: int, offset: int) -> None:
        """Records before `offset` are done."""
        self._untold[topic, partition] = offset

    def forget(self) -> None:
        """Partitions were dealt out anew: what is old by now would take the group back."""
        self._untold.clear()

    def rest_s(self) -> float:
        """How long the loop may wait for more before it must tell: others wait for the group."""
        return min(self._pace.poll_s, IDLE_S) if self._untold else self._pace.poll_s

    def tell(self, *, last: bool = False) -> None:
        """Tell what is not told; what is not heard, next time: who waits for the group would wait for ever.

        Args:
            last: nothing more is there, or there is no next time.
        """
        if not self._untold or (self._pace.elapsed() < self._next and not last):
            return
        offsets = [TopicPartition(*place, offset) for place, offset in self._untold.items()]
        try:
            self._reader.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            logger().warning("kafka.untold", reason=error.args[0].name())
            if error.args[0].code() not in _MOVED_ON:
                return
        finally:
            self._next = self._pace.elapsed() + EVERY_S
        self._untold.clear()


_MOVED_ON = {KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID}
"""The group has other owners now, who do again what was not told."""
