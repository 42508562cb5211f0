"""What a worker's log tells of its ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streams.crashes import crashes, write_ended, write_started

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CRASHED = {"event": "scorer.crashed", "error": "LogMismatch", "reason": "another topic"}


def told(tmp_path: Path, *last: str, code: int = 70) -> tuple[int, str, str]:
    """What is said of a scorer that wrote these lines and ended a minute ago."""
    log = tmp_path / "worker-scorer.log"
    log.write_text("".join(f"{line}\n" for line in last))
    write_ended(log, code, NOW - timedelta(minutes=1))
    (found,) = crashes(tmp_path, NOW)
    assert found.role == "scorer"
    return found.times, found.why, found.do


def test_a_crash_is_told_with_its_sentence_and_what_to_do(tmp_path: Path) -> None:
    times, why, do = told(tmp_path, json.dumps(CRASHED), '{"event": "scorer.batch"}')
    assert (times, why) == (1, "LogMismatch: another topic")
    assert "EHPS_KAFKA" in do


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        (["ehps: a setting is wrong."], 1, "a setting is wrong."),
        (['{"event": "scorer.batch"}'], 137, "killed by signal 9"),
        ([], 3, "exit code 3"),
        ([json.dumps(CRASHED | {"reason": None, "raised": "a.py:1 f"})], 70, "raised at a.py:1 f"),
    ],
)
def test_a_worker_that_said_otherwise_why_it_ended(
    tmp_path: Path, lines: list[str], code: int, said: str
) -> None:
    assert said in told(tmp_path, *lines, code=code)[1]


def test_ends_of_long_ago_and_other_ends_do_not_count(tmp_path: Path) -> None:
    log = tmp_path / "worker-intake.log"
    log.write_text(json.dumps(CRASHED) + "\n")
    write_ended(log, 70, NOW - timedelta(hours=1))
    assert list(crashes(tmp_path, NOW)) == []
    write_ended(log, 137, NOW)
    assert [(one.times, one.why) for one in crashes(tmp_path, NOW)] == [(1, "killed by signal 9")]


def test_ends_of_an_earlier_run_of_the_stack_do_not_count(tmp_path: Path) -> None:
    log = tmp_path / "worker-scorer.log"
    write_ended(log, 137, NOW)
    write_started(log, NOW)
    assert list(crashes(tmp_path, NOW)) == []
    write_ended(log, 70, NOW)
    assert [(one.times, one.why) for one in crashes(tmp_path, NOW)] == [(1, "exit code 70")]
