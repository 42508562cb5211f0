"""The simulated world: seeded, in order, valid, at England's rates, with the faults it names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pytest

from ehps.simulate import Message, World, simulate, to_ndjson
from ehps.simulate.messages import EPOCH, seconds_of
from ehps.simulate.population import make_population
from ehps.simulate.rates import DAY, WEEK
from ehps.simulate.terms import is_school_day, school_entry
from schemas.validate import Rejection, validate_event, validate_link

START = date(2024, 9, 2)
LA = "E06000023"
YEAR_FAMILIES = 6000
AUTHORITY_FAMILIES = 34_000

Row = tuple[Message, dict[str, Any]]


@pytest.fixture(scope="module")
def year() -> World:
    return World(YEAR_FAMILIES, 52, 11, START, LA)


@pytest.fixture(scope="module")
def rows(year: World) -> list[Row]:
    return [(message, orjson.loads(message.value)) for message in year.simulate()]


@pytest.fixture(scope="module")
def events(rows: list[Row]) -> list[dict[str, Any]]:
    """Events once each, that happened while the world ran."""
    start = START.isoformat()
    return [e for m, e in rows if m.kind not in ("duplicate", "correction") and e["time"] >= start]


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert list(simulate(60, 8, 3, START, LA)) == list(simulate(60, 8, 3, START, LA))


def test_another_seed_shares_no_subject_and_no_id() -> None:
    def names(seed: int) -> tuple[set[str], set[str]]:
        found = list(simulate(40, 4, seed, START, LA))
        return {m.key for m in found}, {orjson.loads(m.value)["id"] for m in found}

    (one, ids), (two, others) = names(1), names(2)
    assert not one & two
    assert not ids & others


def test_malformed_messages_change_nothing_else() -> None:
    whole = list(simulate(60, 8, 3, START, LA))
    with_broken = list(simulate(60, 8, 3, START, LA, malformed=0.2))
    assert [m for m in with_broken if m.kind != "malformed"] == whole
    assert len(with_broken) > len(whole)


def test_messages_come_in_order_within_the_window(year: World, rows: list[Row]) -> None:
    known = [m.known for m, _ in rows]
    assert known == sorted(known)
    assert known[0] >= seconds_of(START) - 2 * DAY
    assert known[-1] < year.end_s == seconds_of(START) + 52 * WEEK


def test_nothing_is_known_before_it_was_recorded(rows: list[Row]) -> None:
    for message, event in rows:
        recorded = datetime.fromisoformat(event["recordedtime"]).timestamp()
        assert datetime.fromisoformat(event["time"]).timestamp() <= recorded <= message.known


def test_topic_key_and_source_agree_with_the_event(rows: list[Row]) -> None:
    for message, event in rows:
        source = "links" if message.topic == "ehps.links.v1" else message.topic.split(".")[1]
        assert event["source"] == f"urn:ehps:{source}:{LA}"
        assert event["subject"] == message.key
        if source != "links" and event["type"] != "record.retracted.v1":
            assert event["type"].startswith(f"{source}.")


def test_every_message_but_the_malformed_is_valid(rows: list[Row]) -> None:
    now = datetime.combine(START + timedelta(weeks=60), datetime.min.time(), UTC)
    checked: Counter[str] = Counter()
    for message, event in rows:
        # The commonest type would take most of the time and differs in nothing but its codes.
        checked[event["type"]] += 1
        if checked[event["type"]] > 2000:
            continue
        if message.topic == "ehps.links.v1":
            verdict = validate_link(message.value, [], now)
        else:
            verdict = validate_event(message.topic, message.value, [], now)
        assert not isinstance(verdict, Rejection), (verdict, message.value)
    assert len(checked) >= 40


def test_every_malformed_message_is_rejected_for_many_reasons() -> None:
    now = datetime.combine(START + timedelta(weeks=60), datetime.min.time(), UTC)
    codes: Counter[str] = Counter()
    for message in simulate(400, 26, 5, START, LA, malformed=0.1):
        if message.kind == "malformed":
            verdict = validate_event(message.topic, message.value, [], now)
            assert isinstance(verdict, Rejection), message.value
            codes[verdict.code] += 1
    expected = {"not_json", "unknown_code", "identifier_not_pseudonym", "naive_time", "future_time"}
    assert expected <= set(codes), codes


@pytest.mark.parametrize(
    ("event_type", "a_year", "tolerance"),
    [
        # Of an authority of 60,000 children (rates and sources: ehps.simulate.rates).
        ("social-care.contact.v1", 13_850, 0.2),
        ("social-care.referral.v1", 3_160, 0.25),
        ("social-care.section47.v1", 1_090, 0.4),
        ("early-help.started.v1", 1_410, 0.35),
        ("education.suspension.v1", 5_000, 0.3),
    ],
)
def test_rates_are_those_of_england(
    events: list[dict[str, Any]], event_type: str, a_year: int, tolerance: float
) -> None:
    told = sum(e["type"] == event_type for e in events) * AUTHORITY_FAMILIES / YEAR_FAMILIES
    assert told == pytest.approx(a_year, rel=tolerance)


def test_absence_is_near_seven_sessions_in_a_hundred(events: list[dict[str, Any]]) -> None:
    missed = sum(
        e["data"][session] not in "L/\\"
        for e in events
        if e["type"] == "education.attendance.v1"
        for session in ("am", "pm")
    )
    assert missed / _possible_sessions() == pytest.approx(0.067, rel=0.1)


def _possible_sessions() -> int:
    import numpy as np

    stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence(11).spawn(6)[0]))
    people = make_population(YEAR_FAMILIES, 52, START, "w", stream)
    first = START.toordinal() - EPOCH
    days = [d for d in range(first, first + 364) if is_school_day(date.fromordinal(EPOCH + d))]
    return 2 * sum(int(((people.entry <= d) & (d < people.leaving)).sum()) for d in days)


@pytest.mark.parametrize(
    ("kind", "share", "tolerance"),
    [
        ("duplicate", 0.01, 0.3),
        ("late", 0.02, 0.3),
        ("correction", 0.01, 0.5),
        ("retraction", 0.003, 0.5),
    ],
)
def test_faults_come_at_their_rates(
    rows: list[Row], kind: str, share: float, tolerance: float
) -> None:
    counts = Counter(m.kind for m, _ in rows)
    assert counts[kind] / len(rows) == pytest.approx(share, rel=tolerance)


def test_a_duplicate_repeats_bytes_told_before(rows: list[Row]) -> None:
    told = set()
    for message, _ in rows:
        if message.kind == "duplicate":
            assert message.value in told
        told.add(message.value)


def test_late_records_come_weeks_after_they_were_recorded(rows: list[Row]) -> None:
    delays = [
        m.known - datetime.fromisoformat(e["recordedtime"]).timestamp()
        for m, e in rows
        if m.kind == "late"
    ]
    assert min(delays) >= 14 * DAY


def test_corrections_keep_the_id_and_name_a_date_that_they_move(rows: list[Row]) -> None:
    first = {(e["id"], e["source"]): e for m, e in rows if m.kind in ("normal", "late", "unlinked")}
    moved = marks = 0
    for message, event in rows:
        original = first.get((event["id"], event["source"]))
        if message.kind != "correction" or original is None:
            continue
        assert event["recordedtime"] > original["recordedtime"]
        if "correctionof" in event:
            moved += 1
            assert event["correctionof"] == original["time"] != event["time"]
        else:
            marks += 1
            assert "N" in original["data"].values()
            assert "I" in event["data"].values()
            assert event["time"] == original["time"]
    assert moved > 20
    assert marks > 200


def test_retractions_name_the_record_they_take_back(rows: list[Row]) -> None:
    told = {e["id"]: (m, e) for m, e in rows if m.kind in ("normal", "unlinked")}
    taken = [(m, e) for m, e in rows if m.kind == "retraction"]
    for message, event in taken:
        before, original = told[event["data"]["id"]]
        assert (message.topic, message.key) == (before.topic, before.key)
        assert event["data"]["type"] == original["type"]
        assert event["data"]["occurred"] == original["time"]


def test_links_come_before_events_except_for_the_unlinked(rows: list[Row]) -> None:
    linked: set[str] = set()
    unlinked: set[str] = set()
    for message, _ in rows:
        if message.topic == "ehps.links.v1":
            linked.add(message.key)
        elif message.key not in linked:
            unlinked.add(message.key)
            assert message.kind != "normal"
        else:
            assert message.kind != "unlinked"
    assert unlinked & linked, "some get their link later"
    assert unlinked - linked, "some never get one"
    assert len(unlinked) < 0.01 * len(linked)


def test_one_assault_is_told_by_police_schools_and_marac_under_one_incident(
    rows: list[Row],
) -> None:
    told: defaultdict[str, set[str]] = defaultdict(set)
    for _, event in rows:
        if "incident" in event:
            told[event["incident"]].add(event["type"])
    wanted = {"police.notification.v1", "police.encompass.v1", "police.marac.v1"}
    assert any(wanted <= types for types in told.values())


def test_truth_agrees_with_what_social_care_told(year: World, rows: list[Row]) -> None:
    family = _families_of(rows)
    told: dict[str, str] = {}
    for message, event in rows:
        if event["type"] == "social-care.section47.v1" and message.kind != "unlinked":
            key = family.get(message.key, "")
            told[key] = min(told.get(key, "9"), event["time"][:10])
    truth = {row["family"]: row["first_section47"] for row in year.truth()}
    told.pop("", None)
    # What was recorded in the last weeks, or sent late, is not told yet.
    assert all(truth[key] <= day for key, day in told.items())
    agreed = sum(truth[key] == day for key, day in told.items())
    assert agreed >= 0.9 * sum(day is not None for day in truth.values())


def _families_of(rows: list[Row]) -> dict[str, str]:
    return {m.key: e["data"]["family"] for m, e in rows if m.topic == "ehps.links.v1"}


def test_outcomes_follow_risk_and_are_rare(year: World) -> None:
    truth = year.truth()
    start = START.isoformat()
    worst = sorted(truth, key=lambda row: -row["lasting_risk"])[: len(truth) // 10]

    def share(some: list[dict[str, Any]]) -> float:
        return sum(1 for row in some if (row["first_section47"] or "") >= start) / len(some)

    assert 0.02 < share(truth) < 0.05
    assert share(worst) > 3 * share(truth)


def test_early_help_stays_open_long_enough_for_step_down(rows: list[Row]) -> None:
    family = _families_of(rows)
    opened: dict[str, str] = {}
    goals: set[str] = set()
    closed: dict[str, str] = {}
    for message, event in rows:
        key = family.get(message.key, "")
        if event["type"] == "early-help.started.v1":
            opened[key] = event["time"]
        elif event["type"] == "early-help.ended.v1":
            closed[key] = event["time"]
        elif event["type"] == "early-help.progress.v1" and event["data"]["goals_met"]:
            goals.add(key)
    end = (START + timedelta(weeks=52)).isoformat()
    long = [
        key
        for key, begun in opened.items()
        if date.fromisoformat(closed.get(key, end)[:10]) - date.fromisoformat(begun[:10])
        >= timedelta(days=182)
    ]
    assert len(set(long) & goals) > 20


def test_three_green_notices_in_ninety_days_happen(rows: list[Row]) -> None:
    family = _families_of(rows)
    greens: defaultdict[str, dict[str, date]] = defaultdict(dict)
    for message, event in rows:
        if event["type"] == "police.notification.v1" and event["data"]["grade"] == "green":
            day = date.fromisoformat(event["time"][:10])
            greens[family.get(message.key, "")][event["id"]] = day

    def clusters() -> Iterator[bool]:
        for notices in greens.values():
            days = sorted(notices.values())
            yield any(c - a <= timedelta(days=90) for a, c in zip(days, days[2:], strict=False))

    assert sum(clusters()) >= 1


def test_every_kind_of_agency_speaks(rows: list[Row]) -> None:
    topics = {m.topic for m, _ in rows}
    sources = "police education health housing benefits youth-justice early-help social-care"
    assert topics == {f"agency.{s}.v1" for s in sources.split()} | {"ehps.links.v1"}


def test_attendance_is_told_on_school_days_only_and_once_a_day(rows: list[Row]) -> None:
    seen = set()
    for message, event in rows:
        if event["type"] == "education.attendance.v1" and message.kind in ("normal", "late"):
            day = date.fromisoformat(event["data"]["date"])
            assert is_school_day(day)
            assert (message.key, day) not in seen
            seen.add((message.key, day))


def test_a_file_has_one_message_a_line(year: World) -> None:
    small = list(simulate(30, 4, 9, START, LA))
    lines = list(to_ndjson(small))
    assert [line[:-1] for line in lines] == [m.value for m in small]
    assert all(line.count(b"\n") == 1 for line in lines)


def test_truth_is_one_json_object_and_says_that_it_is_simulated() -> None:
    world = World(30, 4, 9, START, LA)
    truth = orjson.loads(world.truth_json())
    assert truth["simulated"] is True
    assert len(truth["families"]) == 30
    assert truth["families"][7]["key"] == f"{LA}:{truth['families'][7]['family']}"


@pytest.mark.parametrize(
    ("families", "weeks", "seed", "malformed"),
    [(0, 1, 0, 0.0), (1, 0, 0, 0.0), (1, 1, -1, 0.0), (1, 1, 0, 1.5)],
)
def test_arguments_out_of_range_are_refused(
    families: int, weeks: int, seed: int, malformed: float
) -> None:
    with pytest.raises(ValueError, match="families 1-"):
        World(families, weeks, seed, START, LA, malformed)


def test_a_start_with_a_time_of_day_is_refused() -> None:
    with pytest.raises(ValueError, match="start is a date"):
        World(1, 1, 0, datetime(2024, 9, 2, tzinfo=UTC), LA)


def test_years_without_a_school_calendar_are_refused() -> None:
    with pytest.raises(ValueError, match="school calendar reaches from 2012-09-05"):
        World(1, 1, 0, date(1999, 1, 1), LA)


@pytest.mark.parametrize("first", [2021, 2024, 2025])
def test_a_school_year_has_about_190_days(first: int) -> None:
    days = [date(first, 9, 1) + timedelta(days=n) for n in range(365)]
    assert 185 <= sum(map(is_school_day, days)) <= 197
    assert not is_school_day(date(first, 12, 25))
    assert not is_school_day(date(first + 1, 8, 10))


@pytest.mark.parametrize(
    ("birth", "entry"),
    [(date(2020, 8, 31), date(2024, 9, 1)), (date(2020, 9, 1), date(2025, 9, 1))],
)
def test_reception_starts_in_the_september_after_the_fourth_birthday(
    birth: date, entry: date
) -> None:
    assert school_entry(birth) == entry


def test_two_worlds_of_one_authority_share_no_family_no_person_and_no_record() -> None:
    def names(world: World) -> set[str]:
        told = [orjson.loads(message.value) for message in world.simulate()]
        families = {one["data"]["family"] for one in told if one["type"] == "link.person.v1"}
        return families | {one[name] for one in told for name in ("id", "subject")}

    first = names(World(20, 4, 1, START, LA))
    others = World(20, 4, 2, START, LA), World(20, 5, 1, START, LA), World(21, 4, 1, START, LA)

    assert all(not first & names(other) for other in others)
