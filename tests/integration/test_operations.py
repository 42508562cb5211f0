"""What operators do to a running system: dead letters sent back, states rebuilt, figures looked at."""

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ehps.library import Library
from schemas.topics import ALERTS
from streams.cli.app import run
from streams.deadletters import letters, view
from streams.errors import LookupsLost
from streams.kept import Kept
from streams.partitioning import partition_of
from streams.reading import read_topic
from streams.reconcile import reconcile
from streams.redrive import send_back
from streams.registry import AUTHORITIES, Registry
from streams.replaylog import verify
from streams.store import RedisStore
from streams.unknown import Unknown
from streams.up import set_live
from streams.worker import readers_of, sender
from tests.integration.living import LA, Living, linked, living, page, police, subject, told

pytestmark = pytest.mark.timeout(180)
NEW_LA = "E06000024"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """A stack with twelve families that something happened to, and alerts about them."""
    with living(tmp_path_factory.mktemp("living"), LA, EHPS_LOG_LEVEL="debug") as system:
        system.publish("ehps.links.v1", [linked(person) for person in range(12)])
        system.settle()
        happened = [
            police(person, f"ppn-{person}-{number}") for person in range(12) for number in range(4)
        ]
        system.publish("agency.police.v1", happened)
        system.settle()
        assert alerts(system)
        yield system


def test_letters_are_sent_back_once_after_what_refused_them_was_mended(
    system: Living, capsys: pytest.CaptureFixture[str]
) -> None:
    system.publish(
        "agency.police.v1", [police(n, f"early-{n}", la=NEW_LA) for n in range(100, 120)]
    )
    system.settle()
    refused = command(system, capsys, "police", "--code", "unknown_authority", "--check")
    set_live(system.stack, NEW_LA)
    would = command(system, capsys, "police", "--code", "unknown_authority", "--check")
    first = command(system, capsys, "police", "--code", "unknown_authority")
    again = command(system, capsys, "police", "--code", "unknown_authority")
    system.settle()
    account = reconcile(system.settings, system.redis())
    assert (refused["passing"], refused["failing"]) == (0, {"unknown_authority": 20})
    assert (would["sent"], would["passing"], would["failing"]) == (20, 20, {})
    assert (first["sent"], again["sent"], again["redriven"]) == (20, 0, 20)
    assert (account["ok"], account["unaccounted"]) == (True, 0)
    assert account["topics"]["agency.police.v1"]["parked"] == 20  # their people have no family yet


def test_an_interrupted_redrive_sends_only_what_is_missing(
    system: Living, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = told("housing.nothing_known", 1, "", {})
    system.publish("agency.housing.v1", [{**bad, "id": f"bad-{n}"} for n in range(6)])
    system.settle()
    client = sender(system.settings, readers_of(system.settings))
    for letter in list(held(system, "housing"))[:4]:
        send_back(client, letter)
    client.confirm()  # and here the command was killed
    found = command(system, capsys, "housing")
    system.settle()
    assert (found["chosen"], found["redriven"], found["sent"]) == (10, 4, 6)  # 4 came back refused


def test_a_message_refused_after_its_third_attempt_is_parked_for_good(
    system: Living, capsys: pytest.CaptureFixture[str]
) -> None:
    system.publish("agency.health.v1", [b"{ this is not JSON"])
    system.settle()
    sent = []
    for _ in range(5):
        sent.append(command(system, capsys, "health")["sent"])
        system.settle()
    group = answer(capsys, ["dlq", "list", "--source", "health"])["groups"][0]
    seen = [view(letter) for letter in held(system, "health")]
    account = reconcile(system.settings, system.redis())
    assert sent == [1, 1, 1, 0, 0]
    assert (group["count"], group["parked"]) == (4, 1)
    assert [letter["attempts"] for letter in sorted(seen, key=lambda one: one["attempts"])] == [
        *range(4)
    ]
    assert (account["ok"], account["topics"]["agency.health.v1"]["dead_lettered"]) == (True, 4)


def test_a_letter_of_the_binary_mode_is_a_whole_message_again(
    system: Living, capsys: pytest.CaptureFixture[str]
) -> None:
    document = told("benefits.sanction", 3, "binary-1", {}, la="E06000025")
    attributes = [
        (f"ce_{name}", str(document[name]).encode()) for name in document if name != "data"
    ]
    system.publish(
        "agency.benefits.v1", [b"{}"], [*attributes, ("content-type", b"application/json")]
    )
    system.settle()
    letter = next(iter(held(system, "benefits")))
    set_live(system.stack, "E06000025")
    found = command(system, capsys, "benefits")
    system.settle()
    assert {*attributes} <= {*letter.headers}
    assert (found["sent"], found["passing"], found["failing"]) == (1, 1, {})
    assert [view(one)["id"] for one in held(system, "benefits")] == [view(letter)["id"]]


def test_a_rebuild_heals_damaged_states_and_sends_nothing_again(
    system: Living, capsys: pytest.CaptureFixture[str]
) -> None:
    store, client = RedisStore(system.redis()), system.redis()
    before = alerts(system)
    gone, other, late, lost = (f"{LA}:f-{n}" for n in range(4))
    client.delete(key(store, gone))
    client.set(key(store, other), client.get(key(store, f"{LA}:f-7")))
    at = store.at(place(late))
    client.zadd(f"{at}:timers:{LA}", {late: 1})
    client.set(key(store, f"{LA}:never-told"), client.get(key(store, lost)))
    checked = answer(capsys, ["rebuild", "--check"])
    rebuilt = answer(capsys, ["rebuild"])
    system.publish("agency.police.v1", [police(n, f"after-{n}", grade="amber") for n in range(12)])
    system.settle()
    again = answer(capsys, ["rebuild", "--check"])
    replayed = verify(system.settings, system.redis(), Library.packaged())
    assert checked["ok"] is False
    assert (checked["differing"], rebuilt["differing"], again["differing"]) == (4, 4, 0)
    assert replayed.differences == []
    assert [alert for alert in alerts(system) if alert in before] == before


def test_a_rebuild_while_events_come_ends_in_the_states_that_the_log_gives(
    system: Living, capsys: pytest.CaptureFixture[str]
) -> None:
    store, client = RedisStore(system.redis()), system.redis()
    for turn in range(3):
        client.delete(*(key(store, f"{LA}:f-{n}") for n in range(turn, 12, 3)))
        system.publish(
            "agency.police.v1",
            [police(n % 12, f"busy-{turn}-{n}", grade="green") for n in range(300)],
        )
        answer(capsys, ["rebuild"])
    system.settle()
    answer(capsys, ["rebuild"])  # what a rebuild above could not tell from movement
    states = {name for number in range(4) for name in store.families(number)}
    assert {f"{LA}:f-{n}" for n in range(12)} <= states
    assert answer(capsys, ["rebuild", "--check"])["differing"] == 0
    assert not list(client.scan_iter(match="*:g1:*"))


def test_of_authorities_that_redis_does_not_know_those_on_the_log_are_looked_for_again(
    system: Living,
) -> None:
    client = system.redis()
    registry, known = Registry(client), Registry(client).authorities()
    certain = Unknown(registry, RedisStore(client), Kept(system.settings)).require

    certain({"E09000099"})
    with pytest.raises(LookupsLost):  # it was set up since it was looked up
        certain({LA})
    assert registry.whole()
    client.hdel(AUTHORITIES, LA)
    with pytest.raises(LookupsLost):
        certain({"E09000099", LA})
    assert not registry.whole()
    registry.mark_whole(known)
    assert registry.authorities() == known


def test_figures_agree_with_what_reconcile_and_the_alert_topic_say(system: Living) -> None:
    system.settle()
    account = reconcile(system.settings, system.redis())
    scorer = figures(system.pages[1])
    intake = figures(system.pages[0])
    outcomes: dict[str, float] = {}
    for labels, value in scorer["ehps_log_outcomes_total"]:
        outcomes[labels["outcome"]] = outcomes.get(labels["outcome"], 0) + value
    assert {name: outcomes[name] for name in ("applied", "membership")} == {
        name: account["outcomes"][name] for name in ("applied", "membership")
    }
    assert total(scorer, "ehps_alerts_total") >= len({bytes(one) for one in alerts(system)})
    assert total(scorer, "ehps_receipt_to_alert_seconds_count") > 0
    assert total(scorer, "ehps_lag_records") == 0
    assert total(intake, "ehps_dead_letters_total") == account["dead_lettered"]
    assert {labels["la"] for labels, _ in scorer["ehps_release_info"]} >= {LA, NEW_LA}


def test_pages_name_no_family_and_no_person(system: Living) -> None:
    for address in system.pages:
        _, text = page(f"{address}/metrics")
        assert not re.search(r"person-|f-\d+\"|:f-", text)


def test_a_running_worker_is_healthy_and_ready(system: Living) -> None:
    for address in system.pages:
        assert page(f"{address}/healthz") == (200, "ok\n")
        assert page(f"{address}/ready") == (200, "ok\n")


def test_no_log_line_at_any_level_holds_a_payload_a_person_or_a_family(system: Living) -> None:
    logs = {path.name: path.read_text() for path in system.settings.data_dir.glob("worker-*.log")}
    told = (subject(3), "person-0", "f-3", "ppn-", "early-", "binary-1", "link-E", "not JSON")
    assert len(logs) == 2
    assert [(name, one) for name, text in logs.items() for one in told if one in text] == []


def test_every_batch_is_one_line_of_json(system: Living) -> None:
    for path in system.settings.data_dir.glob("worker-*.log"):
        lines = [line for line in path.read_text().splitlines() if line.startswith("{")]
        batches = [line for line in map(orjson.loads, lines) if line["event"].endswith(".batch")]
        assert batches
        assert all({"records", "ms", "level", "timestamp"} <= line.keys() for line in batches)


def command(system: Living, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    system.stack.segments.drain()
    return answer(capsys, ["dlq", "redrive", *words])


def answer(capsys: pytest.CaptureFixture[str], words: list[str]) -> dict[str, Any]:
    capsys.readouterr()
    run([*words, "--json"])
    return dict(orjson.loads(capsys.readouterr().out))


def held(system: Living, source: str) -> Iterator[Any]:
    return letters(system.settings.kafka, system.settings.segments, (source,))


def alerts(system: Living) -> list[bytes]:
    found = read_topic(system.settings.kafka, ALERTS, system.settings.segments)
    return [record.value or b"" for record in found]


def place(family: str) -> int:
    return partition_of(family, 4)


def key(store: RedisStore, family: str) -> str:
    return f"{store.at(place(family))}:f:{family}"


def figures(address: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    _, text = page(f"{address}/metrics")
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def total(found: dict[str, list[tuple[dict[str, str], float]]], name: str) -> float:
    return sum(value for _, value in found[name])
