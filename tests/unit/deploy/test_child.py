"""A server process and its keeper: neither outlives the other, and nothing of them stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.child import Child

DEADLINE_S = 10.0


def eventually(ready: Callable[[], bool]) -> bool:
    """Whether it comes true within the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not (done := ready()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return done


def children() -> set[str]:
    """Processes that this one has started and that are still there, zombies too."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())],
        capture_output=True,
        text=True,
        check=False,
    )
    return {line for line in listed.stdout.splitlines() if "ps -o" not in line}


def pipes() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_that_ends_leaves_no_shell_and_no_pipe(tmp_path: Path) -> None:
    before, files = children(), pipes()

    held = [Child(["true"], tmp_path / "log") for _ in range(5)]
    ended = eventually(lambda: not any(child.alive() for child in held))

    assert ended
    assert eventually(lambda: children() == before)
    assert pipes() == files


def test_how_a_server_ended_is_known(tmp_path: Path) -> None:
    child = Child(["/bin/sh", "-c", "exit 70"], tmp_path / "log")

    assert eventually(lambda: not child.alive())
    assert child.code == 70


def test_a_server_that_runs_has_no_code_and_is_ended_by_stop(tmp_path: Path) -> None:
    child = Child(["sleep", "60"], tmp_path / "log")

    assert child.alive()
    assert child.code is None
    child.stop()
    assert not exists(child.pid)


@pytest.mark.parametrize("ended_by", ["KILL", "TERM"])
def test_a_server_does_not_outlive_the_process_that_started_it(
    tmp_path: Path, ended_by: str
) -> None:
    program = (
        "import os, signal, pathlib, sys\n"
        "from deploy.child import Child\n"
        f"child = Child(['sleep', '60'], pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True)\n"
        f"os.kill(os.getpid(), signal.SIG{ended_by})\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert eventually(lambda: not exists(int(done.stdout)))
