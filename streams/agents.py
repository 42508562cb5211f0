"""What the low-volume topics of links and decisions ask for. The Faust agents call it in a thread."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from schemas.envelope import Event
from schemas.links import PersonLinked, authority_of, family_key
from schemas.validate import Rejection, validate_decision, validate_link
from streams.intake import NOT_SERVED, coordinates, dead_letter
from streams.kafka import Sender
from streams.logwriter import LogWriter
from streams.parking import Parking
from streams.patience import Clock, utc_now
from streams.ports import Certain, Link, Lookups, Stretch
from streams.segments import Record

FAMILY_NOT_SERVED = replace(NOT_SERVED, field="family", hint="the family key as the alert names it")
_YEAR_ONE = datetime.min.replace(tzinfo=UTC)


class Links:
    """Who belongs to which family: on the log first, then where intake looks it up, then parked events are released."""

    def __init__(
        self,
        registry: Lookups,
        sender: Sender,
        log: LogWriter,
        parking: Parking,
        certain: Certain,
        clock: Clock = utc_now,
    ) -> None:
        """`log` writes through `sender`; `parking` releases parked events."""
        self._registry, self._sender, self._log = registry, sender, log
        self._certain = certain
        self._parking, self._clock = parking, clock

    def take(self, stretch: Stretch, records: list[Record]) -> None:
        """One batch, everything confirmed before the look-up changes: no event overtakes its membership."""
        now, authorities = self._clock(), self._registry.served()
        verdicts = [validate_link(record.value, record.headers, now) for record in records]
        told = {verdict.la for verdict in verdicts if isinstance(verdict, Event)}
        self._certain(told - authorities.keys())
        taken: list[tuple[Event, str]] = []
        for record, verdict in zip(records, verdicts, strict=True):
            if isinstance(verdict, Rejection):
                dead_letter(self._sender, record, verdict, now, "links")
            elif verdict.la not in authorities:
                dead_letter(self._sender, record, NOT_SERVED, now, "links")
            else:
                taken.append((verdict, coordinates(record)))
        subjects = list(dict.fromkeys(link.subject for link, _ in taken))
        held = dict(zip(subjects, self._registry.links(subjects, stretch), strict=True))
        for link, place in taken:
            self._write(link, place, held)
        self._sender.confirm()
        self._registry.learn(stretch, links=[_looked_up(link) for link, _ in taken])
        self._parking.release(subjects)

    def _write(self, link: Event, place: str, held: dict[str, Link | None]) -> None:
        """The family learns of its member. Who moved leaves the old family; an old link joins nobody any more."""
        new, family = _looked_up(link), family_key(link.la, link.data.family)
        known = held[link.subject]
        late = known is not None and known.order > new.order
        if late and known is not None and known.family != family:
            self._log.membership(family, _gone(link.subject, known.version), place)
            return
        if known is not None and new.family is not None and known.family not in (None, family):
            self._log.membership(known.family or "", _gone(link.subject, new.version), place)
        held[link.subject] = known if late else new
        self._log.membership(
            family,
            {
                "subject": link.subject,
                "version": new.version,
                "removed": new.family is None,
                "role": getattr(link.data, "role", "adult"),
                "born": getattr(link.data, "born", None),
                "confidence": getattr(link.data, "confidence", 1.0),
            },
            place,
        )


def _gone(subject: str, version: str) -> dict[str, object]:
    """The membership of a person who belongs to another family: facts about the person no longer count here."""
    return {
        "subject": subject,
        "version": version,
        "role": "adult",
        "born": None,
        "confidence": 1.0,
        "removed": True,
    }


def _looked_up(link: Event) -> Link:
    linked = isinstance(link, PersonLinked)
    family = family_key(link.la, link.data.family) if linked else None
    return Link(link.subject, version_at(link.recordedtime, linked=linked), family)


def version_at(moment: datetime, *, linked: bool) -> str:
    """A link's version, text that sorts as links count: microseconds since year 1 in base 16; 1, or 0 for a removal.

    Of one moment, the end of one membership and the beginning of another are a move: the beginning counts. Short, since
    every state holds one for each person.
    """
    passed = max(moment - _YEAR_ONE, timedelta()) // timedelta(microseconds=1)
    return f"{passed:015x}{int(linked)}"


class Decisions:
    """What professionals decided, onto their family's log."""

    def __init__(
        self,
        registry: Lookups,
        sender: Sender,
        log: LogWriter,
        certain: Certain,
        clock: Clock = utc_now,
    ) -> None:
        """All confirmed before a batch is done."""
        self._registry, self._sender, self._log, self._clock = registry, sender, log, clock
        self._certain = certain

    def take(self, records: list[Record]) -> None:
        """One batch."""
        now, authorities = self._clock(), self._registry.served()
        verdicts = [validate_decision(record.value, record.headers, now) for record in records]
        told = {authority_of(v.family) for v in verdicts if not isinstance(v, Rejection)}
        self._certain(told - authorities.keys())
        for record, verdict in zip(records, verdicts, strict=True):
            if isinstance(verdict, Rejection):
                dead_letter(self._sender, record, verdict, now, "decisions")
            elif authority_of(verdict.family) not in authorities:
                dead_letter(self._sender, record, FAMILY_NOT_SERVED, now, "decisions")
            else:
                self._log.decision(
                    verdict.family, verdict.model_dump_json().encode(), coordinates(record)
                )
        self._sender.confirm()
