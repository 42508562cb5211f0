"""Events of people without a family: parked by person, and put on the log once a link says where they belong."""

from __future__ import annotations

from schemas.envelope import Event
from schemas.validate import validate_event
from streams import metrics
from streams.logwriter import INPUT, LogWriter
from streams.patience import Clock
from streams.ports import Lookups, Parked, Stretch
from streams.segments import Record


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
        for subject in dict.fromkeys(event.subject for event in parked):
            self.release(subject)

    def release(self, subject: str) -> int:
        """Put a person's parked events on the log, if the person has a family now. Returns how many."""
        family = self._registry.families_of([subject])[0]
        if family is None:
            return 0
        parked = self._registry.parked(subject)
        for place, value in parked.items():
            verdict = validate_event(place.split("/")[0], value, None, self._clock())
            if isinstance(verdict, Event):
                self._log.event(family, verdict, value, place)
        self._log.confirm()
        self._registry.unpark(subject, list(parked))
        return len(parked)

    def sweep(self) -> int:
        """Release whatever can be."""
        subjects = self._registry.parked_subjects()
        metrics.PARKED.set(len(subjects))
        return sum(self.release(subject) for subject in subjects)


def _origin(record: Record) -> str:
    """Coordinates of the message as the agency sent it."""
    return dict(record.headers).get(INPUT, b"").decode()
