"""What passes between a reader and its broker: questions that may stay unanswered, and what the group is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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


HELD_MAX = 4
"""Batches for which a busy loop may keep from its group that they are done: an answer takes as long as 300 events."""


class Teller:
    """Tells a reader's group what is done. What the group did not hear costs a repeat, never a loss."""

    def __init__(self, reader: Reader) -> None:
        """Nothing is told yet.

        Attributes:
            busy: more is waiting: telling may wait too, for `HELD_MAX` batches.
        """
        self._reader, self.busy, self._held = reader, False, 0
        self._untold: dict[tuple[str, int], int] = {}

    def done(self, topic: str, partition: int, offset: int) -> None:
        """Records before `offset` are done."""
        self._untold[topic, partition] = offset

    def forget(self) -> None:
        """Partitions were dealt out anew: what is old by now would take the group back."""
        self._untold.clear()

    def tell(self) -> None:
        """Tell what is not told; what is not heard, next time: who waits for the group would wait for ever."""
        if not self._untold:
            return
        if self.busy and self._held < HELD_MAX:
            self._held += 1
            return
        self._held = 0
        offsets = [TopicPartition(*place, offset) for place, offset in self._untold.items()]
        try:
            self._reader.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            logger().warning("kafka.untold", reason=error.args[0].name())
            if error.args[0].code() not in _MOVED_ON:
                return
        self._untold.clear()


_MOVED_ON = {KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID}
"""The group has other owners now, who do again what was not told."""
