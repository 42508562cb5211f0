"""The committed contracts are the code's, old messages stay valid, and the edge never raises."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ehps.catalogue import KINDS
from schemas import (
    EVENT_TYPES,
    Event,
    Rejection,
    validate_control,
    validate_decision,
    validate_event,
    validate_link,
)
from schemas.envelope import SENT_UTC
from schemas.export import MODELS, asyncapi, files, schema_of
from schemas.topics import AGENCY_TOPICS, TOPICS, agency_topic
from schemas.validate import CODES
from streams.patience import utc_now

ROOT = Path(__file__).parents[3] / "schemas"
GOLDEN = sorted(ROOT.glob("golden/*/*.json"))
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def type_of(path: Path) -> str:
    return f"{path.parent.name}.v{path.stem}"


def check(name: str, value: bytes) -> object:
    if name.startswith("link."):
        return validate_link(value, None, NOW)
    if name.startswith("decision."):
        return validate_decision(value, None, NOW)
    if name.startswith("control."):
        return validate_control(value)
    return validate_event(
        agency_topic("police" if name.startswith("record.") else name.split(".", maxsplit=1)[0]),
        value,
        None,
        NOW,
    )


def test_the_committed_schemas_are_those_of_the_code() -> None:
    expected = dict(files())
    held = {
        str(p.relative_to(ROOT / "json")): p.read_bytes() for p in (ROOT / "json").rglob("*.json")
    }

    assert expected.keys() == held.keys(), "run `ehps schemas export`"
    assert expected == held, "run `ehps schemas export`"


def test_every_input_type_has_a_golden_message() -> None:
    inputs = {name for name in MODELS if name not in ("alert.v1", "score.v1", "dead-letter.v1")}

    assert inputs == {type_of(path) for path in GOLDEN}


@pytest.mark.parametrize("path", GOLDEN, ids=type_of)
def test_golden_messages_of_every_committed_version_still_validate(path: Path) -> None:
    value = path.read_bytes()
    verdict = check(type_of(path), value)

    assert not isinstance(verdict, Rejection), verdict
    Draft202012Validator(schema_of(type_of(path))).validate(json.loads(value))


def test_every_kind_of_fact_comes_from_an_event_type_that_exists() -> None:
    assert {kind.event for kind in KINDS} <= set(EVENT_TYPES)
    assert len({kind.code for kind in KINDS}) == len({kind.name for kind in KINDS}) == len(KINDS)


def test_every_golden_event_but_a_retraction_tells_a_fact() -> None:
    from ehps.log import HEAD_BYTES, pack_event

    for path in GOLDEN:
        event = check(type_of(path), path.read_bytes())
        if isinstance(event, Event) and type_of(path).split(".")[0] not in ("record", "link"):
            assert len(pack_event(event)) > HEAD_BYTES, type_of(path)


def test_asyncapi_names_every_topic_that_agencies_and_front_doors_use() -> None:
    document = asyncapi()

    assert set(AGENCY_TOPICS) <= document["channels"].keys() <= {topic.name for topic in TOPICS}
    assert document["asyncapi"] == "3.0.0"


@given(st.binary(max_size=300), st.sampled_from(AGENCY_TOPICS))
def test_no_bytes_make_the_edge_raise(value: bytes, topic: str) -> None:
    verdict = validate_event(topic, value, None, NOW)

    assert isinstance(verdict, Rejection)
    assert verdict.code in CODES


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300)
@given(st.sampled_from(GOLDEN), st.data(), JSON)
def test_a_golden_message_with_any_field_changed_is_taken_or_refused_with_a_reason(
    path: Path, data: st.DataObject, value: Any
) -> None:
    document = json.loads(path.read_bytes())
    target = document
    field = data.draw(st.sampled_from(sorted(document)))
    if isinstance(document[field], dict) and document[field] and data.draw(st.booleans()):
        target = document[field]
        field = data.draw(st.sampled_from(sorted(target)))
    target[field] = value
    verdict = check(type_of(path), json.dumps(document).encode("utf-8", "surrogatepass"))

    if isinstance(verdict, Rejection):
        assert verdict.code in CODES
        assert verdict.hint
        assert not verdict.hint.startswith("should"), "it is said after `send`"


GOOD = json.loads((ROOT / "golden/police.notification/1.json").read_bytes())


def refused(**changes: Any) -> Rejection:
    verdict = validate_event(
        "agency.police.v1", json.dumps({**GOOD, **changes}).encode(), None, NOW
    )
    assert isinstance(verdict, Rejection)
    return verdict


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"specversion": "0.3"}, "wrong_envelope", "specversion"),
        ({"type": "police.nothing.v1"}, "unknown_type", "type"),
        ({"type": "police.notification.v9"}, "unknown_version", "type"),
        ({"type": "education.young_carer.v1"}, "wrong_topic", "type"),
        ({"data": {"grade": "pink"}}, "unknown_code", "data.grade"),
        ({"data": {}}, "missing_field", "data.grade"),
        ({"time": "2026-01-11T21:40:00"}, "naive_time", "time"),
        ({"time": "2027-01-11T21:40:00Z"}, "future_time", "time"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "wrong_value", "time"),
        ({"recordedtime": "1899-12-31T23:59:59Z"}, "wrong_value", "recordedtime"),
        ({"id": "x" * 200}, "too_long", "id"),
        ({"subject": "943 476 5919"}, "identifier_not_pseudonym", "subject"),
        ({"subject": "Ada Lovelace"}, "identifier_not_pseudonym", "subject"),
        ({"la": "Bristol"}, "wrong_value", "la"),
        (
            {"type": "record.retracted.v1", "data": {"id": "a", "type": "police.notification.v1"}},
            "missing_original",
            "data.occurred",
        ),
    ],
)
def test_each_fault_gets_a_reason_that_its_sender_can_act_on(
    changes: dict[str, Any], code: str, field: str
) -> None:
    why = refused(**changes)

    assert (why.code, why.field) == (code, field)
    assert why.hint


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"la": "Bristol"}, "text that matches pattern"),
        ({"source": ""}, "text of at least 1 character"),
        ({"id": "x" * 200}, "at most 128 characters"),
        ({"data": []}, "an object, in braces"),
    ],
)
def test_a_hint_can_be_said_after_send(changes: dict[str, Any], said: str) -> None:
    assert refused(**changes).hint.startswith(said)


def test_a_rejection_never_repeats_the_value() -> None:
    for secret in ("943 476 5919", "Ada Lovelace", "A123456789012"):
        why = refused(subject=secret, la=secret, id=secret)
        assert not re.search(re.escape(secret), f"{why.code}{why.field}{why.observed}{why.hint}")
    why = refused(data={"grade": "Ada Lovelace"}, time="Ada Lovelace")
    assert "Ada" not in f"{why.observed}{why.hint}"


def test_unknown_fields_are_kept() -> None:
    event = validate_event(
        "agency.police.v1",
        json.dumps({**GOOD, "traceparent": "00-1", "data": {**GOOD["data"], "beat": 7}}).encode(),
        None,
        NOW,
    )

    assert isinstance(event, Event)
    assert event.model_dump()["traceparent"] == "00-1"
    assert event.data.model_dump()["beat"] == 7


def test_binary_mode_gives_the_same_event() -> None:
    headers = [
        (f"ce_{name}", str(value).encode()) for name, value in GOOD.items() if name != "data"
    ]
    structured = validate_event("agency.police.v1", json.dumps(GOOD).encode(), None, NOW)
    binary = validate_event("agency.police.v1", json.dumps(GOOD["data"]).encode(), headers, NOW)

    assert structured == binary


def retraction_of(kind: str) -> bytes:
    data = {"id": "a", "type": kind, "occurred": "2026-01-11T21:40:00Z"}
    return json.dumps({**GOOD, "type": "record.retracted.v1", "data": data}).encode()


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("education.suspension.v1", "wrong_topic"),
        ("police.nothing.v1", "unknown_type"),
        ("record.retracted.v1", "unknown_type"),
    ],
)
def test_an_agency_takes_back_only_what_is_its_own_to_tell(kind: str, code: str) -> None:
    verdict = validate_event("agency.police.v1", retraction_of(kind), None, NOW)

    assert isinstance(verdict, Rejection)
    assert (verdict.code, verdict.field) == (code, "data.type")
    assert not isinstance(
        validate_event("agency.police.v1", retraction_of("police.marac.v1"), None, NOW), Rejection
    )


def test_what_is_nested_deeper_than_it_can_be_written_again_is_refused() -> None:
    def nested(levels: int) -> bytes:
        value: Any = 1
        for number in range(levels):
            value = [value] if number % 2 else {"a": value}
        return json.dumps({**GOOD, "more": value}).encode()

    taken = validate_event("agency.police.v1", nested(63), None, NOW)
    refused_ = validate_event("agency.police.v1", nested(64), None, NOW)

    assert isinstance(taken, Event)
    assert taken.model_dump_json()
    assert isinstance(refused_, Rejection)
    assert refused_.code == "too_large"


def test_times_sent_in_utc_share_one_zone_and_so_are_compared_without_asking_it() -> None:
    golden = next(path for path in GOLDEN if path.parent.name == "police.notification")
    event = validate_event("agency.police.v1", golden.read_bytes(), None, NOW)

    assert isinstance(event, Event)
    assert event.time.tzinfo is SENT_UTC
    assert event.recordedtime.tzinfo is utc_now().tzinfo


BARE = [12345, 1795761409.5, "12345", "1795761409", 0, "0", "-5"]
LAX = [
    ("police.notification", "child_present", "yes"),
    ("police.notification", "child_present", 1),
    ("education.attendance", "date", "1795737600"),
    ("education.attendance", "date", 1795737600),
    ("police.missing", "returned", "1795737600"),
    ("record.retracted", "occurred", "1795737600"),
]


@pytest.mark.parametrize("name", ["time", "recordedtime", "correctionof"])
@pytest.mark.parametrize("value", BARE, ids=repr)
def test_digits_alone_are_no_time(name: str, value: object) -> None:
    told = told_with("police.notification", {name: value})

    assert isinstance(told, Rejection)
    assert (told.code, told.field) == ("wrong_value", name)
    assert "2026-01-31T09:30:00Z" in told.hint


@pytest.mark.parametrize(("kind", "name", "value"), LAX, ids=repr)
def test_what_the_published_schema_refuses_is_refused(kind: str, name: str, value: object) -> None:
    told = told_with(kind, {}, {name: value})

    assert isinstance(told, Rejection)
    assert (told.code, told.field) == ("wrong_value", f"data.{name}")


def told_with(kind: str, changes: dict[str, Any], data: dict[str, Any] | None = None) -> object:
    """What becomes of the golden message of a kind with some of its fields changed."""
    document = json.loads((ROOT / "golden" / kind / "1.json").read_text())
    document |= changes | {"data": document["data"] | (data or {})}
    topic = agency_topic("police" if kind.startswith("record") else kind.split(".", maxsplit=1)[0])
    return validate_event(topic, json.dumps(document).encode(), None, NOW)


def test_a_golden_message_is_taken_as_it_is() -> None:
    assert isinstance(told_with("police.notification", {}), Event)
    assert isinstance(told_with("education.attendance", {}), Event)
