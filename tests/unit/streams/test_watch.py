"""Accounts of loops, the watchdog, what a log line says of an error, and what a letter keeps."""

import os
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from structlog.testing import capture_logs

from schemas.topics import LOG
from streams.deadletters import (
    ATTEMPTS,
    ATTEMPTS_MAX,
    PARKED,
    REDRIVEN_FROM,
    attempts,
    kept_headers,
    origin,
)
from streams.errors import LogMismatch
from streams.logs import described
from streams.loops import CRASH_CODE, crash
from streams.progress import Progress
from streams.redisclient import shown
from streams.redrive import send_back
from streams.segments import Record
from streams.watchdog import Watchdog


class Broker:
    """The end of one partition, as a consumer would tell it."""

    def __init__(self, end: int) -> None:
        self.end, self.owned = end, True

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(LOG, 0)] if self.owned else []

    def get_watermark_offsets(self, place: TopicPartition, *, cached: bool) -> tuple[int, int]:
        assert cached
        return 0, self.end


def scorer(end: int, stands: int) -> tuple[Progress, Broker]:
    """A loop that owns partition 0 of the log and stands at an offset."""
    progress, broker = Progress("scorer"), Broker(end)
    progress.own(broker, [TopicPartition(LOG, 0, stands)])
    return progress, broker


def look(progress: Progress, limit: int = 3) -> tuple[Watchdog, list[str]]:
    """A watchdog that notes whom it would end."""
    ended: list[str] = []
    return Watchdog([progress], limit, lambda role, _: ended.append(role)), ended


def test_a_loop_that_says_nothing_is_ended_after_the_limit() -> None:
    progress, _ = scorer(end=10, stands=10)
    dog, ended = look(progress)
    for _ in range(3):
        dog.look()
    assert (ended, bool(dog.problems())) == ([], True)
    dog.look()
    assert ended == ["scorer"]


@pytest.mark.parametrize("what", ["rest", "moved", "waits_out", "own"])
def test_every_sign_of_progress_starts_the_count_anew(what: str) -> None:
    progress, broker = scorer(end=10, stands=10)
    signs = {
        "rest": progress.rest,
        "moved": lambda: progress.moved(LOG, 0, 10, 0),
        "waits_out": lambda: progress.waits_out("ConnectionError"),
        "own": lambda: progress.own(broker, []),
    }
    dog, ended = look(progress)
    for _ in range(20):
        dog.look()
        dog.look()
        signs[what]()
    assert (ended, dog.problems()) == ([], [])


@pytest.mark.parametrize(("what", "becomes"), [("end", 11), ("owned", False)])
def test_turning_is_no_progress_for_who_never_gets_what_waits_or_never_joins_its_group_again(
    what: str, becomes: object
) -> None:
    progress, broker = scorer(end=10, stands=10)
    setattr(broker, what, becomes)
    dog, ended = look(progress)
    for _ in range(4):
        progress.rest()
        dog.look()
    assert ended == ["scorer"]


def test_a_spare_member_that_was_dealt_nothing_is_at_rest() -> None:
    progress, broker = scorer(end=10, stands=10)
    progress.own(broker, [])
    broker.owned = False
    dog, ended = look(progress)
    for _ in range(20):
        progress.rest()
        dog.look()
    assert ended == []


def test_an_agent_without_work_may_be_silent_and_one_with_work_may_not() -> None:
    agent = Progress("ehps.links.v1", polls=False)
    dog, ended = look(agent)
    for _ in range(10):
        dog.look()
    assert ended == []
    agent.took(5)
    for _ in range(3):
        dog.look()
    assert ended == ["ehps.links.v1"]


def test_a_process_that_was_suspended_is_not_taken_for_stuck() -> None:
    progress, _ = scorer(end=10, stands=10)
    dog, ended = look(progress, limit=180)
    dog.look()
    dog.look()  # an hour of suspension lies between: no look was made in it
    progress.rest()
    dog.look()
    assert (ended, dog.stalled_s) == ([], [0.0])


def test_lag_is_what_the_broker_holds_beyond_what_is_finished() -> None:
    progress, broker = scorer(end=25, stands=5)
    progress.moved(LOG, 0, 20, newest_ms=0)
    waiting = progress.lags()[LOG, 0]
    broker.end = 20
    progress.rest()
    assert (waiting.records, progress.lags()[LOG, 0]) == (5, (0, 0.0))
    assert (waiting.seconds or 0) > 1e9  # since 1970


def test_where_no_start_is_said_lag_is_not_known_before_the_first_record() -> None:
    progress = Progress("intake")
    progress.own(Broker(1000), [TopicPartition("agency.police.v1", 0, -1001)])
    progress.rest()
    assert progress.lags() == {}
    progress.moved("agency.police.v1", 0, 990, newest_ms=0)
    assert progress.lags()["agency.police.v1", 0].records == 10


def test_a_lost_partition_is_forgotten() -> None:
    progress, broker = scorer(end=25, stands=5)
    progress.moved(LOG, 0, 20, 0, b"{}")
    progress.own(broker, [TopicPartition(LOG, 1, 3)])
    assert (progress.lags(), progress.states) == ({}, {})


def test_a_crash_never_quotes_what_a_library_choked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Told(BaseModel):
        born: int

    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with capture_logs() as lines:
        try:
            Told.model_validate({"born": "person-0123 of 7 Mill Lane"})
        except ValidationError as error:
            crash("scorer", error)
    assert codes == [CRASH_CODE]
    assert lines[0]["event"] == "scorer.crashed"
    assert lines[0]["error"] == "ValidationError"
    assert "test_watch.py" in lines[0]["raised"]
    assert "person" not in str(lines)
    assert "Mill" not in str(lines)


def test_a_log_line_gives_our_own_sentences() -> None:
    assert described(LogMismatch("record 7 is another"))["reason"] == "record 7 is another"


def test_an_address_is_shown_without_its_password() -> None:
    assert shown("redis://ehps:s3cret@redis:6379/0") == "redis://redis:6379/0"
    assert shown("redis://redis:6379/0") == "redis://redis:6379/0"


def message(headers: list[tuple[str, bytes]]) -> Record:
    return Record("agency.police.v1", 2, 7, 0, b"key", b"value", headers)


def test_a_letter_keeps_the_attributes_of_the_message_and_nothing_else_of_its_headers() -> None:
    mine = [("ce_id", b"1"), ("content-type", b"application/json")]
    forged = [("__streams.errors.topic", b"agency.health.v1"), ("traceparent", b"x"), (PARKED, b"")]
    assert kept_headers(message([*mine, *forged])) == mine


@given(st.integers(0, 12))
def test_a_message_that_had_its_attempts_is_parked(count: int) -> None:
    kept = dict(kept_headers(message([(ATTEMPTS, str(count).encode())])))
    assert (PARKED in kept) == (count >= ATTEMPTS_MAX)


@given(st.binary(max_size=8))
def test_a_forged_count_of_attempts_is_none(raw: bytes) -> None:
    assert 0 <= attempts(message([(ATTEMPTS, raw)])) <= 999


def test_what_is_sent_back_is_the_message_as_sent_to_where_it_was_read_from() -> None:
    letter = Record(
        "ehps.dead-letter.police.v1",
        1,
        3,
        0,
        b"key",
        b"value",
        [
            ("ce_id", b"1"),
            ("__streams.errors.topic", b"agency.police.v1"),
            ("__streams.errors.partition", b"2"),
            ("__streams.errors.offset", b"7"),
        ],
    )
    sent: list[tuple[Any, ...]] = []

    class Sender:
        def send(self, *what: Any) -> None:
            sent.append(what)

    send_back(Sender(), letter)  # type: ignore[arg-type]
    headers = [
        ("ce_id", b"1"),
        (ATTEMPTS, b"1"),
        (REDRIVEN_FROM, b"ehps.dead-letter.police.v1/1/3"),
    ]
    assert origin(letter) == ("agency.police.v1", 2, 7)
    assert sent == [("agency.police.v1", b"value", b"key", headers, 2)]
