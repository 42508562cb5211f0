"""Processor time, memory and progress of processes that are measured from outside."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
STUCK_S = 240.0
"""A run without progress for so long has failed."""


class Stuck(RuntimeError):
    """Something measured makes no progress."""


class Sample(NamedTuple):
    """Clocks at one moment: seconds, and processor seconds by name."""

    at: float
    cpu_s: dict[str, float]


class Watch:
    """Clocks of named groups of processes."""

    def __init__(self, **pids: Sequence[int | None]) -> None:
        self.pids = {name: [pid for pid in group if pid] for name, group in pids.items()}

    def sample(self) -> Sample:
        """All clocks now."""
        return Sample(
            time.monotonic(), {name: sum(map(cpu_s, group)) for name, group in self.pids.items()}
        )


def cpu_s(pid: int) -> float:
    """User and system seconds of a process; 0 when it is gone."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0


def peak_mib(pids: Sequence[int]) -> float:
    """Most memory that the processes held, MiB."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1])
    return total / 1024


def until(
    progress: Callable[[], int], goal: int, alive: Callable[[], bool], every_s: float = 0.01
) -> int:
    """Return the progress once it has reached `goal`.

    Raises:
        Stuck: the process ended, or nothing moved for `STUCK_S`.
    """
    best, deadline = -1, time.monotonic() + STUCK_S
    while (now := progress()) < goal:
        if now > best:
            best, deadline = now, time.monotonic() + STUCK_S
        if not alive():
            raise Stuck(f"it ended at {now:,} of {goal:,}")
        if time.monotonic() > deadline:
            raise Stuck(f"no progress for {STUCK_S:g} s at {now:,} of {goal:,}")
        time.sleep(every_s)
    return now


def run_of(began: Sample, ended: Sample, events: float, **more: object) -> dict[str, object]:
    """A run's figures from two samples and the events between them."""
    spent = {name: ended.cpu_s[name] - began.cpu_s[name] for name in ended.cpu_s}
    return figures(events, ended.at - began.at, spent, **more)


def figures(
    events: float, seconds: float, spent: dict[str, float], **more: object
) -> dict[str, object]:
    """Events a second and microseconds of processor time an event, for the system, the broker and Redis."""
    per_event = {f"{name}_us": 1e6 * cpu / events for name, cpu in spent.items()}
    return {
        "events": round(events),
        "seconds": seconds,
        "events_per_s": events / seconds,
        **per_event,
        **more,
    }
