"""Sorts any number of messages in bounded memory: sorted runs on disk, merged when read.

Runs hold only what is published anyway (pseudonyms, never identifiers), in unnamed temporary
files that the operating system removes when they are closed.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import orjson

RUN_LENGTH = 20_000
"""Messages held in memory before they are written out as one sorted run."""


_SECONDS_WIDTH = 12
_RANK_AT = _SECONDS_WIDTH + 1


class Rank:
    """Order within one instant: a link has to be known before the events of its person."""

    LINK = 0
    EVENT = 1


class Spool:
    """Messages in, the same messages out in order of (recorded second, rank, id).

    One reading at a time: two readings under way at once would share the files' positions.
    """

    def __init__(self, run_length: int = RUN_LENGTH) -> None:
        self._run_length = run_length
        self._lines: list[bytes] = []
        self._runs: list[IO[bytes]] = []

    def add(self, recorded_s: int, rank: int, message: dict[str, Any]) -> None:
        """Adds one message; recorded_s is in seconds since 1970 and not negative."""
        prefix = f"{recorded_s:0{_SECONDS_WIDTH}d} {rank} {message['id']}\t".encode()
        self._lines.append(prefix + orjson.dumps(message) + b"\n")
        if len(self._lines) >= self._run_length:
            self._write_run()

    def read(self, rank: int | None = None) -> Iterator[dict[str, Any]]:
        """Yields the messages (of one rank, or all) in order; again once a reading is finished."""
        self._lines.sort()
        for run in self._runs:
            run.seek(0)
        for line in heapq.merge(*self._runs, self._lines):
            if rank is None or line[_RANK_AT] == ord(str(rank)):
                yield orjson.loads(line.partition(b"\t")[2])

    def close(self) -> None:
        """Drops all messages and the temporary files."""
        for run in self._runs:
            run.close()
        self._runs.clear()
        self._lines.clear()

    def _write_run(self) -> None:
        self._lines.sort()
        # Not a context manager: the run lives as long as the spool, which closes it.
        run = tempfile.TemporaryFile(prefix="ehps-import-")  # noqa: SIM115
        run.writelines(self._lines)
        self._runs.append(run)
        self._lines.clear()
