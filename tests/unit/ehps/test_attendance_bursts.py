"""Bursts of attendance, which may end a condition in silence, leave the same state however the log is cut."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from families import Log, event


@pytest.mark.parametrize("seed", range(12))
def test_bursts_of_attendance_leave_the_same_state_however_the_log_is_cut(seed: int) -> None:
    chance = random.Random(seed)
    log = Log().open(7)
    log.member(1, "2012-05")
    log.tell(event("education.enrolment", log.now, status="on_roll"))
    log.tell(event("early-help.started", log.now))
    for _ in range(25):
        for back in range(chance.randint(1, 4), 0, -1):
            log.tell(_school_day(chance, log, back))
        if chance.random() < 0.3:
            log.tell(event("education.suspension", log.now, reasons=["DB"]))
        if chance.random() < 0.3:
            log.tell(event("housing.arrears", log.now, weeks=9))
        log.beat(chance.randint(1, 4))
    whole = log.run()
    for batch in (1, 2, 3):
        assert log.run(batch).store == whole.store


def _school_day(chance: random.Random, log: Log, back: int) -> object:
    day = log.now - timedelta(days=back, hours=-9)
    am, pm = chance.choice(("OO", "II", "MM", "/\\", "UU"))
    return event("education.attendance", day, date=f"{day:%Y-%m-%d}", am=am, pm=pm)
