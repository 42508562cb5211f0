"""Who belongs to a family, and what professionals decided: registers in the family's case."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from ehps.batch import Batch
from ehps.calendar import date_to_day
from ehps.errors import InvariantBroken
from ehps.facts import person_hash
from ehps.log import LogRecord
from ehps.policy import Look, Scene, row_of
from ehps.rescore import Before, tell
from ehps.state import PEOPLE_MAX, Family, Person, counting_on
from ehps.stepdown import start_quiet
from ehps.views import BANDS


def join_or_leave(batch: Batch, scene: Scene, record: LogRecord, document: dict[str, Any]) -> None:
    """Take in a membership: the greatest (version, document) wins; facts of people who left do not count."""
    family = batch.family(record.family)
    people, subject = family.case.people, document["subject"]
    held = people.get(subject)
    new = _person(document, scene.at if held is None else held.since)
    if held is not None and _order(held) >= _order(new):
        batch.partition.count("membership_duplicate")
        return
    batch.partition.count("membership")
    facts, gone = family.held(), family.gone()
    people[subject] = new
    _bound(family)
    if held is None and new.role == "child" and not new.removed:
        # A new child in the household is news whatever was said before: it breaks the cool-down.
        for grade in BANDS:
            family.case.alerted.pop(grade, None)
    if len(facts):
        undone = new.removed or len(family.facts) < facts.nbytes
        before = Before(partial(counting_on, facts, gone), lambda: None, undone)
        _look_again(batch, scene, record.family, before)


def _look_again(batch: Batch, scene: Scene, key: str, before: Before) -> None:
    """Whose facts count has changed: the family is told anew, and its quiet days start again."""
    family = batch.family(key)
    facts = family.counted(scene.day)
    look = Look(key, family, facts, row_of(scene, family, facts))
    tell(batch, scene, look, before, "record")
    if family.below_since is not None:
        start_quiet(scene.content, family, look.row.spells, scene.day)
        batch.note_timer(key, family)


def _person(document: dict[str, Any], since: int) -> Person:
    month = document.get("born")
    born = None if month is None else date_to_day(date.fromisoformat(f"{month}-15"))
    confidence, removed = float(document["confidence"]), bool(document["removed"])
    return Person(document["version"], document["role"], since, born, confidence, removed)


def _order(person: Person) -> tuple[str, bool, str, int, float]:
    return person.version, person.removed, person.role, person.born or 0, person.confidence


def _bound(family: Family) -> None:
    """Past the bound the oldest who left gives way, or else the oldest: with their facts, and the state says so."""
    people = family.case.people
    if len(people) <= PEOPLE_MAX:
        return
    left = [subject for subject, person in people.items() if person.removed]
    oldest = min(left or people, key=lambda subject: (people[subject].version, subject))
    del people[oldest]
    family.over = True
    facts = family.held()
    family.facts = facts[facts["person"] != person_hash(oldest)].tobytes()


def decide(batch: Batch, record: LogRecord, document: dict[str, Any]) -> None:
    """Remember a professional's decision: the next alert shows it. One on a family that nobody knows makes none."""
    family = batch.family(record.family)
    if family.blank():
        batch.partition.count("decision_unmatched")
        return
    case, data = family.case, document["data"]
    # In order of name, as when read back: an alert that shows it has the same bytes, however the log is cut.
    decision = {
        "action": data["action"],
        "alert_id": data["alert_id"],
        "at": _utc(document["time"]),
        "id": document["id"],
    }
    if not decision["id"]:
        raise InvariantBroken("a decision without id passed validation")
    held = case.decided
    if data["action"] == "wrong_family":  # whatever was decided since on other alerts
        case.standing = [alert for alert in case.standing if alert.alert_id != data["alert_id"]]
    if held is not None and (held["at"], held["id"]) >= (decision["at"], decision["id"]):
        batch.partition.count("decision_duplicate")
        return
    batch.partition.count("decision")
    case.decided = decision


def _utc(moment: str) -> str:
    """In UTC, in a form whose text sorts as the time does."""
    told = datetime.fromisoformat(moment)
    try:
        return told.astimezone(UTC).isoformat()
    except OverflowError:  # the calendar's first or last day, which in UTC would lie outside it
        return told.replace(tzinfo=UTC).isoformat()
