"""Events of people without a family: parked by person, and put on the log once a link says where they belong."""

from __future__ import annotations

from schemas.envelope import Event
from schemas.validate import validate_event
from streams import metrics
from streams.logwriter import INPUT, LogWriter
from streams.patience import Clock
from streams.ports import Lookups, Parked, Stretch
from streams.segments import Record

PEOPLE_AT_ONCE = 500
"""People looked at in one go: each may have up to a thousand events parked."""


class Parking:
    """Keeps the unlinked topic at hand, by person."""

    def __init__(self, registry: Lookups, log: LogWriter, clock: Clock) -> None:
        """`log` is this object's own: one thread, one producer."""
        self._registry, self._log, self._clock = registry, log, clock

    def take(self, stretch: Stretch, records: list[Record]) -> None:
        """Park first, then look: a link may have come since intake looked, and its release found nothing."""
        parked = [
            Parked((record.key or b"").decode(), _origin(record), record.value or b"")
            for record in records
        ]
        self._registry.learn(stretch, parked=parked)
        self.release(list(dict.fromkeys(event.subject for event in parked)))

    def release(self, subjects: list[str]) -> int:
        """Put people's parked events on the log, of those who have a family now. Returns how many events."""
        count = 0
        for first in range(0, len(subjects), PEOPLE_AT_ONCE):
            count += self._release(subjects[first : first + PEOPLE_AT_ONCE])
        return count

    def _release(self, subjects: list[str]) -> int:
        families = zip(subjects, self._registry.families_of(subjects), strict=True)
        known = {subject: family for subject, family in families if family is not None}
        parked = self._registry.parked(list(known))
        for subject, events in parked.items():
            for place, value in events.items():
                verdict = validate_event(place.split("/")[0], value, None, self._clock())
                if isinstance(verdict, Event):
                    self._log.event(known[subject], verdict, value, place)
        self._log.confirm()
        for subject, events in parked.items():
            self._registry.unpark(subject, list(events))
        return sum(map(len, parked.values()))

    def sweep(self) -> int:
        """Release whatever can be."""
        subjects = self._registry.parked_subjects()
        metrics.PARKED.set(len(subjects))
        return self.release(subjects)


def _origin(record: Record) -> str:
    """Coordinates of the message as the agency sent it."""
    return dict(record.headers).get(INPUT, b"").decode()
