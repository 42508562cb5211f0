"""Server processes that cannot outlive the process that started them."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from streams.errors import StreamsError

# Beside the server waits a reader of a pipe that only the parent holds: it closes when the parent
# ends, however it ends (also by SIGKILL), and the server is then told to stop. The shell itself
# waits for the server, so that it is gone when the server is, and hands on how it ended. A signal
# at the parent's death (prctl) would be Linux only and tied to one thread.
_KEEPER = """
log=$1; shift
trap '' XFSZ  # a limit on the size of files is an error to the server, as a full disk is, not its end
"$@" >>"$log" 2>&1 </dev/null &
server=$!
echo "$server"
exec 3<&0 >/dev/null
{ read -r _ <&3; kill -TERM "$server"; } &
reader=$!
wait "$server"
code=$?
kill -TERM "$reader"
exit "$code"
"""
_LOG_TAIL_BYTES = 2000


class ServerFailed(StreamsError):
    """A server did not start, or ended by itself; the message carries the end of its log."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Child:
    """One server process in a session of its own: Ctrl-C at the terminal reaches only its parent.

    Args:
        command: Program and arguments.
        log: File that gets the server's standard output and error (appended).
        environment: Environment of the server; this process's own when None.

    Attributes:
        pid: process id of the server.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "ehps-server", str(log), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
        )
        if self._shell.stdout is None:
            msg = "the server's shell has no output pipe"
            raise ServerFailed(msg)
        with self._shell.stdout as output:
            self.pid = int(output.readline())

    @property
    def code(self) -> int | None:
        """How the server ended: its exit code, 128 and more for a signal; None while it runs."""
        return self._shell.poll()

    def alive(self) -> bool:
        """Whether the server runs; once it does not, nothing of it is left behind."""
        if self.code is None:
            return True
        self._let_go()
        return False

    def ended(self) -> str | None:
        """How it ended, and the end of its log; None while it runs."""
        if self.alive():
            return None
        return f"it ended (code {self.code}); its log, {self.log}, ends:\n{self._said()}"

    def wait_ready(self, ready: Callable[[], bool], deadline_s: float) -> None:
        """Return once `ready()` says so.

        Raises:
            ServerFailed: The process ended, or `deadline_s` seconds passed, first.
        """
        deadline = time.monotonic() + deadline_s
        while not ready():
            if not self.alive() or time.monotonic() > deadline:
                reason = f"not ready after {deadline_s:g} s" if self.alive() else "it ended"
                self.kill()
                msg = f"the server did not start ({reason}); its log ends:\n{self._said()}"
                raise ServerFailed(msg)
            time.sleep(0.01)

    def stop(self, deadline_s: float = 15.0) -> None:
        """Ask the server to end (SIGTERM) and wait; SIGKILL after `deadline_s` seconds."""
        self._let_go()
        try:
            self._shell.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._let_go()
        self._shell.wait()

    def _let_go(self) -> None:
        if self._shell.stdin is not None:
            self._shell.stdin.close()

    def _said(self) -> str:
        with contextlib.suppress(OSError):
            return self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        return "(no log)"
