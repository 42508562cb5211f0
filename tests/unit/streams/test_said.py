"""What commands say where no server is needed to know it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams.cli import operate
from streams.cli.app import run
from streams.config import Settings
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
