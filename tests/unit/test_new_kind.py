"""A new kind of event is what CONTRIBUTING.md says: its lines, applied to a copy of the tree, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAMILIES = ROOT / "tests/unit/ehps"
LINES = dict(
    re.findall(
        r"^```\w+ (\S+/\S+)\n(.*?)^```$",
        (ROOT / "CONTRIBUTING.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
)
GOLDEN = "schemas/golden/housing.damp/1.json"

USE = f"""
import json, sys
from datetime import UTC, datetime
from families import LA, LIBRARY, Log
from ehps.explain import explain
from schemas import validate_event
from schemas.export import MODELS, messages_of
from schemas.topics import BY_NAME

event = validate_event("agency.housing.v1", open("{GOLDEN}", "rb").read(), None, datetime(2026, 6, 1, tzinfo=UTC))
log = Log(now=event.time).open(3)
log.tell(event)
outcome = log.run()
key = f"{{LA}}:f1"
told = explain(key, outcome.store.families[key], outcome.store.partition, LIBRARY)
channels = [name for name, topic in BY_NAME.items() if "housing.damp.v1" in messages_of(topic)]
known = "housing.damp.v1" in MODELS
print(json.dumps({{"score": outcome.scores[-1], "told": told, "channels": channels, "known": known}}))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the contracts and the core with the lines applied."""
    for package in ("schemas", "ehps"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    events, catalogue, release, golden = LINES
    with (tmp_path / events).open("a") as file:
        file.write(f"\n\n{LINES[events]}")
    table = (tmp_path / catalogue).read_text()
    assert "\n)\n# fmt: on\n" in table
    (tmp_path / catalogue).write_text(
        table.replace("\n)\n# fmt: on\n", f"\n{LINES[catalogue]})\n# fmt: on\n")
    )
    with (tmp_path / release).open("a") as file:
        file.write(LINES[release])
    (tmp_path / golden).parent.mkdir()
    (tmp_path / golden).write_text(LINES[golden])
    return tmp_path


def test_the_lines_are_for_the_schema_the_catalogue_the_points_and_a_golden_message() -> None:
    assert [*LINES] == [
        "schemas/events/housing.py",
        "ehps/catalogue.py",
        "ehps/content/release-starter.yaml",
        GOLDEN,
    ]
    assert sum(text.count("\n") for text in LINES.values()) <= 10


def test_an_event_of_the_new_kind_is_scored_and_explained(tree: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-c", USE],
        cwd=tree,
        env={"PYTHONPATH": f"{tree}:{FAMILIES}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    part = next(c for c in answer["told"]["contributions"] if c["kind"] == "housing.damp")

    assert answer["known"]
    assert answer["channels"] == ["agency.housing.v1"]
    assert answer["score"]["score_units"] == part["units"] == 4 << 20
    assert part["label"] == "Damp that endangers health"
    assert part["facts"][0]["occurred"] == "2026-01-11T21:40:00Z"
