"""Workers of this machine's stack that end again and again: which, why, and what to do.

`ehps up` starts a worker again and writes into its log that it ended, beside what the worker itself said last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

ENDED = "worker.ended"
"""Event in a worker's log: it ended by itself, with this `code`."""
STARTED = "stack.started"
"""Event in a worker's log: from here on it is of another run of `ehps up`."""
WITHIN = timedelta(minutes=5)
TAIL_BYTES = 1 << 20
TOLD_CHARACTERS_MAX = 300
_DO = {
    "LogMismatch": "point EHPS_KAFKA to the broker that the states were made from, or rebuild on an empty Redis",
    "ContentMissing": "give the scorer the content that is in force: EHPS_CONTENT names its folder",
    "ContentError": "mend the content that the sentence names",
    "ConfigError": "mend the setting that the sentence names",
}


class Crashes(NamedTuple):
    """How often a worker ended lately, and how it said why."""

    role: str
    times: int
    why: str
    do: str


def crashes(data_dir: Path, now: datetime) -> Iterator[Crashes]:
    """Workers whose logs tell that they ended lately, since their stack was started.

    Args:
        data_dir: folder of the stack's logs.
        now: aware.
    """
    for log in sorted(data_dir.glob("worker-*.log")):
        lines = _of_this_run(list(_lines(log)))
        times = sum(_ended_since(line, now - WITHIN) for line in lines)
        if times:
            error, why = _cause(lines)
            do = _DO.get(error, f"read the end of {log}")
            yield Crashes(log.stem.removeprefix("worker-"), times, why, do)


def write_started(log: Path, at: datetime) -> None:
    """Add to a worker's log that its stack was started."""
    _write(log, {"event": STARTED, "timestamp": at.isoformat(timespec="seconds")})


def write_ended(log: Path, code: int, at: datetime) -> None:
    """Add to a worker's log that it ended."""
    _write(log, {"event": ENDED, "code": code, "timestamp": at.isoformat(timespec="seconds")})


def _write(log: Path, line: dict[str, Any]) -> None:
    with log.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _of_this_run(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    starts = [at for at, line in enumerate(lines) if line.get("event") == STARTED]
    return lines[starts[-1] :] if starts else lines


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    """The newest lines of a log; one that is not JSON stands under `text`."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        for line in file:
            text = line.decode(errors="replace").strip()
            try:
                found = json.loads(text)
            except ValueError:
                found = None
            yield found if isinstance(found, dict) else {"text": text}


def _ended_since(line: dict[str, Any], since: datetime) -> bool:
    return line.get("event") == ENDED and datetime.fromisoformat(line["timestamp"]) > since


def _cause(lines: list[dict[str, Any]]) -> tuple[str, str]:
    """Kind of error and sentence of the newest end: a line `<loop>.crashed`, else the last text before it."""
    end = max(at for at, line in enumerate(lines) if line.get("event") == ENDED)
    for line in reversed(lines[:end]):
        if line.get("event") == ENDED:
            break
        if str(line.get("event", "")).endswith(".crashed"):
            error = str(line.get("error", "an error"))
            said = line.get("reason") or f"raised at {line.get('raised', 'an unknown place')}"
            return error, f"{error}: {said}"[:TOLD_CHARACTERS_MAX]
        if line.get("text"):
            return "", str(line["text"]).removeprefix("ehps: ")[:TOLD_CHARACTERS_MAX]
    code = lines[end]["code"]
    return "", f"killed by signal {code - 128}" if code > 128 else f"exit code {code}"
