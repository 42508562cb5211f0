"""After Redis went back, or was lost: what intake looks up is read again from the topics that hold it for good."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ehps.log import LogRecord, RecordKind
from schemas.control import Heartbeat
from schemas.topics import LOG
from streams.logs import logger
from streams.logwriter import EHPS
from streams.parking import Parking
from streams.patience import Clock
from streams.ports import Lookups, Topics
from streams.store import HISTORY, LIVE
from streams.views import View

LIVE_WITHIN = timedelta(days=1)
"""An authority whose log has a heartbeat this fresh is live; the others are imported history."""


class Recovery:
    """Run at start and again and again: in a healthy system it finds nothing to do."""

    def __init__(
        self,
        registry: Lookups,
        topics: Topics,
        views: Sequence[View],
        parking: Parking,
        clock: Clock,
    ) -> None:
        """`views` have writers of their own: recovery may run beside the agents."""
        self._registry, self._topics, self._views = registry, topics, views
        self._parking, self._clock = parking, clock

    def run(self) -> int:
        """Authorities, then links, then parked events. Returns how many parked events found their family."""
        if not self._registry.authorities():
            self._find_authorities()
        for view in self._views:
            view.catch_up()
        return self._parking.sweep()

    def _find_authorities(self) -> None:
        """Every partition of the log names all of them: read one."""
        latest: dict[str, datetime] = {}
        low, high = self._topics.watermarks(LOG)[0]
        for record in self._topics.read(LOG, 0, low, high):
            compact = dict(record.headers).get(EHPS, b"")
            if compact and compact[0] in (RecordKind.CONTROL, RecordKind.HEARTBEAT):
                la = LogRecord(record.offset, "", compact, b"").la
                latest.setdefault(la, datetime.fromtimestamp(0, UTC))
                if compact[0] == RecordKind.HEARTBEAT:
                    moment = Heartbeat.model_validate_json(record.value or b"").time
                    latest[la] = max(latest[la], moment)
        for la, moment in latest.items():
            live = self._clock() - moment < LIVE_WITHIN
            self._registry.set_authority(la, LIVE if live else HISTORY)
        if latest:
            logger().info("intake.recovered", authorities=len(latest))
