"""Outputs and states do not depend on how the log is cut: long silences, expiry, households, incidents, failures."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from importlib import resources
from typing import Any

import pytest
from families import LA, LIBRARY, Log, Outcome, event, retraction, subject

import ehps.kernel
from ehps.advance import TIMERS_A_HEARTBEAT_MAX, Share, Step, advance, advance_all, needs
from ehps.calendar import date_to_day, local_day_of
from ehps.explain import explain
from ehps.facts import person_hash
from ehps.library import Library
from ehps.log import RecordKind, pack_other
from ehps.replay import MemoryStore, replay
from ehps.state import LOOK_AGAIN_DAYS, Family

GAPS = [0, 0, 0, 0, 1, 3, 20, 70, 190, 400, 740]
"""Days between two messages: within a batch's day, past a month's watch, past attendance, past every horizon."""

TOLD: list[tuple[str, dict[str, Any]]] = [
    ("police.notification", {"grade": "green"}),
    ("police.notification", {"grade": "red"}),
    ("police.encompass", {}),
    ("police.marac", {"risk": "high"}),
    ("police.protection", {}),
    ("education.suspension", {"reasons": ["DB"]}),
    ("health.substance", {"who": "parent"}),
    ("health.mental_health", {"who": "parent", "kind": "crisis"}),
    ("housing.arrears", {}),
    ("housing.temporary_move", {}),
    ("early-help.started", {}),
    ("early-help.started", {}),
    ("early-help.ended", {"reason": "unmet"}),
    ("social-care.section47", {}),
    ("social-care.contact", {"source": "6", "outcome": "no_further_action"}),
    ("education.enrolment", {"status": "on_roll"}),
]


class Teller:
    """A seeded history of two families."""

    def __init__(self, seed: int) -> None:
        self.chance, self.log, self.told = random.Random(seed), Log().open(10), list[Any]()
        for family in ("f1", "f2"):
            self.log.member(1, "2012-03", family=family)
            self.log.member(2, role="adult", family=family)

    def write(self, messages: int) -> Log:
        for _ in range(messages):
            self.pause(self.chance.choice(GAPS))
            family = self.chance.choice(["f1", "f2"])
            act = self.chance.random()
            if act < 0.1:
                self.household(family)
            elif act < 0.3 and self.told:
                self.undo()
            elif act < 0.4 and self.told:
                self.log.tell(*self.chance.choice(self.told))
            elif act < 0.45:
                self.log.decide(f"d{len(self.log.records)}", self.log.now.isoformat(), family)
            elif act < 0.55:
                self.week_of_school(family)
            else:
                self.message(family)
        self.pause(60)
        return self.log

    def pause(self, days: int) -> None:
        """A heartbeat a day, or one for the whole silence."""
        if days and self.chance.random() < 0.5:
            self.log.beat(days)
        elif days:
            self.log.now += timedelta(days=days - 1)
            self.log.beat(1)

    def message(self, family: str) -> None:
        kind, data = self.chance.choice(TOLD)
        late = self.chance.choice([0, 0, 0, 1, 6, 30, 180, 300, 720])
        when = self.log.now - timedelta(days=late, minutes=self.chance.randint(1, 600))
        shared = {"incident": "i1"} if self.chance.random() < 0.3 else {}
        self.keep(event(kind, when, self.chance.randint(1, 2), **data, **shared), family)

    def week_of_school(self, family: str) -> None:
        for back in range(7, 0, -1):
            day = self.log.now - timedelta(days=back, hours=-9)
            am, pm = self.chance.choice(("OO", "II", "/\\", "UU"))
            told = event("education.attendance", day, date=f"{day:%Y-%m-%d}", am=am, pm=pm)
            self.keep(told, family)

    def keep(self, message: Any, family: str) -> None:
        self.told.append((message, family))
        self.log.tell(message, family)

    def undo(self) -> None:
        message, family = self.chance.choice(self.told)
        if self.chance.random() < 0.5:
            self.log.tell(retraction(message, self.log.now + timedelta(minutes=1)), family)
            return
        moved = message.time - timedelta(days=self.chance.choice([0, 5]))
        update = {"time": moved, "correctionof": message.time, "recordedtime": self.log.now}
        self.keep(message.model_copy(update=update), family)

    def household(self, family: str) -> None:
        self.log.member(
            self.chance.randint(1, 3),
            self.chance.choice([None, "2012-03", "2024-05"]),
            family=family,
            removed=self.chance.random() < 0.4,
            confidence=self.chance.choice([1.0, 0.5]),
            version=self.log.now.isoformat(),
        )


@pytest.mark.parametrize("seed", range(40))
def test_years_of_a_family_come_out_the_same_however_the_log_is_cut(seed: int) -> None:
    log = Teller(seed).write(60)

    one = log.run(1)
    for batch in (random.Random(seed).randint(2, 90), 100_000):
        several = log.run(batch)

        assert several.alert_bytes == one.alert_bytes
        assert several.score_bytes == one.score_bytes
        assert several.store == one.store


@pytest.mark.parametrize("seed", range(12))
def test_who_asks_for_states_alone_gets_the_same_states_and_hears_nothing(seed: int) -> None:
    log, batch = Teller(seed).write(60), random.Random(seed).choice((1, 20, 100_000))
    heard, silent = MemoryStore(), MemoryStore()

    told = list(replay(log.records, LIBRARY, 0, heard, 20))
    untold = list(replay(log.records, LIBRARY, 0, silent, batch, silent=True))

    assert any(step.alerts for step in told)
    assert not any(step.alerts or step.scores for step in untold)
    assert silent == heard


def test_an_event_s_name_used_again_for_one_that_is_forgotten_sooner_comes_out_the_same() -> None:
    log = Log().open(3)
    opened = event("social-care.plan_started", log.now, plan="child_in_need")
    log.tell(opened)
    other = event("social-care.section47", log.now + timedelta(hours=1)).model_copy(
        update={"id": opened.id, "source": opened.source, "time": opened.time}
    )
    log.tell(other)
    for days in (740, 1):  # the second is forgotten, the first never
        log.now += timedelta(days=days)
        log.beat(1)
        log.tell(event("police.encompass", log.now))
    log.tell(opened)

    assert log.run(1).store == log.run(100_000).store


@pytest.mark.parametrize("seed", range(12))
def test_partitions_advanced_together_come_out_as_each_alone(seed: int) -> None:
    chance = random.Random(seed)
    # The same families stand on every partition: none may see anything of another's.
    logs = [Teller(seed + 100 * n).write(30).records for n in range(3)]
    stores = [MemoryStore() for _ in logs]

    while any(store.offset < len(log) for store, log in zip(stores, logs, strict=True)):
        shares, alone = list[Share](), list[Step]()
        for number, (store, log) in enumerate(zip(stores, logs, strict=True)):
            part = log[store.offset : store.offset + chance.randint(0, 60)]
            snapshot = store.read(needs(part))
            shares.append(Share(number, snapshot, part))
            alone.append(advance(snapshot, part, LIBRARY, number))
        assert advance_all(shares, LIBRARY) == alone
        for store, step in zip(stores, alone, strict=True):
            assert store.commit(store.offset, step)


@pytest.mark.parametrize("seed", range(8))
def test_a_family_that_the_kernel_fails_on_costs_no_other_anything_however_the_log_is_cut(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, spoilt = ehps.kernel._features, person_hash(subject(1))

    def broken(compiled: Any, rows: Any, judged: int) -> Any:
        if (rows.facts["person"] == spoilt).any():
            raise ArithmeticError
        return kernel(compiled, rows, judged)

    teller = Teller(seed)
    log = teller.write(40)
    for number in range(60):
        teller.pause(teller.chance.choice(GAPS[:8]))
        kind, data = teller.chance.choice(TOLD)
        log.tell(event(kind, log.now, 7, event_id=f"f3-{number}", **data), "f3")
    healthy = said_of("f3", log.run())
    monkeypatch.setattr(ehps.kernel, "_features", broken)
    one, whole = log.run(1), log.run()

    assert one.alert_bytes == whole.alert_bytes
    assert one.score_bytes == whole.score_bytes
    assert one.store == whole.store
    assert any("error" in score for score in one.scores)
    assert said_of("f3", one) == healthy


LOWER = {"down: 25": "down: 9", "green: 30": "green: 15", "policy-default-1": "policy-lower-1"}


@pytest.mark.parametrize("seed", range(30))
def test_a_policy_put_in_force_and_back_within_a_day_is_judged_alike_however_the_log_is_cut(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (resources.files("ehps") / "content" / "policy-default.yaml").read_text()
    for old, new in LOWER.items():
        text = text.replace(old, new, 1)
    library = Library.packaged({"policy-lower.yaml": text.encode()})
    monkeypatch.setattr("families.LIBRARY", library)
    chance, log, told = random.Random(seed), Log().open(60), list[Any]()
    for number in range(60):
        log.now += timedelta(minutes=5)
        if chance.random() < 0.3:
            name = chance.choice(["policy-default-1", "policy-lower-1"])
            control = library.control(LA, log.now, f"c{number}", policy=name)
            log.write("", pack_other(RecordKind.CONTROL, LA), control.model_dump_json().encode())
        log.beat(0)
        if told and chance.random() < 0.5:
            log.tell(retraction(told.pop(chance.randrange(len(told))), log.now))
        else:
            kind, data = chance.choice(TOLD)
            told.append(event(kind, log.now, event_id=f"e{number}", **data))
            log.tell(told[-1])

    one, whole = log.run(1), log.run()

    assert one.alert_bytes == whole.alert_bytes
    assert one.score_bytes == whole.score_bytes
    assert one.store == whole.store


def said_of(family: str, outcome: Outcome) -> list[tuple[object, ...]]:
    """Without the sequence, which counts what others were told by one heartbeat."""
    return [
        (a["kind"], a["state"], a["rule"], a["position"]["offset"], a.get("contributions"))
        for a in outcome.alerts
        if a["family"] == f"{LA}:{family}"
    ]


@pytest.mark.parametrize("batch", [1, 2000])
def test_an_alert_whose_facts_age_has_taken_is_not_withdrawn_by_another_retraction(
    batch: int,
) -> None:
    log = Log().open(60)
    for number in range(3):
        log.tell(event("police.notification", log.now - timedelta(days=number), grade="red"))
    raised = {a["alert_id"] for a in log.run().alerts if a["state"] == "raised"}
    log.beat(740)
    other = event("housing.arrears", log.now)
    log.tell(other)
    log.tell(retraction(other, log.now + timedelta(hours=1)))
    ended = {a["alert_id"] for a in log.run(batch).alerts if a["state"] == "withdrawn"}

    assert raised
    assert not raised & ended


def test_a_person_whom_a_large_household_forgets_takes_their_facts_along() -> None:
    log = Log().open(3)
    log.member(999, version="2020-01-01T00:00:00Z")
    log.tell(event("police.marac", log.now, 999, risk="high"))
    log.member(999, removed=True, version="2020-01-02T00:00:00Z")
    for person in range(80):
        log.member(person, "2012-03", version=f"2021-01-01T00:00:{person % 60:02}Z")
    outcome = log.run()
    family = Family(outcome.store.families["E06000023:f1"])

    assert family.over
    assert outcome.scores[-1]["score_units"] == 0


@pytest.mark.parametrize("seed", range(16))
def test_quiet_days_count_from_the_day_after_the_last_on_which_the_score_was_above_the_line(
    seed: int,
) -> None:
    chance, log = random.Random(seed), Log().open(60)
    log.tell(event("early-help.started", log.now))
    for kind, data in (("police.protection", {}), ("police.marac", {"risk": "high"})):
        log.tell(event(kind, log.now, **data, incident="i"))
        log.tell(event(kind, log.now - timedelta(days=90), **data))
    stays = [t for t in TOLD if t[0] not in {"early-help.ended", "housing.temporary_move"}]
    for number in range(chance.randint(3, 12)):
        kind, data = chance.choice(stays)
        when = log.now - timedelta(days=chance.choice([0, 0, 0, 200, 400, 650]), minutes=number)
        shared = {"incident": "i"} if chance.random() < 0.6 else {}
        log.tell(event(kind, when, event_id=str(number), **data, **shared))
        if days := chance.choice([0, 3, 29, 30, 100]):
            log.beat(days)
    log.beat(40)
    family = Family(log.run(chance.choice([1, 2000])).store.families[f"{LA}:f1"])
    above = last_day_above(log)

    assert above is not None
    if family.below_since is None:
        assert above >= local_day_of(int(log.now.timestamp())) - LOOK_AGAIN_DAYS
    else:
        assert family.below_since == above + 1


def last_day_above(log: Log) -> int | None:
    """By `explain` after every record: the last day that ended with the family's score above the down line."""
    store, points = MemoryStore(), dict[int, float]()
    for _ in replay(log.records, LIBRARY, 0, store, 1):
        raw = store.families.get(f"{LA}:f1")
        if raw is not None and store.partition is not None:
            now = explain(f"{LA}:f1", raw, store.partition, LIBRARY)
            day = date_to_day(datetime.fromisoformat(now["at"]).date())
            points[day] = now["points"]
    return max((day for day, held in points.items() if held >= 25), default=None)


def test_a_heartbeat_fires_a_thousand_families_and_the_next_the_rest_however_the_log_is_cut() -> (
    None
):
    log, families = Log().open(3), TIMERS_A_HEARTBEAT_MAX + 300
    for number in range(families):
        log.tell(event("early-help.started", log.now), f"f{number}")
    log.beat(190)
    whole, cut = log.run(), log.run(701)
    beats = [alert["position"]["offset"] for alert in whole.raised("step_down")]

    assert [beats.count(offset) for offset in sorted(set(beats))] == [TIMERS_A_HEARTBEAT_MAX, 300]
    assert whole.alert_bytes == cut.alert_bytes
    assert whole.store == cut.store


def test_a_score_that_stood_on_facts_now_forgotten_fell_on_the_day_on_which_they_were() -> None:
    log = Log().open(60)
    log.tell(event("early-help.started", log.now))
    for number, (kind, data) in enumerate(TOLD):
        for old in (718, 719) if not kind.startswith(("early-help", "education.enrol")) else ():
            log.tell(event(kind, log.now - timedelta(days=old, minutes=number), **data))
    log.tell(event("police.notification", log.now, event_id="new", grade="red"))
    above = local_day_of(int(log.now.timestamp()))
    log.beat(20)
    log.tell(event("housing.arrears", log.now))
    outcome = log.run()
    family = Family(outcome.store.families[f"{LA}:f1"])

    assert outcome.scores[-2]["score_units"] > 25 << 20
    assert family.below_since is not None
    assert above < family.below_since
    assert family.below_since == last_day_above(log) + 1


def test_a_household_that_forgets_its_only_person_with_facts_is_told_anew() -> None:
    log = Log().open(60)
    log.member(0, version="2020-01-01T00:00:00Z")
    log.tell(event("police.protection", log.now, 0))
    log.tell(event("police.marac", log.now, 0, risk="high"))
    for person in range(1, 66):
        log.member(
            person, role="adult", version=f"2021-01-01T{person // 60:02}:{person % 60:02}:00Z"
        )
    outcome = log.run()
    raised = {alert["alert_id"] for alert in outcome.alerts if alert["state"] == "raised"}
    ended = {alert["alert_id"] for alert in outcome.alerts if alert["state"] != "raised"}

    assert raised
    assert raised == ended
    assert outcome.scores[-1]["score_units"] == 0
