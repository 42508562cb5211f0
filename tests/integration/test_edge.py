"""What agencies send and what becomes of it, on both stacks: nothing of ours on the sending side."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.product import Product, ago, event, link, notification, person

pytestmark = pytest.mark.timeout(240)
POLICE = "agency.police.v1"
NHS_NUMBER = "943 476 5919"
NAME = "Jonathan Quimby"


def test_an_event_written_by_hand_is_scored(product: Product) -> None:
    product.tell(link("hand", "f-hand"))
    body = (
        f'{{"specversion": "1.0", "id": "ppn-1", "source": "urn:x:police", "la": "E06000023",'
        f' "type": "police.notification.v1", "subject": "{person("hand")}",'
        f' "time": "{ago(hours=3)}", "recordedtime": "{ago(hours=2)}", "data": {{"grade": "red"}}}}'
    )
    product.send((POLICE, None, body.encode(), {}))
    product.settle()
    assert _facts(product, "f-hand") == {"police.notification.red": 1}


def test_binary_mode_is_an_event_too(product: Product) -> None:
    product.tell(link("binary", "f-binary"))
    whole = notification("binary", "amber")
    data = json.dumps(whole.pop("data")).encode()
    headers = {f"ce_{name}": text for name, text in whole.items()}
    headers["content-type"] = "application/json"
    product.send((POLICE, whole["subject"], data, headers))
    product.settle()
    assert _facts(product, "f-binary") == {"police.notification.amber": 1}


def test_an_event_sent_twice_counts_once(product: Product) -> None:
    told = notification("twice", "red")
    product.tell(link("twice", "f-twice"))
    product.tell(told, told)
    once = product.explain("f-twice")
    product.tell(told)
    assert product.explain("f-twice")["score_units"] == once["score_units"] > 0


def test_an_incident_told_by_three_agencies_counts_once(product: Product) -> None:
    product.tell(link("incident", "f-incident"))
    shared = {"incident": "CAD-2026-0457", "time": ago(days=2)}
    told = [
        event("police.notification", "incident", {"grade": "amber"}, **shared),
        event("police.encompass", "incident", {}, **shared),
        event("health.emergency", "incident", {"reason": "injury"}, **shared),
    ]
    product.tell(*told)
    explained = product.explain("f-incident")
    counted = [c for c in explained["contributions"] if c["kind"] != "headings"]
    assert (explained["facts"], len(counted)) == (3, 1)


def test_an_event_of_an_unknown_person_is_parked_until_the_link_comes(product: Product) -> None:
    early = notification("early", "red")
    product.tell(early)
    parked = [m for m in product.read("ehps.unlinked.v1") if m.key().decode() == person("early")]
    assert len(parked) == 1
    product.tell(link("early", "f-early"))
    assert _facts(product, "f-early") == {"police.notification.red": 1}


def test_a_retraction_wins_over_the_event_that_comes_after_it(product: Product) -> None:
    product.tell(link("undone", "f-undone"))
    told = notification("undone", "red")
    taken_back = {"id": told["id"], "type": told["type"], "occurred": told["time"]}
    retraction = event(
        "record.retracted", "undone", taken_back, source=told["source"], recordedtime=ago(hours=1)
    )
    product.tell(retraction)
    product.tell(told)
    explained = product.explain("f-undone")
    assert (explained["score_units"], explained["contributions"]) == (0, [])


def test_later_events_follow_a_person_to_another_family(product: Product) -> None:
    product.tell(link("mover", "f-left", recordedtime=ago(hours=9)))
    product.tell(notification("mover", "red"))
    assert product.explain("f-left")["score_units"] > 0
    product.tell(link("mover", "f-joined", recordedtime=ago(hours=8)))
    product.tell(notification("mover", "amber"))
    assert product.explain("f-left")["contributions"] == []
    assert _facts(product, "f-joined") == {"police.notification.amber": 1}


def test_three_green_notifications_alert_and_a_retraction_withdraws_it(product: Product) -> None:
    product.tell(link("greens", "f-greens"))
    told = [notification("greens", time=ago(days=days)) for days in (1, 20, 40)]
    product.tell(*told)
    alerts = product.alerts("f-greens")
    assert [(a["kind"], a["state"]) for a in alerts] == [("combination", "raised")]
    original = {"id": told[0]["id"], "type": told[0]["type"], "occurred": told[0]["time"]}
    product.tell(
        event("record.retracted", "greens", original, source=told[0]["source"], recordedtime=ago())
    )
    assert [a["state"] for a in product.alerts("f-greens")] == ["raised", "withdrawn"]


def test_a_decision_shows_in_what_is_explained_next(product: Product) -> None:
    product.tell(link("decided", "f-decided"))
    product.tell(*(notification("decided", time=ago(days=days)) for days in (1, 20, 40)))
    alert = product.alerts("f-decided")[0]
    decision = event("decision.made", "decided", {"alert_id": alert["alert_id"], "action": "hold"})
    del decision["subject"]
    decision["family"] = alert["family"]
    product.send(("ehps.decisions.v1", alert["family"], json.dumps(decision).encode(), {}))
    product.settle()
    assert product.explain("f-decided")["last_decision"]["action"] == "hold"


Change = Callable[[dict[str, Any]], object]

BAD: dict[str, tuple[str, Change, str, str]] = {
    "wrong envelope": (
        POLICE,
        lambda e: e.update(specversion="0.3"),
        "wrong_envelope",
        "specversion",
    ),
    "no type": (POLICE, lambda e: e.pop("type"), "missing_field", "type"),
    "unknown type": (POLICE, lambda e: e.update(type="police.parade.v1"), "unknown_type", "type"),
    "unknown version": (
        POLICE,
        lambda e: e.update(type="police.notification.v9"),
        "unknown_version",
        "type",
    ),
    "unknown code": (
        POLICE,
        lambda e: e["data"].update(grade="purple"),
        "unknown_code",
        "data.grade",
    ),
    "naive time": (POLICE, lambda e: e.update(time="2026-01-11T21:40:00"), "naive_time", "time"),
    "time in the future": (POLICE, lambda e: e.update(time=ago(days=-3)), "future_time", "time"),
    "over-long field": (POLICE, lambda e: e.update(id="x" * 129), "too_long", "id"),
    "another source's type": ("agency.health.v1", lambda _: None, "wrong_topic", "type"),
    "an authority that is not set up": (
        POLICE,
        lambda e: e.update(la="W06000015"),
        "unknown_authority",
        "la",
    ),
    "a name": (POLICE, lambda e: e.update(subject=NAME), "identifier_not_pseudonym", "subject"),
    "an NHS number": (
        POLICE,
        lambda e: e.update(subject=NHS_NUMBER),
        "identifier_not_pseudonym",
        "subject",
    ),
}
NOT_JSON = b'{"specversion": "1.0", "id": '


@pytest.fixture(scope="module")
def refused(product: Product) -> dict[str, dict[str, Any]]:
    """One message of each kind of `BAD`, and what stands in its dead letter."""
    product.tell(link("bad", "f-bad"))
    messages = [(POLICE, "not JSON", NOT_JSON, {})]
    for name, (topic, change, _, _) in BAD.items():
        message = notification("bad")
        change(message)
        messages.append((topic, name, json.dumps(message).encode(), {}))
    product.send(*messages)
    product.tell(notification("bad", "red"))
    letters: dict[str, dict[str, Any]] = {}
    for source in ("police", "health"):
        for letter in product.read(f"ehps.dead-letter.{source}.v1"):
            headers = {name: value.decode() for name, value in letter.headers()}
            key = letter.key().decode()
            letters[key] = {"headers": headers, "value": letter.value()}
    letters["sent"] = {key: value for _, key, value, _ in messages}
    return letters


@pytest.mark.parametrize("name", ["not JSON", *BAD])
def test_bad_input_is_dead_lettered_with_a_reason_to_act_on(
    refused: dict[str, dict[str, Any]], name: str
) -> None:
    _, _, code, field = BAD.get(name, (POLICE, None, "not_json", ""))
    letter = refused[name]
    headers = letter["headers"]
    assert letter["value"] == refused["sent"][name]
    assert headers["__streams.errors.exception"] == code
    assert headers["ehps.errors.field"] == field
    assert headers["__streams.errors.message"], "what to send instead"
    assert headers["ehps.errors.observed"], "the kind of value seen"
    told = " ".join(headers.values())
    assert not any(secret in told for secret in (NAME, NHS_NUMBER, person("bad"), "purple"))


@pytest.mark.usefixtures("refused")
def test_the_stream_goes_on_past_bad_input(product: Product) -> None:
    assert _facts(product, "f-bad") == {"police.notification.red": 1}


@pytest.mark.usefixtures("refused")
def test_dead_letters_are_listed_and_shown_without_their_content(product: Product) -> None:
    listed = product.ehps("dlq", "list", "--source", "police")
    codes = {group["code"] for group in listed["groups"]}
    assert {code for topic, _, code, _ in BAD.values() if topic == POLICE} <= codes
    each = product.ehps("dlq", "list", "--source", "police", "--each")["letters"]
    assert len({letter["id"] for letter in each}) == listed["dead_letters"]
    example = next(g for g in listed["groups"] if g["code"] == "identifier_not_pseudonym")
    shown = product.ehps("dlq", "show", example["example"])
    assert "content" not in shown
    assert shown["hint"].startswith("person-")
    whole = product.ehps("dlq", "show", example["example"], "--content")
    assert NAME in whole["content"] or NHS_NUMBER in whole["content"]


def test_publish_check_tells_each_line_what_to_send_instead(
    product: Product, tmp_path: Any
) -> None:
    lines = [json.dumps(notification("checked"))]
    for _, change, _, _ in BAD.values():
        message = notification("checked")
        change(message)
        lines.append(json.dumps(message))
    file = tmp_path / "events.ndjson"
    file.write_text("\n".join(lines) + "\n")
    said = product.ehps("publish", "--check", str(file), code=1)
    # Topics and authorities are the broker's to know: a check alone cannot refuse those two.
    expected = [
        code
        for topic, _, code, _ in BAD.values()
        if code not in ("wrong_topic", "unknown_authority")
    ]
    assert [rejection["code"] for rejection in said["rejections"]] == expected
    assert NAME not in json.dumps(said)


def test_every_message_so_far_is_accounted_for(product: Product) -> None:
    account = product.ehps("reconcile")
    assert (account["unaccounted"], account["twice"], account["waiting"]) == (0, 0, 0)
    assert product.ehps("replay", "--verify")["replay_differences"] == 0


def _facts(product: Product, family: str) -> dict[str, int]:
    """Kinds of facts that count in a family, and how many of each."""
    contributions = product.explain(family)["contributions"]
    return {c["kind"]: c["facts_total"] for c in contributions if c["kind"] != "headings"}
