"""The README is true: its commands, in its order, on a running system of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ALERT_S = 60.0

pytestmark = pytest.mark.timeout(180)


def blocks(language: str) -> list[str]:
    """Fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[dict[str, str]]:
    """`ehps up` in an empty folder; yields the environment of a terminal beside it."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("EHPS_")
    }
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    with subprocess.Popen(
        ["ehps", "up", "--json"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield {**environment, "KAFKA": json.loads(process.stdout.readline())["kafka"]}
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def test_an_agency_a_front_door_and_operations_do_what_the_readme_says(
    tmp_path: Path, system: dict[str, str]
) -> None:
    def shell(script: str) -> str:
        done = subprocess.run(
            ["bash", "-eu", "-c", script],
            cwd=tmp_path,
            env=system,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    *agency, publish, front_door, operations = blocks("sh")
    told = shell("\n".join((*agency, publish)))
    assert "0 of 4 lines refused" in told
    assert "4 messages sent" in told

    deadline = time.monotonic() + ALERT_S
    while not shell("ehps alerts") and time.monotonic() < deadline:
        time.sleep(0.2)
    (tmp_path / "front_door.py").write_text(blocks(r"python front_door\.py")[0])
    read = shell(f"python front_door.py $KAFKA {ROOT}/schemas/json/alert/1.json")
    assert read.startswith(
        "raised E06000023:f-1001 Combination C1: three green police notifications"
    )

    shown = shell(front_door)
    assert "Combination C1" in shown
    assert "12 points, band blue" in shown
    proved = shell(operations)
    assert "the same, byte for byte" in proved
    assert "Every record ended in exactly one way." in proved
    assert "Nothing is wrong." in proved
