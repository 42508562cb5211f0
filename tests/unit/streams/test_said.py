"""What commands say where no server is needed to know it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from schemas.validate import CODES
from streams.cli import operate, repair
from streams.cli.app import run
from streams.cli.output import writing
from streams.config import Settings
from streams.redrive import Redrive
from streams.up import Stack


@pytest.mark.parametrize("stays", [True, False])
def test_only_a_stack_that_stays_says_what_to_do_next(
    stays: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workers: Any = None
    stack = Stack(Settings(data_dir=tmp_path, embedded=True), workers)
    operate._announce(stack, "E06000023", stays=stays, json=False)
    said = capsys.readouterr().out
    assert ("another terminal" in said, "Ctrl-C" in said, "ehps publish" in said) == (stays,) * 3
    assert f"{tmp_path}/segments and {tmp_path}/segments.previous until deleted" in said


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (0, "0 lines checked, none refused; nothing was sent.\n"),
        (1, "1 line checked, 1 refused; nothing was sent.\n"),
        (2, "2 lines checked, 2 refused; nothing was sent.\n"),
    ],
)
def test_a_check_says_that_nothing_was_sent(
    lines: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text("{}\n" * lines)
    assert run(["publish", "--check", str(file)]) == (1 if lines else 0)
    assert capsys.readouterr().out.endswith(told)


@pytest.mark.parametrize(
    "words", [("--start", "soon"), ("--end", "2024-02-30"), ("--end", "0001-01-05")]
)
def test_a_day_that_is_none_is_told_what_a_day_looks_like(
    words: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", *words]) == 2
    assert capsys.readouterr().err == "ehps: --start and --end are days like 2024-09-02.\n"


def interrupted(target: BinaryIO) -> None:
    """Half of an answer, and then Ctrl-C."""
    target.write(b"half")
    raise KeyboardInterrupt


@pytest.mark.parametrize("before", [None, b"of before"])
def test_a_file_has_its_name_only_once_it_is_whole(before: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    if before is not None:
        file.write_bytes(before)
        file.chmod(0o600)
    with pytest.raises(KeyboardInterrupt), writing(file) as target:
        interrupted(target)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before] * (before is not None)
    with writing(file) as target:
        target.write(b"whole")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"whole"]
    assert before is None or file.stat().st_mode & 0o777 == 0o600


def test_a_pipe_is_written_to_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_bytes)
        with writing(pipe) as target:
            target.write(b"whole")
        assert read.result() == b"whole"
    assert pipe.is_fifo()


def test_a_reason_that_nothing_is_refused_for_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["dlq", "redrive", "police", "--code", "nosuch"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("ehps: No message is refused as nosuch: --code is one of not_json,")
    assert all(code in told for code in CODES)


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (1, ["1 letter: 1 sent back, 1 was before.", "1 was refused after its last attempt and"]),
        (2, ["2 letters: 2 sent back, 2 were before.", "2 were refused after their last attempt"]),
    ],
)
def test_letters_are_counted_in_grammar(count: int, told: list[str]) -> None:
    found = Redrive(chosen=count, sent=count, redriven=count, parked=count)
    lines = list(repair._redrive_lines(found, check=False))
    assert len(lines) == len(told)
    assert all(line.startswith(start) for line, start in zip(lines, told, strict=True))


@pytest.mark.parametrize("name", ["kafka", "redis"])
def test_help_names_the_address_that_is_used_where_no_stack_runs(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["alerts" if name == "kafka" else "reconcile", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"else that of `ehps up`, else {Settings.model_fields[name].default}." in told
