"""After Redis went back, or was lost: what intake looks up is read again from the topics that hold it for good."""

from __future__ import annotations

from collections.abc import Sequence

from ehps.authority import beat_of
from streams.controls import JUMP_MAX
from streams.logs import logger
from streams.parking import Parking
from streams.ports import Lookups, Topics
from streams.registry import HISTORY, LIVE
from streams.segments import Record
from streams.unknown import beats, end_of
from streams.views import View


class Recovery:
    """Run at start and again and again: in a healthy system it finds nothing to do."""

    def __init__(
        self,
        registry: Lookups,
        topics: Topics,
        views: Sequence[View],
        parking: Parking,
    ) -> None:
        """`views` have writers of their own: recovery may run beside the agents."""
        self._registry, self._topics, self._views = registry, topics, views
        self._parking = parking

    def run(self) -> int:
        """Authorities, then controls, links, then parked events. Returns how many parked events found their family."""
        if not self._registry.whole():
            self._find_authorities()
        for view in self._views:
            view.catch_up()
        return self._parking.sweep()

    def _find_authorities(self) -> None:
        """The log has heartbeats of all of them."""
        modes: dict[str, str] = {}
        for la, record in beats(self._topics, 0, end_of(self._topics)):
            modes.setdefault(la, HISTORY)
            if _from_a_clock(record):
                modes[la] = LIVE
        self._registry.mark_whole(modes)
        logger().info("intake.recovered", authorities=len(modes))


def _from_a_clock(record: Record) -> bool:
    """Whether a live clock told it: the broker's time, or none, by which it asked for that before the first."""
    told = beat_of(record.value or b"").time
    return not told or abs(told - record.timestamp_ms / 1000) <= JUMP_MAX.total_seconds()
