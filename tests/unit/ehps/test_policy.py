"""Scripted families: step-up, step-down, combinations and stages, to the day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from families import LA, LIBRARY, Log, Outcome, event, retraction

import ehps.advance
from ehps.errors import ContentMissing
from ehps.log import RecordKind, pack_other
from ehps.policy import alert_id
from ehps.replay import replay
from ehps.state import Family


def opened(*, school: bool = False, progress: bool = True) -> Log:
    """A family open at early help, blue, with 200 days of coverage behind it."""
    log = Log().open()
    if school:
        log.member(1, "2014-03")
        log.tell(event("education.enrolment", log.now - timedelta(days=150), status="on_roll"))
    log.tell(event("early-help.started", log.now))
    if progress:
        log.beat(100)
        log.tell(event("early-help.progress", log.now, goals_met=True))
        log.beat(0)
    return log


def reviews(log: Log) -> list[dict[str, Any]]:
    return log.run().raised("step_down")


def test_a_step_down_review_is_raised_after_182_quiet_days_and_not_after_181() -> None:
    log = opened(progress=False)
    log.beat(181)
    assert reviews(log) == []
    log.beat(1)
    assert len(reviews(log)) == 1
    log.beat(200)
    assert len(reviews(log)) == 1, "one review, not one a day"


def test_a_review_without_a_positive_fact_says_quiet_not_shown_to_be_improved() -> None:
    log = opened(progress=False)
    log.beat(182)

    assert "Quiet, not shown to be improved." in reviews(log)[0]["notes"]


def test_a_review_of_facts_that_have_but_aged_says_so_though_one_is_positive() -> None:
    log = opened(progress=False)
    log.tell(event("police.protection", log.now))
    log.beat(100)
    log.tell(event("early-help.progress", log.now, goals_met=True))
    log.beat(48 + 182 - 100)

    assert "Quiet, not shown to be improved." in reviews(log)[0]["notes"]


def test_no_review_while_the_school_feed_is_silent_and_one_once_it_is_back() -> None:
    log = opened(school=True, progress=False)
    log.beat(150)
    log.silent.add("education")
    log.beat(180)
    assert reviews(log) == []
    log.silent.clear()
    log.beat(182)
    assert len(reviews(log)) == 1


def test_school_holidays_are_not_quiet_for_a_child_on_roll() -> None:
    log = opened(school=True, progress=False)
    log.beat(182)
    assert reviews(log) == []
    log.beat(120)
    assert len(reviews(log)) == 1


def test_a_statutory_step_in_the_window_postpones_the_review() -> None:
    log = opened(progress=False)
    log.beat(100)
    log.tell(event("social-care.section47", log.now))
    log.beat(181)
    assert reviews(log) == []
    log.beat(1)
    assert len(reviews(log)) == 1


def test_a_family_on_a_protection_plan_is_never_reviewed_for_stepping_down() -> None:
    log = Log().open()
    log.tell(event("social-care.plan_started", log.now, plan="child_protection"))
    log.beat(500)

    assert reviews(log) == []


def test_a_score_above_the_line_starts_the_quiet_days_only_when_it_has_fallen() -> None:
    log = opened(progress=False)
    log.tell(
        event("police.protection", log.now)
    )  # 30 points, half-life 180 days: below 25 after 48 days
    log.beat(47 + 182)
    assert reviews(log) == []
    log.beat(1)
    assert len(reviews(log)) == 1


def test_a_move_restarts_the_quiet_days() -> None:
    log = opened(progress=False)
    log.beat(100)
    log.tell(event("housing.move", log.now))
    log.beat(181)
    assert reviews(log) == []
    log.beat(1)
    assert len(reviews(log)) == 1


def test_amber_is_raised_by_the_event_that_makes_it() -> None:
    log = Log().open()
    for number in range(2):
        log.tell(event("police.marac", log.now - timedelta(hours=number), risk="high"))
    assert [a["grade"] for a in log.run().raised("step_up")] == ["green"]
    log.tell(event("police.notification", log.now, grade="red"))
    alerts = log.run().raised("step_up")
    assert [a["grade"] for a in alerts] == ["green", "amber"]
    assert alerts[1]["position"]["offset"] == len(log.records) - 1


def test_a_higher_grade_supersedes_the_alert_that_stood() -> None:
    log = Log().open()
    for number in range(2):
        log.tell(event("police.marac", log.now - timedelta(hours=number), risk="high"))
    log.tell(event("police.notification", log.now, grade="red"))
    alerts = log.run().alerts
    superseded = [a for a in alerts if a["state"] == "superseded"]
    green, amber = (a for a in alerts if a["kind"] == "step_up" and a["state"] == "raised")

    assert [(a["alert_id"], a["superseded_by"]) for a in superseded] == [
        (green["alert_id"], amber["alert_id"])
    ]


def test_a_score_that_wavers_about_a_line_alerts_once() -> None:
    log = Log().open()
    log.tell(event("police.protection", log.now))
    for _ in range(6):
        log.beat(10)
        log.tell(event("police.notification", log.now, grade="green"))

    assert [a["grade"] for a in log.run().raised("step_up")] == ["green"]


def test_after_falling_below_the_down_line_a_new_crossing_alerts_again() -> None:
    log = Log().open()
    log.tell(event("police.protection", log.now))
    log.beat(300)
    log.tell(event("police.marac", log.now, risk="high"))
    log.tell(event("police.notification", log.now, grade="red"))

    assert [a["grade"] for a in log.run().raised("step_up")] == ["green", "green"]


def test_a_combination_fires_with_its_response_though_the_score_is_below_every_line() -> None:
    log = Log().open()
    for number in range(3):
        log.tell(event("police.notification", log.now - timedelta(days=number), grade="green"))
    outcome = log.run()
    alert = outcome.raised("combination")[0]

    assert alert["rule"] == "C1"
    assert "MASH" in alert["response"]
    assert alert["band"] == "blue"
    assert outcome.raised("step_up") == []


def test_three_notices_of_one_incident_are_no_combination() -> None:
    log = Log().open()
    for number in range(3):
        log.tell(
            event(
                "police.notification",
                log.now - timedelta(hours=number),
                grade="green",
                incident="CAD-1",
            )
        )

    assert log.run().raised("combination") == []


def test_a_combination_is_not_repeated_within_its_cool_down() -> None:
    log = Log().open()
    for number in range(5):
        log.tell(event("police.notification", log.now - timedelta(days=number), grade="green"))

    assert len(log.run().raised("combination")) == 1


def test_a_combination_is_told_again_by_the_first_record_after_its_cool_down() -> None:
    log, green = Log().open(), ("police.notification",)
    for number in range(5):
        log.tell(event(*green, log.now - timedelta(days=number), grade="green"))
    first = len(log.records)
    log.beat(181)
    for number in range(5):
        log.tell(event(*green, log.now - timedelta(days=number), grade="green"))

    assert len(log.run().raised("combination")) == 1
    log.beat(1)
    log.tell(event(*green, log.now, grade="green"))
    # After `first` the cool-down begins before a batch and ends in it.
    for batch in (1, 7, first, 2000):
        assert len(log.run(batch).raised("combination")) == 2


def test_not_seen_for_eight_weeks_fires_on_the_day_the_silence_is_reached() -> None:
    log = Log().open()
    log.member(1, "2021-06")
    log.tell(event("health.contact", log.now, child_seen=True))
    log.beat(40)
    log.tell(event("police.encompass", log.now))
    log.beat(16)
    assert [a for a in log.run().raised("combination") if a["rule"] == "C4"] == []
    log.beat(1)
    assert [a["cause"] for a in log.run().raised("combination") if a["rule"] == "C4"] == ["timer"]


def test_an_authority_that_was_opened_yesterday_knows_of_no_silence() -> None:
    log = Log().open(1)
    log.member(1, "2021-06")
    log.tell(event("police.encompass", log.now))

    assert [a for a in log.run().raised("combination") if a["rule"] == "C4"] == []


def test_the_silence_is_counted_from_when_the_authority_was_first_heard_where_the_child_never_was() -> (
    None
):
    log = Log().open(40)
    log.member(1, "2021-06")
    log.tell(event("police.encompass", log.now))
    log.beat(16)
    assert [a for a in log.run().raised("combination") if a["rule"] == "C4"] == []
    log.beat(1)
    assert [a["cause"] for a in log.run().raised("combination") if a["rule"] == "C4"] == ["timer"]


def test_a_link_in_doubt_cannot_alone_raise_red() -> None:
    def grades(confidence: float) -> list[str]:
        log = Log().open()
        log.member(1, confidence=confidence)
        for kind, data in (("police.protection", {}), ("police.exploitation", {"kind": "nrm"})):
            log.tell(event(kind, log.now, 1, **data))
        log.tell(event("police.marac", log.now, 1, risk="high"))
        return [alert["grade"] for alert in log.run().raised("step_up")]

    assert grades(1.0)[-1] == "red"
    assert "red" not in grades(0.9)


def staged(stage: str, share: float = 0.5) -> Outcome:
    log = Log()
    log.now -= timedelta(days=3)
    control = LIBRARY.default_control(LA, log.now).model_copy(
        update={"stage": stage, "pilot_share": share}
    )
    log.write("", pack_other(RecordKind.CONTROL, LA), control.model_dump_json().encode())
    log.beat(3)
    for number in range(2):
        log.tell(event("police.marac", log.now - timedelta(hours=number), risk="high"))
    log.tell(event("police.exploitation", log.now, kind="nrm"))
    log.tell(event("police.protection", log.now))
    return log.run()


@pytest.mark.parametrize(
    ("stage", "share", "withheld"),
    [("live", 0.5, []), ("pilot", 0.0, ["green", "amber"]), ("pilot", 1.0, [])],
)
def test_a_pilot_s_comparison_arm_is_withheld_but_never_red(
    stage: str, share: float, withheld: list[str]
) -> None:
    alerts = staged(stage, share).raised("step_up")

    assert [a["grade"] for a in alerts if a["withheld"]] == withheld
    assert [a["grade"] for a in alerts] == ["green", "amber", "red"]


def test_an_unknown_control_stops_before_the_record() -> None:
    log = Log()
    control = LIBRARY.default_control(LA, log.now).model_copy(update={"release": "0" * 64})
    log.write("", pack_other(RecordKind.CONTROL, LA), control.model_dump_json().encode())
    log.beat(1)
    with pytest.raises(ContentMissing, match="does not hold"):
        log.run()


def test_the_first_alert_id_names_family_position_and_rule() -> None:
    log = Log().open()
    for number in range(3):
        log.tell(event("police.notification", log.now - timedelta(days=number), grade="green"))
    alert = log.run().raised("combination")[0]
    position = alert["position"]
    where: Any = type("W", (), {"partition": position["partition"], "offset": position["offset"]})

    assert alert["alert_id"] == alert_id(alert["family"], where, "C1", position["sequence"])
    assert orjson.dumps(alert)


def test_the_end_of_an_alert_goes_where_the_alert_went() -> None:
    log = Log()
    log.now -= timedelta(days=3)
    control = LIBRARY.default_control(LA, log.now)
    control = control.model_copy(update={"stage": "pilot", "pilot_share": 0.0})
    log.write("", pack_other(RecordKind.CONTROL, LA), control.model_dump_json().encode())
    log.beat(3)
    first = event("police.protection", log.now)
    log.tell(first)
    log.tell(retraction(first, log.now + timedelta(hours=1)))
    told = [
        (output.shadow, orjson.loads(output.value)["state"])
        for step in replay(log.records, LIBRARY, 0)
        for output in step.alerts
    ]

    assert told == [(True, "raised"), (True, "withdrawn")]


def test_an_amber_that_a_wrong_red_superseded_is_raised_again_when_the_red_is_taken_back() -> None:
    log = Log().open(60)
    for number in range(2):
        log.tell(event("police.notification", log.now, event_id=f"a{number}", grade="red"))
    log.tell(event("police.missing", log.now, category="M"))
    wrong = event("police.protection", log.now, event_id="wrong")
    log.beat(1)
    log.tell(wrong)
    log.beat(1)
    log.tell(retraction(wrong, log.now))
    steps = [(a["grade"], a["state"]) for a in log.run().alerts if a["kind"] == "step_up"]

    assert steps[-2:] == [(steps[-2][0], "withdrawn"), (steps[0][0], "raised")]
    assert steps[0][1] == "raised"
    assert (steps[0][0], "superseded") in steps


def test_a_timer_does_not_know_the_record_that_came_after_it_was_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As where a heartbeat has more families to look at than it may: the family's next record fires its timers.
    monkeypatch.setattr(ehps.advance, "TIMERS_A_HEARTBEAT_MAX", 0)

    def reviews(kind: str, days_ago: int) -> list[dict[str, Any]]:
        log = Log().open(60)
        log.tell(event("early-help.started", log.now))
        log.beat(187)
        log.tell(event(kind, log.now - timedelta(days=days_ago)))
        return log.run().raised("step_down")

    told, plain = reviews("social-care.section47", 30), reviews("housing.arrears", 0)

    assert [alert["raised_at"] for alert in told] == [alert["raised_at"] for alert in plain]
    assert plain


def test_a_wrong_family_lets_go_of_its_alert_though_another_alert_was_decided_on_since() -> None:
    log = Log().open(60)
    log.tell(event("police.protection", log.now))
    alert = log.run().raised("step_up")[0]["alert_id"]
    log.decide("later", (log.now + timedelta(hours=2)).isoformat())
    document = {"id": "earlier", "time": log.now.isoformat()}
    document |= {"data": {"alert_id": alert, "action": "wrong_family"}}  # type: ignore[dict-item]
    log.write(f"{LA}:f1", pack_other(RecordKind.DECISION, LA), orjson.dumps(document))
    family = Family(log.run().store.families[f"{LA}:f1"])

    assert alert not in {standing.alert_id for standing in family.case.standing}
