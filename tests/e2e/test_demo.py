"""The demonstration, as the README promises it, in a small world."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def demo() -> subprocess.CompletedProcess[str]:
    """`ehps demo --once --json` of a small world."""
    command = [sys.executable, "-m", "streams.cli", "demo", "--once", "--json"]
    return subprocess.run(
        [*command, "--families", "150", "--weeks", "20", "--seed", "3"],
        env={**os.environ, "EHPS_LOG_LEVEL": "info"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_the_demonstration_ends_with_one_object_that_proves_itself(
    demo: subprocess.CompletedProcess[str],
) -> None:
    assert demo.returncode == 0, demo.stderr
    (line,) = demo.stdout.splitlines()
    said = json.loads(line)
    assert said["ok"] is True
    assert (said["unaccounted"], said["replay_differences"], said["waiting"]) == (0, 0, 0)
    assert said["problems"] == []
    events = said["published"] - said["links"]
    ends = ("applied", "duplicates", "expired", "evicted", "parked", "dead_lettered")
    assert events == sum(said[name] for name in ends)
    assert min(said["applied"], said["families"], said["events_per_s"]) > 0
    assert min(said["latency_ms"].values()) > 0
    assert said["alerts"].keys() == {"step_up", "step_down", "combination"}
    assert sum(said["alerts"].values()) > 0


def test_what_was_broken_on_purpose_is_told(demo: subprocess.CompletedProcess[str]) -> None:
    said = json.loads(demo.stdout)
    purpose = said["on_purpose"]
    assert min(purpose[name] for name in ("duplicates", "late", "malformed", "unlinked")) > 0
    assert said["dead_lettered"] == purpose["malformed"]
    assert said["duplicates"] >= purpose["duplicates"]


def test_alerts_are_shown_as_sentences_on_stderr(demo: subprocess.CompletedProcess[str]) -> None:
    assert " family f-" in demo.stderr
    assert "Traceback" not in demo.stderr
