"""Look-ups in Redis are views of topics.

Each stands in Redis beside its position in the topic: when Redis goes back, or is lost, both go back together, and what
is missing is read again before anything newer counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, groupby, islice

from streams.ports import Lookups, Stretch, Topics
from streams.segments import Record

GAP_RECORDS = 2000
"""Records of a gap taken at once."""

Apply = Callable[[Stretch, list[Record]], None]


class View:
    """One topic as Redis holds it."""

    def __init__(self, topic: str, registry: Lookups, topics: Topics, apply: Apply) -> None:
        """`apply` does what the records say, and ends by `Lookups.learn` of their stretch."""
        self._topic, self._registry, self._topics, self._apply = topic, registry, topics, apply

    def take(self, records: list[Record]) -> None:
        """A batch from the topic, and before it whatever Redis lost."""
        held = self._registry.positions(self._topic)
        for partition, group in groupby(
            sorted(records, key=lambda r: (r.partition, r.offset)), lambda r: r.partition
        ):
            batch = list(group)
            start = min(held.get(partition, 0), batch[0].offset)
            gap = self._gap(partition, start, batch[0].offset)
            self._apply_all(partition, start, chain(gap, batch))

    def catch_up(self) -> None:
        """Read again what the agents had finished and Redis does not hold."""
        held = self._registry.positions(self._topic)
        for partition, end in self._topics.finished(self._topic).items():
            start = held.get(partition, 0)
            if start < end:
                start = self._apply_all(partition, start, self._gap(partition, start, end))
                self._registry.learn(Stretch(self._topic, partition, start, max(start, end)))

    def _gap(self, partition: int, start: int, end: int) -> Iterable[Record]:
        return self._topics.read(self._topic, partition, start, end) if start < end else ()

    def _apply_all(self, partition: int, start: int, records: Iterable[Record]) -> int:
        iterator = iter(records)
        while chunk := list(islice(iterator, GAP_RECORDS)):
            end = chunk[-1].offset + 1
            self._apply(Stretch(self._topic, partition, start, end), chunk)
            start = end
        return start
