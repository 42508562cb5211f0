"""The command line as a person meets it: help everywhere, one sentence for what is wrong, exit codes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer.main

from deploy.child import free_port
from streams.cli.app import app
from tests.integration.product import run_ehps

NO_JSON = {("worker",)}
"""A worker runs until it is told to stop: it has a log, not an answer."""


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group of the tree."""
    yield words, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*words, name))


TREE = dict(commands(typer.main.get_command(app)))
LEAVES = {words: command for words, command in TREE.items() if not hasattr(command, "commands")}


def test_the_tree_has_the_promised_commands() -> None:
    promised = {
        ("demo",), ("up",), ("worker",), ("simulate",), ("import", "cin-census"), ("publish",),
        ("alerts",), ("explain",), ("replay",), ("reconcile",), ("dlq", "list"), ("dlq", "show"),
        ("topics", "plan"), ("topics", "apply"), ("schemas", "export"), ("doctor",),
    }  # fmt: skip
    assert promised <= LEAVES.keys()


@pytest.mark.parametrize("words", TREE, ids=" ".join)
def test_every_command_explains_itself_with_an_example(words: tuple[str, ...]) -> None:
    with typer.Context(TREE[words], info_name=" ".join(("ehps", *words))) as context:
        told = TREE[words].get_help(context)
    assert "Example:" in told
    assert f"ehps {' '.join(words)}".strip() in told.partition("Example:")[2]


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_that_answers_has_json(words: tuple[str, ...]) -> None:
    options = {option for parameter in LEAVES[words].params for option in parameter.opts}
    assert ("--json" in options) == (words not in NO_JSON)


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("publish",),
        ("publish", "/no/such/file.ndjson"),
        ("publish", "--check", "--history", "-"),
        ("explain", "two words"),
        ("worker", "cook"),
        ("dlq", "show", "letter"),
        ("dlq", "list", "--source", "weather"),
        ("up", "--la", "Bristol"),
        ("simulate", "--start", "2024-13-01"),
        ("simulate", "--json"),
        ("simulate", "--start", "2024-09-02", "--end", "2025-09-02"),
        ("simulate", "--families", "2", "--weeks", "1", "--out", "/no/such/folder/events.ndjson"),
        ("publish", "--raw", "no.such.topic", "/dev/null"),
        ("publish", "--raw", "ehps.log.v1", "/dev/null"),
        ("doctor", "--redis", "foo"),
        ("doctor", "--redis", "redis://127.0.0.1:99999"),
        ("doctor", "--kafka", ""),
        ("alerts", "--kafka", "127.0.0.1"),
        ("worker", "intake", "--redis", "foo"),
        ("up", "--redis", "foo"),
        ("up", "--kafka", "foo:bar"),
        ("import", "cin-census", "/no/such/census.xml"),
    ],
    ids=" ".join,
)
def test_wrong_arguments_are_exit_2_and_no_traceback(words: tuple[str, ...]) -> None:
    done = run_ehps(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


@pytest.mark.parametrize(
    ("name", "value"),
    [("EHPS_BATCH_RECORDS", "many"), ("EHPS_LOG_LEVEL", "loud"), ("EHPS_LOG_PARTITIONS", "0")],
)
def test_a_wrong_setting_is_refused_by_its_name(name: str, value: str) -> None:
    done = run_ehps("doctor", environment={name: value})
    assert done.returncode == 2
    assert name in done.stderr
    assert value in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("alerts",), ("reconcile",), ("explain", "f-1")])
def test_without_a_broker_a_person_gets_one_sentence_with_the_address(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    away = {"EHPS_KAFKA": address, "EHPS_DATA_DIR": str(tmp_path)}
    done = run_ehps(*words, "--json", environment=away)
    assert done.returncode == 1
    answer = json.loads(done.stdout.splitlines()[-1])
    assert not answer["ok"]
    assert address in answer["error"]
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [("doctor",), ("up", "--once"), ("alerts",)])
def test_a_data_folder_that_is_a_file_is_one_sentence(words: tuple[str, ...]) -> None:
    done = run_ehps(*words, environment={"EHPS_DATA_DIR": __file__, "EHPS_KAFKA": ""})
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("given", ["/dev/null", "<(echo '{}')"])
def test_publish_reads_devices_and_pipes(given: str) -> None:
    import subprocess
    import sys

    line = f"{sys.executable} -m streams.cli publish --check {given}"
    done = subprocess.run(["/bin/bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == (0 if given == "/dev/null" else 1)


def test_a_census_of_another_authority_or_of_which_nothing_is_taken_ends_with_its_code(
    tmp_path: Path,
) -> None:
    file = Path(__file__).parents[1] / "fixtures/cin_census/full_2024.xml"
    empty = tmp_path / "empty.xml"
    empty.write_text(file.read_text().partition("<Children>")[0] + "<Children/></Message>")
    words, key = ("import", "cin-census"), {"EHPS_PSEUDONYM_KEY": "sixteen characters or more"}
    other = run_ehps(*words, str(file), "--la", "E09000007", environment=key)
    meant = run_ehps(*words, str(file), "--la", "E09000007", "--other-authority", environment=key)
    nothing = run_ehps(*words, str(empty), environment=key)
    assert (other.returncode, meant.returncode, nothing.returncode) == (2, 0, 1)
    assert "E06000023" in other.stderr
    assert "nothing could be taken from empty.xml" in nothing.stdout


def test_the_simulated_weeks_end_today_and_the_same_day_gives_the_same_bytes(
    tmp_path: Path,
) -> None:
    words = ("simulate", "--families", "30", "--weeks", "8")
    today = datetime.now(UTC).date()
    one, same = run_ehps(*words), run_ehps(*words, "--end", str(today))
    days = [json.loads(line)["recordedtime"][:10] for line in one.stdout.splitlines()]
    assert one.stdout == same.stdout
    assert str(today - timedelta(days=14)) < max(days) < str(today)


def test_the_version_is_told_as_word_and_as_flag() -> None:
    assert run_ehps("version").stdout == run_ehps("--version").stdout != ""


def test_a_pipe_that_ends_early_is_no_error(tmp_path: Path) -> None:
    import subprocess
    import sys

    line = f"{sys.executable} -m streams.cli simulate --families 50 --weeks 4 | head -1"
    done = subprocess.run(["/bin/bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert json.loads(done.stdout)["specversion"] == "1.0"
    assert "Traceback" not in done.stderr
