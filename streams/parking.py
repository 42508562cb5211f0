"""Events of people without a family: parked by person, and put on the log once a link says where they belong."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from schemas.envelope import Event
from schemas.validate import validate_event
from streams import metrics
from streams.intake import dead_letter
from streams.kafka import Sender
from streams.logwriter import INPUT, LogWriter
from streams.patience import Clock
from streams.ports import Lookups, Parked, Stretch
from streams.segments import Record

PEOPLE_AT_ONCE = 500
"""People looked at in one go."""


class Parking:
    """Keeps the unlinked topic at hand, by person."""

    def __init__(
        self,
        registry: Lookups,
        sender: Sender,
        log: LogWriter,
        clock: Clock,
        releasing: AbstractContextManager[Any],
    ) -> None:
        """`log` writes through `sender`, which is this object's own: one thread, one producer.

        Args:
            releasing: held while events are released. All of a process share it: a link and the sweep that found
                the same event at once would each put it on the log.
        """
        self._registry, self._sender, self._log, self._clock = registry, sender, log, clock
        self._releasing = releasing

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
            people, released = subjects[first : first + PEOPLE_AT_ONCE], -1
            while released:
                with self._releasing:
                    released = self._release(people)
                count += released
        return count

    def _release(self, subjects: list[str]) -> int:
        """As many as are read at once; 0: none is left."""
        families = zip(subjects, self._registry.families_of(subjects), strict=True)
        known = {subject: family for subject, family in families if family is not None}
        parked = self._registry.parked(list(known))
        for subject, events in parked.items():
            for place, value in events.items():
                self._put(known[subject], Parked(subject, place, value))
        self._sender.confirm()
        for subject, events in parked.items():
            self._registry.unpark(subject, list(events))
        return sum(map(len, parked.values()))

    def _put(self, family: str, parked: Parked) -> None:
        """Onto the log. What was valid when it was parked and is not any more goes back to its sender."""
        topic, partition, offset = parked.coordinates.rsplit("/", 2)
        verdict = validate_event(topic, parked.record, None, self._clock())
        if isinstance(verdict, Event):
            self._log.event(family, verdict, parked.record, parked.coordinates)
            return
        origin = Record(
            topic, int(partition), int(offset), -1, parked.subject.encode(), parked.record, []
        )
        dead_letter(self._sender, origin, verdict, self._clock(), "parking")

    def sweep(self) -> int:
        """Release whatever can be."""
        subjects = self._registry.parked_subjects()
        metrics.PARKED.set(len(subjects))
        return self.release(subjects)


def _origin(record: Record) -> str:
    """Coordinates of the message as the agency sent it."""
    return dict(record.headers).get(INPUT, b"").decode()
