"""After Redis went back, or was lost: what intake looks up is read again from the topics that hold it for good."""

from __future__ import annotations

from collections.abc import Sequence

from ehps.log import LogRecord, RecordKind
from schemas.control import Heartbeat
from schemas.topics import LOG
from streams.controls import JUMP_MAX
from streams.logs import logger
from streams.logwriter import EHPS
from streams.parking import Parking
from streams.ports import Lookups, Topics
from streams.registry import HISTORY, LIVE
from streams.segments import Record
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
        """Every partition of the log names all of them: read one."""
        modes: dict[str, str] = {}
        low, high = self._topics.watermarks(LOG)[0]
        for record in self._topics.read(LOG, 0, low, high):
            kind, la = _kind_and_authority(record)
            if kind in (RecordKind.CONTROL, RecordKind.HEARTBEAT):
                modes.setdefault(la, HISTORY)
            if kind == RecordKind.HEARTBEAT and _written_as_told(record):
                modes[la] = LIVE
        self._registry.mark_whole(modes)
        logger().info("intake.recovered", authorities=len(modes))


def _kind_and_authority(record: Record) -> tuple[int, str]:
    compact = dict(record.headers).get(EHPS, b"\0")
    return compact[0], LogRecord(record.offset, "", compact, b"").la


def _written_as_told(record: Record) -> bool:
    """Whether a heartbeat came from the clock: one of imported history tells another time than the broker's."""
    told = Heartbeat.model_validate_json(record.value or b"").time.timestamp()
    return abs(told - record.timestamp_ms / 1000) <= JUMP_MAX.total_seconds()
