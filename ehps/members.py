"""Who belongs to a family, and what professionals decided: registers in the family's header."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ehps.batch import Batch
from ehps.calendar import date_to_day, local_day_of
from ehps.errors import InvariantBroken
from ehps.log import LogRecord
from ehps.rescore import row_of, tell, withdraw
from ehps.state import PEOPLE_MAX, Family, Person
from ehps.stepdown import start_quiet


def join_or_leave(batch: Batch, record: LogRecord, document: dict[str, Any]) -> None:
    """Take in a membership: the greatest (version, document) wins; facts of people who left no longer count."""
    family = batch.family(record.family, record.la)
    where = batch.setting(record.la, batch.authority(record.la).time, record.offset)
    held = family.people.get(document["subject"])
    new = _person(document, where.at)
    if held is not None and _order(held) >= _order(new):
        batch.partition.count("membership_duplicate")
        return
    if held is not None:
        new.since = held.since
    batch.partition.count("membership")
    family.people[document["subject"]] = new
    _bound(family)
    if held is None and new.role == "child":
        # A new child in the household is news whatever was said before: it breaks the cool-down.
        family.alerted = {
            name: at for name, at in family.alerted.items() if name not in ("green", "amber", "red")
        }
    if not len(family.facts):
        return
    facts = family.counted()
    row = row_of(where, family, facts)
    if new.removed:
        withdraw(batch, where, record.family, family, facts)
    tell(batch, where, record.family, family, facts, row, 0, None, "record")
    if family.below_since is not None:
        start_quiet(where.content, family, row, 0, local_day_of(where.at))
        batch.note_timer(record.family, family)


def _person(document: dict[str, Any], since: int) -> Person:
    born = document.get("born")
    day = None if born is None else date_to_day(datetime.strptime(f"{born}-15", "%Y-%m-%d").date())  # noqa: DTZ007
    return Person(
        document["version"],
        document["role"],
        day,
        float(document["confidence"]),
        bool(document["removed"]),
        since,
    )


def _order(person: Person) -> tuple[str, bool, str, int, float]:
    return person.version, person.removed, person.role, person.born or 0, person.confidence


def _bound(family: Family) -> None:
    if len(family.people) <= PEOPLE_MAX:
        return
    left = sorted((p.version, subject) for subject, p in family.people.items() if p.removed)
    if not left:
        family.over = True
        left = sorted((p.version, subject) for subject, p in family.people.items())
    del family.people[left[0][1]]


def decide(batch: Batch, record: LogRecord, document: dict[str, Any]) -> None:
    """Remember a professional's decision: the next alert shows it."""
    family = batch.family(record.family, record.la)
    data = document["data"]
    # In order of name, as it is when read back: an alert that shows it has the same bytes, however the log is cut.
    decision = {
        "action": data["action"],
        "alert_id": data["alert_id"],
        "at": document["time"],
        "id": document["id"],
    }
    if not decision["id"]:
        raise InvariantBroken("a decision without id passed validation")
    held = family.decided
    if held is not None and (held["at"], held["id"]) >= (decision["at"], decision["id"]):
        batch.partition.count("decision_duplicate")
        return
    batch.partition.count("decision")
    family.decided = decision
    family.standing = [
        a
        for a in family.standing
        if data["action"] != "wrong_family" or a.alert_id != data["alert_id"]
    ]
