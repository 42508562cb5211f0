"""The properties of the one transition: order, chunks, once, undo, why, bounds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import orjson
import pytest
from families import LA, LIBRARY, START, Log, event, retraction, subject
from hypothesis import given, settings
from hypothesis import strategies as st

from ehps.catalogue import FACTS_MAX
from ehps.errors import InvariantBroken
from ehps.facts import FACT, Facts
from ehps.log import RecordKind, pack_other
from ehps.reference import merge
from ehps.state import Family, Partition

Tell = Callable[[Log], Any]

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("police.notification", {"grade": "green"}),
    ("police.notification", {"grade": "red"}),
    ("police.encompass", {}),
    ("police.marac", {"risk": "high"}),
    ("police.missing", {"category": "M"}),
    ("police.protection", {}),
    ("education.suspension", {"reasons": ["DB"]}),
    ("health.substance", {"who": "parent"}),
    ("health.mental_health", {"who": "parent", "kind": "crisis"}),
    ("housing.arrears", {}),
    ("housing.homeless", {"duty": "main"}),
    ("early-help.started", {}),
    ("early-help.ended", {"reason": "unmet"}),
    ("early-help.progress", {"goals_met": True}),
    ("social-care.contact", {"source": "6", "outcome": "no_further_action"}),
    ("social-care.assessment", {"factors": ["3B", "4B", "2B"]}),
    ("social-care.section47", {}),
    ("education.enrolment", {"status": "on_roll"}),
    ("education.attendance", {"date": "2024-01-09", "am": "O", "pm": "O"}),
]


@st.composite
def told(draw: st.DrawFn) -> list[tuple[int, str, Any]]:
    """(days that pass before it, family, message) of a short history with repeats, corrections and retractions."""
    result: list[tuple[int, str, Any]] = []
    now = START
    for _ in range(draw(st.integers(1, 25))):
        days = draw(st.sampled_from([0, 0, 0, 0, 1, 3, 40]))
        now += timedelta(days=days)
        family = draw(st.sampled_from(["f1", "f2"]))
        earlier = [(f, m) for _, f, m in result if m.type != "record.retracted.v1"]
        act = draw(st.sampled_from(["new", "new", "new", "again", "retract", "correct"]))
        if act != "new" and earlier:
            family, old = draw(st.sampled_from(earlier))
            if act == "again":
                message = old
            elif act == "retract":
                message = retraction(old, now + timedelta(minutes=1))
            else:
                moved = old.time - timedelta(days=draw(st.sampled_from([0, 5])))
                message = old.model_copy(
                    update={"time": moved, "correctionof": old.time, "recordedtime": now}
                )
        else:
            kind, data = draw(st.sampled_from(KINDS))
            when = now - timedelta(
                days=draw(st.sampled_from([0, 0, 2, 30, 300])), minutes=draw(st.integers(1, 600))
            )
            extra = {"incident": "i1"} if draw(st.booleans()) else {}
            message = event(kind, when, draw(st.integers(1, 2)), **data, **extra)
        result.append((days, family, message))
    return result


def written(history: list[tuple[int, str, Any]], *, days_before: int = 3) -> Log:
    log = Log().open(days_before)
    for family in ("f1", "f2"):
        log.member(2, "2020-03", family=family)
        log.member(1, "2012-03", family=family)
    for days, family, message in history:
        if days:
            log.beat(days)
        log.tell(message, family)
    log.beat(30)
    return log


@settings(max_examples=25, deadline=None)
@given(told(), st.integers(1, 9))
def test_outputs_and_states_do_not_depend_on_how_the_log_is_cut(
    history: list[tuple[int, str, Any]], size: int
) -> None:
    log = written(history)

    whole, cut = log.run(), log.run(size)

    assert whole.alert_bytes == cut.alert_bytes
    assert whole.score_bytes == cut.score_bytes
    assert whole.store == cut.store


def test_an_alert_shows_a_decision_in_the_same_bytes_however_the_log_is_cut() -> None:
    log = Log().open(3)
    log.member(1, "2020-03")
    data = {"alert_id": "0" * 32, "action": "accept"}
    decision = {"id": "d1", "time": START.isoformat(), "data": data}
    log.write(f"{LA}:f1", pack_other(RecordKind.DECISION, LA), orjson.dumps(decision))
    for kind in ("police.marac", "social-care.section47", "police.protection"):
        log.tell(event(kind, log.now, 1, **({"risk": "high"} if kind == "police.marac" else {})))

    whole, cut = log.run(), log.run(1)

    assert whole.alerts[0]["last_decision"] is not None
    assert whole.alert_bytes == cut.alert_bytes


@settings(max_examples=25, deadline=None)
@given(told(), st.randoms(use_true_random=False))
def test_facts_do_not_depend_on_the_order_of_arrival(
    history: list[tuple[int, str, Any]], random: Any
) -> None:
    shuffled = list(history)
    random.shuffle(shuffled)

    def facts(messages: list[tuple[int, str, Any]]) -> dict[str, bytes]:
        log = Log().open(3)
        log.beat(400)
        for _, family, message in messages:
            log.tell(message, family)
        return {key: Family(raw).facts for key, raw in log.run().store.families.items()}

    assert facts(history) == facts(shuffled)


@settings(max_examples=25, deadline=None)
@given(told(), st.integers(1, 3))
def test_delivering_the_whole_history_again_changes_nothing(
    history: list[tuple[int, str, Any]], times: int
) -> None:
    once, again = Log().open(3), Log().open(3)
    for log in (once, again):
        log.beat(400)
        for _, family, message in history:
            log.tell(message, family)
    for _ in range(times):
        for _, family, message in history:
            again.tell(message, family)

    first, second = once.run(), again.run()

    assert first.store.families == second.store.families
    assert first.alert_bytes == second.alert_bytes


@settings(max_examples=25, deadline=None)
@given(told())
def test_a_retracted_event_leaves_the_features_as_if_it_had_never_arrived(
    history: list[tuple[int, str, Any]],
) -> None:
    plain, undone = Log().open(3), Log().open(3)
    extra = event("police.notification", START, 1, event_id="extra", grade="red")
    for log in (plain, undone):
        log.beat(400)
        for _, family, message in history:
            log.tell(message, family)
    undone.tell(extra)
    undone.tell(retraction(extra, undone.now + timedelta(minutes=1)))

    last = {s["family"]: s["score_units"] for s in plain.run().scores}
    undone_last = {s["family"]: s["score_units"] for s in undone.run().scores}

    assert last.get(f"{LA}:f1", 0) == undone_last.get(f"{LA}:f1", 0)


@settings(max_examples=40, deadline=None)
@given(told())
def test_an_alert_s_contributions_add_up_to_its_score_and_name_dated_facts(
    history: list[tuple[int, str, Any]],
) -> None:
    for alert in written(history).run().alerts:
        if alert["state"] == "raised":
            assert sum(c["units"] for c in alert["contributions"]) == alert["score_units"]
            assert all(c["facts"] for c in alert["contributions"] if c["units"])


def versions(count: int) -> st.SearchStrategy[Facts]:
    names = ["occurred", "id", "recorded", "flags", "known", "value"]

    def build(rows: list[tuple[int, ...]]) -> Facts:
        facts = np.zeros(len(rows), FACT)
        for index, row in enumerate(rows):
            for name, drawn in zip(names, row, strict=True):
                facts[name][index] = drawn
        return facts

    small, flag = st.integers(0, 2), st.integers(0, 1)
    row = st.tuples(small, small, small, flag, small, flag)
    return st.lists(row, max_size=count).map(build)


@given(versions(8), versions(8), versions(8))
def test_merging_is_a_semilattice(a: Facts, b: Facts, c: Facts) -> None:
    assert merge(a, b).tobytes() == merge(b, a).tobytes()
    assert merge(merge(a, b), c).tobytes() == merge(a, merge(b, c)).tobytes()
    assert merge(merge(a, b), b).tobytes() == merge(a, b).tobytes()


@settings(max_examples=25, deadline=None)
@given(told())
def test_a_family_s_facts_are_the_merge_of_all_versions_told(
    history: list[tuple[int, str, Any]],
) -> None:
    from ehps.calendar import local_day_of
    from ehps.facts import from_wire, retained

    log = Log().open(3)
    log.beat(400)
    for _, family, message in history:
        log.tell(message, family)
    held = log.run().store.families
    day = local_day_of(int(log.now.timestamp()))
    for key in held:
        parts = [
            from_wire(r.compact[10:], int(log.now.timestamp()))
            for r in log.records
            if r.family == key
        ]
        merged = merge(np.concatenate(parts), np.zeros(0, FACT))
        expected = merged[retained(merged, day)[0]]
        assert expected.tobytes() == Family(held[key]).facts


def test_a_family_keeps_no_more_facts_than_its_bound_and_says_that_it_reached_it() -> None:
    log = Log().open(3)
    log.beat(400)
    for number in range(FACTS_MAX + 40):
        log.tell(event("housing.arrears", log.now - timedelta(hours=number), 1))
    whole, cut = log.run(), log.run(7)
    family = Family(whole.store.families[f"{LA}:f1"])

    assert len(family.held()) == FACTS_MAX
    assert family.over
    assert whole.store == cut.store
    assert Partition.decode(whole.store.partition).counts["evicted"] == 40


def test_a_class_of_facts_at_its_bound_takes_none_of_another_s_room_however_the_log_is_cut() -> (
    None
):
    log = Log().open(3)
    log.beat(400)
    for number in range(FACTS_MAX + 10):
        log.tell(event("housing.arrears", log.now - timedelta(hours=number), 1))
        if number % 4 == 0:
            when = log.now - timedelta(days=900 - number)
            log.tell(event("social-care.plan_started", when, plan="child_in_need"))
    whole = log.run()

    assert len(Family(whole.store.families[f"{LA}:f1"]).held()) == FACTS_MAX + 131
    for batch in (7, 90):
        assert log.run(batch).store == whole.store


def test_facts_in_another_version_s_form_stop_the_process_and_are_not_read_as_others() -> None:
    log = Log().open(3)
    log.tell(event("police.encompass", log.now))
    last = log.records[-1]
    log.records[-1] = last._replace(compact=last.compact + bytes(4))

    with pytest.raises(InvariantBroken, match=f"record {last.offset} are not whole"):
        log.run()


def test_a_fact_past_its_horizon_is_expired_not_applied() -> None:
    log = Log().open(3)
    log.tell(event("police.encompass", log.now - timedelta(days=731)))

    assert Partition.decode(log.run().store.partition).counts["expired"] == 1


def test_an_old_start_of_a_spell_that_is_still_open_is_kept() -> None:
    log = Log().open(3)
    log.tell(
        event("social-care.plan_started", log.now - timedelta(days=1500), plan="child_in_need")
    )
    log.tell(event("police.encompass", log.now))

    assert len(Family(log.run().store.families[f"{LA}:f1"]).held()) == 2


def test_one_incident_told_by_three_agencies_counts_once_and_each_is_kept() -> None:
    def score(*kinds: tuple[str, dict[str, Any]]) -> int:
        log = Log().open(3)
        for kind, data in kinds:
            log.tell(event(kind, log.now, incident="CAD-1", **data))
        return int(log.run().scores[-1]["score_units"])

    three = (
        ("police.notification", {"grade": "amber"}),
        ("police.encompass", {}),
        ("police.marac", {"risk": "high"}),
    )

    assert score(*three) == score(three[2])


def test_without_a_control_in_force_nothing_is_scored() -> None:
    log = Log()
    log.tell(event("police.encompass", log.now))
    with pytest.raises(InvariantBroken, match="no control is in force"):
        log.run()


def test_a_retraction_that_comes_first_wins_when_its_event_comes() -> None:
    log = Log().open(3)
    message = event("police.notification", log.now, grade="red")
    log.tell(retraction(message, log.now + timedelta(hours=1)))
    log.tell(message)

    assert not [s for s in log.run().scores if s["score_units"]]


def test_a_retraction_withdraws_the_alert_that_stood_on_it() -> None:
    log = Log().open(60)
    first = event("police.marac", log.now, event_id="a", risk="high")
    log.tell(first)
    log.tell(event("police.notification", log.now, event_id="b", grade="red"))
    log.tell(event("police.encompass", log.now, event_id="c"))
    log.tell(retraction(first, log.now + timedelta(hours=1)))
    alerts = log.run().alerts
    raised = {a["alert_id"] for a in alerts if a["state"] == "raised" and a["kind"] == "step_up"}
    withdrawn = {a["alert_id"] for a in alerts if a["state"] == "withdrawn"}

    assert withdrawn
    assert withdrawn <= raised


def test_facts_of_a_person_who_leaves_no_longer_count() -> None:
    log = Log().open(3)
    log.member(1)
    log.member(2)
    log.tell(event("police.marac", log.now, 2, risk="high"))
    log.member(2, removed=True, version="2024-01-01T00:00:00Z")

    assert log.run().scores[-1]["score_units"] == 0


def test_a_kernel_failure_keeps_the_fact_and_marks_the_family(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ehps.kernel

    def broken(*_: object, **__: object) -> None:
        raise ArithmeticError

    log = Log().open(3)
    log.tell(event("police.marac", log.now, risk="high"))
    monkeypatch.setattr(ehps.kernel, "_features", broken)
    outcome = log.run()
    family = Family(outcome.store.families[f"{LA}:f1"])

    assert family.unscored
    assert len(family.held()) == 1
    assert outcome.scores[-1]["error"]


@pytest.mark.parametrize("batch", [1, 100])
def test_a_decision_on_a_family_that_could_not_be_scored_is_kept_however_the_log_is_cut(
    monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    import ehps.kernel

    def broken(*_: object, **__: object) -> None:
        raise ArithmeticError

    log = Log().open(3)
    log.tell(event("police.marac", log.now, risk="high"))
    log.decide("d1", "2024-01-08T10:00:00Z")
    monkeypatch.setattr(ehps.kernel, "_features", broken)

    assert Family(log.run(batch).store.families[f"{LA}:f1"]).case.decided is not None


def test_a_kernel_failure_at_a_membership_or_a_timer_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ehps.kernel

    log = Log().open()
    log.tell(event("early-help.started", log.now))
    before = len(log.records)
    log.member(2)
    log.beat(200)
    kernel = ehps.kernel._features

    def broken(compiled: Any, rows: Any, judged: int) -> Any:
        if rows.today[0] > START.toordinal() - 719_163:
            raise ArithmeticError
        return kernel(compiled, rows, judged)

    monkeypatch.setattr(ehps.kernel, "_features", broken)
    outcome = log.run()

    assert len(log.records) > before
    assert Family(outcome.store.families[f"{LA}:f1"]).unscored
    assert outcome.scores[-1]["error"]


def test_the_later_decision_wins_whatever_its_time_zone() -> None:
    log = Log().open(3)
    log.member(1)
    for number, moment in enumerate(("2024-01-08T10:00:00+01:00", "2024-01-08T09:30:00Z")):
        log.decide(f"d{number}", moment)
    family = Family(log.run().store.families[f"{LA}:f1"])

    assert family.case.decided is not None
    assert family.case.decided["id"] == "d1"


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_decision_on_the_calendar_s_first_or_last_day_stops_nobody(moment: str) -> None:
    log = Log().open(3)
    log.member(1)
    log.decide("d1", moment)
    family = Family(log.run().store.families[f"{LA}:f1"])

    assert family.case.decided is not None
    assert family.case.decided["id"] == "d1"


def test_a_decision_on_a_family_that_nobody_knows_makes_none_and_is_counted() -> None:
    log = Log().open(3)
    log.decide("d1", "2024-01-08T10:00:00Z")
    store = log.run().store

    assert store.families == {}
    assert Partition.decode(store.partition).counts["decision_unmatched"] == 1


def test_states_survive_their_bytes() -> None:
    log = Log().open(60)
    log.member(1, "2020-03")
    log.tell(event("police.marac", log.now, risk="high"))
    log.tell(event("police.protection", log.now))
    raw = log.run().store.families[f"{LA}:f1"]

    assert Family(raw).encode() == raw
    assert subject(1) in Family(raw).case.people
    assert LIBRARY is not None
