"""Topics read again: the port through which look-ups are mended and the log is checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from streams.config import Settings
from streams.groups import Groups
from streams.kafka import watermarks
from streams.reading import read_kept
from streams.segments import Record
from streams.telling import answered


class Kept:
    """What Kafka, and the embedded stack's segments, still hold. Every method may raise `BrokerUnavailable`."""

    def __init__(self, settings: Settings) -> None:
        """Reading has a connection of its own each time, as it is rare; the group is asked by one that stays."""
        self._settings, self._groups = settings, Groups(settings.kafka)

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """Records with start <= offset < end that are still kept."""
        low, _ = self.watermarks(topic)[partition]
        kafka, segments = self._settings.kafka, self._settings.segments
        with answered(f"when {topic} was read again"):
            yield from read_kept(kafka, topic, partition, start, (low, end), segments)

    def watermarks(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Partition -> (first offset kept, next offset)."""
        with answered(f"where {topic} begins and ends"):
            return watermarks(self._settings.kafka, topic)

    def finished(self, topic: str) -> Mapping[int, int]:
        """Partition -> the offset up to which the agents are done."""
        places = [(topic, number) for number in self.watermarks(topic)]
        done = self._groups.committed(self._settings.agents_group, places)
        return {partition: offset for (_, partition), offset in done.items()}
