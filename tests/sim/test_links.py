"""Links of one moment, and what waits for a link: without faults, where the seeds seldom come."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import orjson
import pytest

from schemas.topics import LINKS, LOG, agency_topic, dead_letter_topic
from streams import parking
from streams.logwriter import INPUT
from tests.sim.inputs import LA, START, Input
from tests.sim.verdict import complaints
from tests.sim.world import World

PERSON = f"person-{99:032x}"
NOW = START + timedelta(days=400)


@pytest.fixture
def world() -> World:
    """At rest after some history."""
    found = World(0)
    found.run()
    found.now = NOW
    return found


def message(topic: str, kind: str, name: str, data: dict[str, object]) -> Input:
    document = {
        "specversion": "1.0",
        "id": name,
        "source": "urn:ehps:test",
        "type": kind,
        "subject": PERSON,
        "time": NOW.isoformat(),
        "recordedtime": NOW.isoformat(),
        "la": LA,
        "data": data,
    }
    return Input(topic, PERSON.encode(), orjson.dumps(document), timedelta(), good=True)


def joins(family: str) -> Input:
    data = {"family": family, "role": "child", "born": "2018-03", "confidence": 0.9}
    return message(LINKS, "link.person.v1", f"joins-{family}", data)


def leaves(family: str) -> Input:
    return message(LINKS, "link.removed.v1", f"leaves-{family}", {"family": family})


def events(count: int) -> list[Input]:
    topic = agency_topic("police")
    kind, data = "police.notification.v1", {"grade": "red"}
    return [message(topic, kind, f"parked-{number}", data) for number in range(count)]


@pytest.mark.parametrize(
    ("links", "home"),
    [
        ((joins("f1"), joins("f2")), "f2"),
        ((leaves("f2"), joins("f1")), "f1"),
        ((leaves("f1"), joins("f1")), "f1"),
        ((leaves("f2"), joins("f1"), joins("f0")), "f1"),
    ],
)
def test_links_of_one_moment_give_one_family_in_whatever_order_they_come(
    links: tuple[Input, ...], home: str
) -> None:
    for order in permutations(links):
        for one_batch in (True, False):
            world = World(0)
            world.run()
            world.now = NOW
            for some in (order,) if one_batch else ((link,) for link in order):
                world.tell(*some)

            assert world.redis.held.links[PERSON].endswith(f"|{LA}:{home}")
            assert complaints(world) == []


def test_everything_parked_is_released_when_the_link_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.sim.redis.PARKED_AT_ONCE", 4)
    world.tell(*events(11))
    waiting = world.redis.held.parked[PERSON]
    assert len(waiting) == 11
    places = set(waiting)

    world.tell(joins("f1"))

    logged = {dict(record.headers).get(INPUT, b"").decode() for record in world.broker.records(LOG)}
    assert places <= logged
    assert not world.redis.held.parked[PERSON]
    assert complaints(world) == []


def test_a_parked_event_that_is_valid_no_longer_goes_back_to_its_sender(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tell(*events(2))
    judge = parking.validate_event

    def stricter(topic: str, value: bytes, *rest: object) -> object:
        changed = value.replace(b"police.notification.v1", b"police.forgotten.v1")
        return judge(topic, changed if b"parked-1" in value else value, *rest)

    monkeypatch.setattr(parking, "validate_event", stricter)
    world.tell(joins("f1"))

    letters = world.broker.records(dead_letter_topic("police"))[-1:]
    assert [b"parked-1" in (letter.value or b"") for letter in letters] == [True]
    assert dict(letters[0].headers)["__streams.errors.exception"] == b"unknown_type"
    assert dict(letters[0].headers)["ehps.errors.stage"] == b"parking"
    assert not world.redis.held.parked[PERSON]
