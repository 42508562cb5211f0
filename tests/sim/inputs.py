"""A small history of many agencies: repeats, late news, corrections, retractions, nonsense, people without a family."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from ehps.library import Library
from schemas.topics import CONTROL, DECISIONS, LINKS, agency_topic

LA, IMPORTED, LATE = "E06000023", "E09000001", "E08000025"
"""An authority that is live, one whose past is told, and one that goes live in the midst of it."""
START = datetime(2024, 1, 8, 9, tzinfo=UTC)
LIBRARY = Library.packaged()

KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("police.notification", {"grade": "red"}),
    ("police.notification", {"grade": "amber"}),
    ("police.encompass", {}),
    ("police.marac", {"risk": "high"}),
    ("police.protection", {}),
    ("education.suspension", {"reasons": ["DB"]}),
    ("education.attendance", {"date": "2024-01-09", "am": "O", "pm": "O"}),
    ("health.substance", {"who": "parent"}),
    ("health.mental_health", {"who": "parent", "kind": "crisis"}),
    ("housing.arrears", {}),
    ("early-help.started", {}),
    ("early-help.ended", {"reason": "unmet"}),
    ("social-care.assessment", {"factors": ["3B", "4B", "2B"]}),
    ("social-care.section47", {}),
)


class Input(NamedTuple):
    """A message to publish once `wait` has passed since the one before. `good`: EHPS must take it."""

    topic: str
    key: bytes
    value: bytes
    wait: timedelta
    good: bool


@dataclass
class Told:
    """What the agencies know while they tell it."""

    random: random.Random
    now: datetime = START
    events: list[dict[str, Any]] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)


def control(stage: str, la: str = LA, effective: datetime = START) -> Input:
    """The first control: without it nothing is taken."""
    message = {"control": LIBRARY.default_control(la, effective, stage).model_dump(mode="json")}
    return Input(CONTROL, la.encode(), orjson.dumps(message), timedelta(), good=True)


def history(seed: random.Random, count: int) -> list[Input]:
    """`count` messages, and the links of four families among them."""
    told = Told(seed)
    people = [f"person-{number:032x}" for number in range(seed.randint(2, 7))]
    linked = [name for name in people if seed.random() < 0.85]
    late = [name for name in linked if seed.random() < 0.3]
    past = _past(told)
    result = [_link(told, name, told.now) for name in linked if name not in late]
    for _ in range(count):
        wait = timedelta(minutes=seed.choice((1, 7, 60, 60 * 24, 60 * 24 * 9)))
        told.now += wait
        act = seed.choices(
            (_event, _again, _changed, _retraction, _nonsense, _decision, _move, _later),
            (12, 2, 2, 1, 2, 2, 1, 2),
        )[0]
        result.append(act(told, people, late)._replace(wait=wait))
    result += [_link(told, name, told.now) for name in late]
    for message in past:
        result.insert(seed.randint(len(result) // 2, len(result)), message)
    soon = control("live", LATE, told.now + timedelta(hours=1))
    result.insert(seed.randrange(len(result)), soon)
    return result


def _past(told: Told) -> list[Input]:
    """Messages of the authority whose past is told: each finds its place, so that some come before their link."""
    somebody = [f"person-{'f' * 32}"]
    messages = [_link(told, somebody[0], told.now)]
    messages += [_event(told, somebody, []) for _ in range(told.random.randint(1, 3))]
    told.links.pop(somebody[0])
    del told.events[-len(messages) + 1 :]
    return [_of_imported(message, number) for number, message in enumerate(messages)]


def _of_imported(message: Input, number: int) -> Input:
    document = orjson.loads(message.value.replace(LA.encode(), IMPORTED.encode()))
    return message._replace(value=orjson.dumps(document | {"id": f"past-{number}"}))


def _event(told: Told, people: list[str], late: list[str]) -> Input:
    kind, data = told.random.choice(KINDS)
    when = told.now - timedelta(days=told.random.choice((0, 0, 2, 30, 300)))
    event = {
        "specversion": "1.0",
        "id": f"e{len(told.events)}",
        "source": f"urn:ehps:{kind.partition('.')[0]}:{LA}",
        "type": f"{kind}.v1",
        "subject": told.random.choice(people),
        "time": when.isoformat(),
        "recordedtime": told.now.isoformat(),
        "la": LA,
        "data": data,
    }
    told.events.append(event)
    return _sent(event)


def _sent(event: dict[str, Any], topic: str | None = None) -> Input:
    topic = topic or agency_topic(event["source"].split(":")[2])
    return Input(topic, event["subject"].encode(), orjson.dumps(event), timedelta(), good=True)


def _again(told: Told, people: list[str], late: list[str]) -> Input:
    """The same event once more, as it was sent."""
    if not told.events:
        return _event(told, people, late)
    return _sent(told.random.choice(told.events))


def _changed(told: Told, people: list[str], late: list[str]) -> Input:
    """A correction, which may move the date."""
    originals = [event for event in told.events if event["type"] != "record.retracted.v1"]
    if not originals:
        return _event(told, people, late)
    old = told.random.choice(originals)
    new = old | {"recordedtime": told.now.isoformat()}
    if told.random.random() < 0.5:
        moved = datetime.fromisoformat(old["time"]) - timedelta(days=5)
        new |= {"time": moved.isoformat(), "correctionof": old["time"]}
    return _sent(new)


def _retraction(told: Told, people: list[str], late: list[str]) -> Input:
    originals = [event for event in told.events if event["type"] != "record.retracted.v1"]
    if not originals:
        return _event(told, people, late)
    old = told.random.choice(originals)
    data = {"id": old["id"], "type": old["type"], "occurred": old["time"]}
    event = old | {
        "id": f"r{len(told.events)}",
        "type": "record.retracted.v1",
        "time": told.now.isoformat(),
        "recordedtime": told.now.isoformat(),
        "data": data,
    }
    told.events.append(event)
    return _sent(event, agency_topic(old["source"].split(":")[2]))


def _nonsense(told: Told, people: list[str], late: list[str]) -> Input:
    event = orjson.loads(_event(told, people, late).value)
    told.events.pop()
    broken = told.random.choice(
        (
            b"{",
            orjson.dumps({**event, "subject": "John Smith"}),
            orjson.dumps({**event, "type": "police.rumour.v1"}),
            orjson.dumps({**event, "la": "E09999999"}),
        )
    )
    topic = told.random.choice((agency_topic("police"), agency_topic("health"), LINKS, DECISIONS))
    return Input(topic, b"?", broken, timedelta(), good=False)


def _decision(told: Told, people: list[str], late: list[str]) -> Input:
    family = f"{LA}:f{told.random.randrange(4)}"
    decision = {
        "specversion": "1.0",
        "id": f"d{told.now.timestamp():.0f}",
        "source": "urn:ehps:console",
        "type": "decision.made.v1",
        "family": family,
        "time": told.now.isoformat(),
        "recordedtime": told.now.isoformat(),
        "la": LA,
        "data": {"alert_id": "0" * 32, "action": "accept"},
    }
    return Input(DECISIONS, family.encode(), orjson.dumps(decision), timedelta(), good=True)


def _move(told: Told, people: list[str], late: list[str]) -> Input:
    """Somebody who has a family joins another."""
    if not told.links:
        return _event(told, people, late)
    return _link(told, told.random.choice(sorted(told.links)), told.now)


def _later(told: Told, people: list[str], late: list[str]) -> Input:
    """A link that should have come before the first event."""
    return _link(told, late.pop(), told.now) if late else _event(told, people, late)


def _link(told: Told, subject: str, now: datetime) -> Input:
    family = f"f{told.random.randrange(4)}"
    told.links[subject] = family
    link = {
        "specversion": "1.0",
        "id": f"l{subject[-4:]}-{now.timestamp():.0f}",
        "source": "urn:ehps:registry",
        "type": "link.person.v1",
        "subject": subject,
        "time": now.isoformat(),
        "recordedtime": now.isoformat(),
        "la": LA,
        "data": {"family": family, "role": "child", "born": "2018-03", "confidence": 0.9},
    }
    return Input(LINKS, subject.encode(), orjson.dumps(link), timedelta(), good=True)
