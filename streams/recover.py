"""After Redis was lost: what intake looks up is read again from the topics that hold it for good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ehps.log import LogRecord, RecordKind
from schemas.control import Heartbeat
from schemas.envelope import Event
from schemas.links import PersonLinked, family_key
from schemas.topics import LINKS, LOG, UNLINKED
from schemas.validate import validate_link
from streams.agents import version_of
from streams.config import Settings
from streams.intake import Intake, parked_bytes
from streams.kafka import read_topic
from streams.logs import logger
from streams.logwriter import EHPS, INPUT
from streams.store import HISTORY, LIVE, Registry

LIVE_WITHIN = timedelta(days=1)
"""An authority whose log has a heartbeat this fresh is live; the others are imported history."""


def recover(settings: Settings, registry: Registry, intake: Intake, now: datetime) -> None:
    """Read authorities, links and parked events again, if Redis holds none."""
    if registry.links_known():
        return
    for la, latest in _authorities(settings).items():
        registry.set_authority(la, LIVE if now - latest < LIVE_WITHIN else HISTORY)
    links = 0
    for record in read_topic(settings.kafka, LINKS, settings.segments):
        link = validate_link(record.value, record.headers, now)
        if isinstance(link, Event):
            family = (
                family_key(link.la, link.data.family) if isinstance(link, PersonLinked) else None
            )
            registry.put_link(link.subject, version_of(link), family)
            links += 1
    subjects = set()
    for record in read_topic(settings.kafka, UNLINKED, settings.segments):
        place = dict(record.headers).get(INPUT, b"").decode()
        subject = (record.key or b"").decode()
        registry.park(subject, place, parked_bytes(place.split("/")[0], record.value or b""))
        subjects.add(subject)
    released = sum(intake.release(subject) for subject in sorted(subjects))
    registry.mark_links_read()
    logger().info("intake.recovered", links=links, parked=len(subjects), released=released)


def _authorities(settings: Settings) -> dict[str, datetime]:
    """Authorities that the log knows, with their latest heartbeat: every partition has all of them."""
    latest: dict[str, datetime] = {}
    for record in read_topic(settings.kafka, LOG, settings.segments, partitions=[0]):
        compact = dict(record.headers).get(EHPS, b"")
        if compact and compact[0] in (RecordKind.CONTROL, RecordKind.HEARTBEAT):
            la = LogRecord(record.offset, "", compact, b"").la
            latest.setdefault(la, datetime.fromtimestamp(0, UTC))
            if compact[0] == RecordKind.HEARTBEAT:
                latest[la] = max(
                    latest[la], Heartbeat.model_validate_json(record.value or b"").time
                )
    return latest
