"""After Redis went back, or was lost: what intake looks up is read again from the topics that hold it for good."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.control import Heartbeat
from schemas.topics import LOG
from streams.controls import JUMP_MAX
from streams.errors import LookupsLost
from streams.logs import logger
from streams.parking import Parking
from streams.ports import Lookups, Topics
from streams.registry import HISTORY, LIVE
from streams.segments import Record
from streams.unknown import PARTITION, beats
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
        try:
            return self._catch_up()
        except LookupsLost:  # a view tells of an authority that Redis went back to before
            self._find_authorities()
            return self._catch_up()

    def _catch_up(self) -> int:
        for view in self._views:
            view.catch_up()
        return self._parking.sweep()

    def _find_authorities(self) -> None:
        """The log has heartbeats of all of them. What Redis still holds of one it knows better."""
        modes: dict[str, str] = {}
        for la, record in beats(self._topics, *self._topics.watermarks(LOG)[PARTITION]):
            modes.setdefault(la, HISTORY)
            if _written_as_told(record):
                modes[la] = LIVE
        self._registry.mark_whole(modes | self._registry.authorities())
        logger().info("intake.recovered", authorities=len(modes))


def _written_as_told(record: Record) -> bool:
    """Whether a heartbeat came from the clock: one of imported history tells another time than the broker's."""
    told = Heartbeat.model_validate_json(record.value or b"").time.timestamp()
    return abs(told - record.timestamp_ms / 1000) <= JUMP_MAX.total_seconds()
