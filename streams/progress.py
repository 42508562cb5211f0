"""How far a loop is: what it owns, what it has in hand, what it finished. Metrics, health and watchdog look at it.

The loop's own thread writes, others read: values are replaced, never changed in place. Only the loop's thread asks the
Kafka client: `get_watermark_offsets` from another one hangs, with the interpreter's lock, while `consume` waits.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, TopicPartition

Place = tuple[str, int]
ASK_S = 0.5
"""A busy loop asks for the ends of all its partitions no more often than this."""


class Lag(NamedTuple):
    """How far a partition is behind: records, and seconds since the newest finished record (None: not known)."""

    records: int
    seconds: float | None


class Progress:
    """One loop's account of itself.

    Args:
        role: what the loop is called in metrics and log lines.
        polls: whether it turns by itself, every second or so, also when nothing comes.
        asks: whether the client may be asked where the broker's end is.

    Attributes:
        assigned: partitions that it owns; None before the first assignment.
        marks: grows with every sign of progress; only its change means anything.
        in_hand: records taken and not finished.
        trouble: what it is waiting out (a broker or Redis that is away), or None.
        states: newest state bytes of each log partition, for the scorer.
    """

    def __init__(self, role: str, *, polls: bool = True, asks: bool = True) -> None:
        self.role, self.polls, self._asks = role, polls, asks
        self.assigned: tuple[Place, ...] | None = None
        self.marks = 0
        self.in_hand = 0
        self.trouble: str | None = None
        self.states: dict[int, bytes] = {}
        self._client: Any = None
        self._next: dict[Place, int] = {}
        self._behind: dict[Place, int] = {}
        self._since_ms: dict[Place, int] = {}
        self._busy, self._asked = False, 0.0

    def own(self, client: Any, places: Sequence[TopicPartition]) -> None:
        """A new assignment. Where no start is said, the lag is known from the first finished record on.

        Asking the group would not do: retention may have removed what lies behind its offset.
        """
        started = {(at.topic, at.partition): at.offset for at in places}
        self._client = client if self._asks else None
        self._next = {at: n for at, n in started.items() if n >= 0}
        self._behind, self._since_ms = {}, {}
        held = {partition for _, partition in started}
        self.states = {p: state for p, state in self.states.items() if p in held}
        self.assigned = tuple(started)
        self.marks += 1

    def took(self, count: int) -> None:
        """That many records are in hand."""
        self.in_hand = count

    def moved(
        self, topic: str, partition: int, offset: int, newest_ms: int, state: bytes | None = None
    ) -> None:
        """Everything before `offset` is finished and committed; `newest_ms` is the last record's broker time."""
        place = topic, partition
        self._next = {**self._next, place: offset}
        self._since_ms = {**self._since_ms, place: newest_ms}
        self._behind = {**self._behind, place: self._ask(place)}
        if state is not None:
            self.states = {**self.states, partition: state}
        self.trouble = None
        self.marks += 1
        self._busy = True

    def rest(self) -> None:
        """Nothing is in hand. That is progress too, if nothing waits."""
        self.in_hand = 0
        now = time.monotonic()
        if self._busy and now - self._asked < ASK_S:
            return
        self._busy, self._asked = False, now
        if self._left_out():
            return
        self._behind = {place: self._ask(place) for place in self._next}
        clear = [place for place, records in self._behind.items() if not records]
        self._since_ms = {**self._since_ms, **dict.fromkeys(clear, int(time.time() * 1000))}
        if len(clear) == len(self._behind):
            self.trouble = None
            self.marks += 1

    def _left_out(self) -> bool:
        """Whether its partitions were taken away and it heard nothing since: for a moment in a rebalance.

        For good, where the client never joins its group again: it turns, gets nothing, and looks at rest.
        """
        return bool(self.assigned) and self._client is not None and not self._client.assignment()

    def waits_out(self, reason: str) -> None:
        """A server is away: the loop knows, tries again, and gives up by itself in time."""
        self.trouble = reason
        self.marks += 1

    def expected(self) -> bool:
        """Whether there is progress to be expected: of a loop that turns always, of another while it has work."""
        return self.polls or self.in_hand > 0

    def lags(self) -> dict[Place, Lag]:
        """How far behind each partition was when the loop last looked, and for how long that has been so."""
        now = time.time()
        found = {}
        for place, records in self._behind.items():
            since = self._since_ms.get(place)
            waiting = None if since is None else max(0.0, now - since / 1000)
            found[place] = Lag(records, waiting if records else 0.0)
        return found

    def _ask(self, place: Place) -> int:
        """Records between the broker's end, as the last fetch told it, and what is finished; 0 where unknown."""
        if self._client is None:
            return 0
        try:
            end: int
            _, end = self._client.get_watermark_offsets(TopicPartition(*place), cached=True)
        except (KafkaException, RuntimeError):  # revoked meanwhile, or closed
            return 0
        return max(0, end - self._next[place])
