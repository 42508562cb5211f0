"""A blocking loop in a thread of its own, and how a process ends that must not go on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from streams.logs import described, logger

CRASH_CODE = 70
"""Exit code of a process that stops before it commits something wrong (sysexits: internal software error)."""
STOP_S = 10.0


class Loop:
    """Runs one blocking loop; a crash in it ends the process, so that nothing is half alive."""

    def __init__(self, name: str, run: Callable[[threading.Event], None]) -> None:
        """`run` returns soon after the flag it is given is set."""
        self._name, self._run, self._flag = name, run, threading.Event()
        self._thread = threading.Thread(target=self._guarded, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ask(self) -> None:
        """Take nothing more: only the batch in hand is done yet."""
        self._flag.set()

    def stop(self) -> None:
        """Let the batch in hand end, within a deadline."""
        self.ask()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    def _guarded(self) -> None:
        try:
            self._run(self._flag)
        except Exception as error:  # noqa: BLE001  (outermost: the process ends, uncommitted)
            crash(self._name, error)


def crash(name: str, error: BaseException) -> None:
    """End the process at once: its batch is not committed, and the next owner does it again."""
    logger().critical(f"{name}.crashed", **described(error))
    os._exit(CRASH_CODE)
