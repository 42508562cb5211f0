"""The README is true: its commands, in its order, on a running system of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.product import event, link, notification, wait_for

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

pytestmark = pytest.mark.timeout(180)


def reader(system: System) -> str:
    """The front door's program, as the README starts it."""
    return f"python front_door.py {system.environment['KAFKA']} {ROOT}/schemas/json/alert/1.json"


def blocks(language: str) -> list[str]:
    """Fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class System:
    """A running `ehps up`: the folder that it runs in, the terminal beside it, and what it shows to do next."""

    folder: Path
    environment: dict[str, str]
    steps: list[str]

    def shell(self, script: str, code: int = 0) -> str:
        """Run a script as a person would; returns what it said."""
        done = subprocess.run(
            ["bash", "-eu", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def first_line(self, command: str) -> str:
        """The first line of a command that goes on for ever."""
        return self.lines(command, "")[-1]

    def lines(self, command: str, last: str) -> list[str]:
        """What a command that goes on until Ctrl-C says, up to the first line that begins so."""
        said = []
        with subprocess.Popen(
            shlex.split(command),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    said.append(line)
                    if line.startswith(last):
                        return said
            finally:
                process.send_signal(signal.SIGINT)
        raise AssertionError(f"it ended by itself, after {said}")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """`ehps up` in an empty folder, as the README starts it."""
    folder = tmp_path_factory.mktemp("readme")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("EHPS_")
    }
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    with subprocess.Popen(
        ["ehps", "up"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = list(iter(process.stdout.readline, "Ctrl-C stops all.\n"))
            steps = [line.strip() for line in said if line.startswith("  ehps ")]
            environment["KAFKA"] = said[0].split()[1]
            yield System(folder, environment, steps)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def test_an_agency_a_front_door_and_operations_do_what_the_readme_says(system: System) -> None:
    *agency, publish, front_door, decision, operations = blocks("sh")
    told = system.shell("\n".join((*agency, publish)))
    assert "4 lines checked, none refused; nothing was sent." in told
    assert "4 messages sent, 0 of 4 lines refused." in told

    (system.folder / "front_door.py").write_text(blocks(r"python front_door\.py")[0])
    read = system.first_line(reader(system))
    assert read.startswith(
        "raised E06000023:f-1001 Combination C1: three green police notifications"
    )

    shown = system.shell(front_door)
    assert "Combination C1" in shown
    assert "12 points, band blue" in shown
    assert system.shell("ehps alerts --family zzz 2>&1") == "No alert about zzz so far.\n"
    assert "1 message sent" in system.shell("\n".join((*agency[:2], decision)))
    wait_for(
        "the decision beside its family",
        lambda: "Last decision: accept" in system.shell("ehps explain f-1001"),
    )
    proved = system.shell(operations)
    assert "the same, byte for byte" in proved
    assert "5 records read: 5 on the log" in proved
    assert (
        "3 applied, 0 duplicates, 0 expired, 0 over the bound, 1 membership, 1 decision." in proved
    )
    assert "Every record ended in exactly one way." in proved
    assert "Nothing is wrong." in proved


def test_the_readme_s_front_door_goes_on_when_an_alert_has_ended(system: System) -> None:
    told = [
        link("rising", "f-1002"),
        notification("rising", "red"),
        event("police.marac", "rising", {"risk": "high"}),
        event("police.exploitation", "rising", {"kind": "nrm"}),
    ]
    (system.folder / "rising.ndjson").write_text("".join(f"{json.dumps(one)}\n" for one in told))
    system.shell("ehps publish rising.ndjson")
    (system.folder / "front_door.py").write_text(blocks(r"python front_door\.py")[0])
    *_, amber, ended = system.lines(reader(system), "superseded ")
    assert amber.startswith("raised E06000023:f-1002 Step up to amber")
    assert "For front door (MASH) by" in amber
    assert ended == "superseded E06000023:f-1002 A higher grade was raised: amber.\n"


def test_a_name_for_a_subject_is_refused_as_the_readme_shows(system: System) -> None:
    golden = (ROOT / "schemas/golden/police.notification/1.json").read_text()
    good = json.loads(golden)
    lines = [good] * 6 + [good | {"subject": "Alex Smith"}]
    (system.folder / "named.ndjson").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    said = system.shell("ehps publish --check named.ndjson", code=1)
    shown = next(block for block in blocks("text") if "identifier_not_pseudonym" in block)
    assert " ".join(shown.split()) in " ".join(said.replace("named", "events").split())
    assert "Alex" not in said


def test_a_census_is_told_as_past_beside_an_authority_that_is_live(system: System) -> None:
    export, command = re.findall(
        r"^    ((?:export EHPS_PSEU|ehps import).*)$", README, re.MULTILINE
    )
    told = system.shell(f"{export}\n{command.replace('tests/', f'{ROOT}/tests/')}")
    assert "14 messages published." in told
    assert "is live" not in told


def test_what_a_started_system_shows_to_do_next_ends_in_an_alert(system: System) -> None:
    simulate, publish, follow, doctor = system.steps
    system.shell(f"{simulate}\n{publish}")
    wait_for(
        "an alert about a simulated family",
        lambda: (
            re.search(r"family f-[0-9a-f]+-\d+: Step up", system.shell("ehps alerts")) is not None
        ),
    )
    assert " family f-" in system.first_line(follow)
    assert "Nothing is wrong." in system.shell(doctor)
