"""Ends a process that stands still, so that its supervisor starts a sound one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from streams.progress import Progress

LOOK_S = 1.0


class Stalled(RuntimeError):
    """A loop has made no progress for too long."""


class Watchdog:
    """Looks once a second at every loop.

    A loop without work says so as often: silence means that it hangs, or that records wait which it never gets.
    It counts its own looks and not the clock: a process that was suspended and goes on is not stuck.

    Args:
        loops: what to look at.
        limit_s: looks without progress, one a second, before the process is ended.
        end: ends the process; called once, with the loop's name and what is wrong.
    """

    def __init__(
        self, loops: Sequence[Progress], limit_s: float, end: Callable[[str, Exception], None]
    ) -> None:
        self._loops, self._limit_s, self._end = loops, limit_s, end
        self._seen = [-1] * len(loops)
        self.stalled_s = [0.0] * len(loops)

    def start(self) -> None:
        """Look from now on, in a thread that ends with the process."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def look(self) -> None:
        """One look."""
        for number, loop in enumerate(self._loops):
            still = loop.marks == self._seen[number] and loop.expected()
            self.stalled_s[number] = self.stalled_s[number] + LOOK_S if still else 0.0
            self._seen[number] = loop.marks
            if self.stalled_s[number] >= self._limit_s:
                seconds = self.stalled_s[number]
                self._end(loop.role, Stalled(f"made no progress for {seconds:g} s"))

    def problems(self) -> list[str]:
        """Loops that have been stuck for half the limit: no longer healthy, not yet ended."""
        return [
            f"{loop.role}: made no progress for {seconds:g} s"
            for loop, seconds in zip(self._loops, self.stalled_s, strict=True)
            if seconds >= self._limit_s / 2
        ]

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_S):
            self.look()
