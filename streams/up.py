"""One machine's EHPS: broker, Redis, topics and workers, started together and stopped together.

Servers and workers are children that cannot outlive this process, however it ends.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from schemas.control import ControlMessage
from schemas.topics import CONTROL, EMBEDDED_PARTITIONS, LOG
from streams.config import STACK_FILE, Settings
from streams.content import library as library_of
from streams.crashes import write_ended, write_started
from streams.errors import StreamsError
from streams.kafka import partitions_of
from streams.publish import publisher
from streams.redisclient import connect
from streams.registry import Registry
from streams.store import RedisStore
from streams.topicadmin import apply, plan

READY_DEADLINE_S = 60.0
RESTART_DELAY_S = (0.5, 30.0)
CALM_S = 60.0
"""A worker that ran this long is started again at once when it dies."""
Note = Callable[[str], None]


class StackFailed(StreamsError):
    """The stack did not come up, or one runs here already."""


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs: `segments` and `limitation` only with the embedded broker, `valkey` if embedded."""

    settings: Settings
    workers: Workers
    segments: Any = None
    limitation: str | None = None
    valkey: Any = None

    def tend(self) -> None:
        """Start again what may be; call it about once a second.

        Raises:
            StackFailed: the embedded Valkey ended, and with it every state.
        """
        self.workers.tend()
        if self.valkey is not None and (how := self.valkey.ended()) is not None:
            raise StackFailed(f"Valkey: {how}")


class Workers:
    """Worker processes, one for each set of roles; a dead one is started again.

    Args:
        settings: handed down as environment variables.
        roles: words of each `ehps worker` command.
        note: told of every worker that died.
    """

    def __init__(self, settings: Settings, roles: Sequence[Sequence[str]], note: Note) -> None:
        self._settings = settings
        self._note = note
        self._roles = [tuple(words) for words in roles]
        self._children: dict[tuple[str, ...], Any] = {}
        self._started: dict[tuple[str, ...], float] = {}
        self._delay: dict[tuple[str, ...], float] = {}
        self.restarts = 0

    def start(self) -> None:
        """Start all of them; they wait for their servers themselves."""
        for words in self._roles:
            write_started(log_of(self._settings.data_dir, words), datetime.now(UTC))
            self._start(words)

    def tend(self) -> None:
        """Start again what died; call it about once a second."""
        for words, child in list(self._children.items()):
            if child.alive():
                continue
            ran = time.monotonic() - self._started[words]
            shortest, longest = RESTART_DELAY_S
            delay = shortest if ran > CALM_S else min(self._delay.get(words, shortest), longest)
            if ran < delay:
                continue
            self._delay[words] = delay * 2
            self.restarts += 1
            self._tell(words, child.code)
            self._start(words)

    def stop(self) -> None:
        """Ask all to end; after its deadline a worker is killed."""
        for child in self._children.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)
        for child in self._children.values():
            child.stop()
        self._children.clear()

    def pids(self) -> list[int]:
        """Process ids, for tests and `doctor`."""
        return [child.pid for child in self._children.values()]

    def _start(self, words: tuple[str, ...]) -> None:
        command = [sys.executable, "-m", "streams.cli", "worker", *words]
        environment = {**os.environ, **self._settings.environment()}
        if self._settings.metrics_port:  # one port a worker, from the one given upwards
            port = self._settings.metrics_port + self._roles.index(words)
            environment["EHPS_METRICS_PORT"] = str(port)
        log = log_of(self._settings.data_dir, words)
        self._children[words] = _deploy("child").Child(command, log, environment)
        self._started[words] = time.monotonic()

    def _tell(self, words: tuple[str, ...], code: int) -> None:
        """Tell that a worker ended, here and in its log, which `doctor` reads."""
        log, role = log_of(self._settings.data_dir, words), " ".join(words)
        write_ended(log, code, datetime.now(UTC))
        self._note(f"worker {role} ended (code {code}); started again (log: {log})")


def log_of(data_dir: Path, words: Sequence[str]) -> Path:
    """The log of one worker of a stack."""
    return data_dir / f"worker-{'-'.join(words)}.log"


def _deploy(module: str) -> Any:
    """A module of `deploy`, by name: nothing else in `streams` may depend on how servers start."""
    return importlib.import_module(f"deploy.{module}")


@contextlib.contextmanager
def running(
    data_dir: Path,
    *,
    kafka: str | None,
    redis: str | None,
    workers: Sequence[Sequence[str]],
    note: Note,
) -> Iterator[Stack]:
    """A stack until the block ends: given servers, or embedded ones for those not given.

    Raises:
        StackFailed: a stack runs in this folder already.
    """
    _refuse_second(data_dir)
    data_dir.mkdir(parents=True, exist_ok=True)
    heard = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with ExitStack() as stack:
        stack.callback(_listen, heard)
        embedded = _deploy("embedded")
        valkey = None
        if redis is None:
            valkey = stack.enter_context(embedded.EmbeddedValkey(data_dir / "valkey"))
            redis = str(valkey.url)
        limitation, segments = None, None
        if kafka is None:
            broker = stack.enter_context(embedded.EmbeddedBroker())
            limitation, kafka_address = broker.limitation, str(broker.bootstrap)
            segments = stack.enter_context(embedded.Segments(kafka_address, data_dir / "segments"))
        else:
            kafka_address = kafka
        settings = _settings(data_dir, kafka_address, redis, segments)
        if kafka is not None:
            apply(kafka, plan(kafka, settings.log_partitions, embedded=False))
        folder = None if segments is None else segments.directory
        _deploy("stack").write_stack(
            data_dir, kafka=kafka_address, redis=redis, embedded=kafka is None, segments=folder
        )
        stack.callback(_deploy("stack").remove_stack, data_dir)
        children = Workers(settings, workers, note)
        stack.callback(children.stop)
        # A second Ctrl-C must not interrupt the stopping of children.
        stack.callback(_listen, dict.fromkeys(heard, signal.SIG_IGN))
        children.start()
        yield Stack(settings, children, segments, limitation, valkey)


def _settings(data_dir: Path, kafka: str, redis: str, segments: Any) -> Settings:
    given: dict[str, Any] = {"kafka": kafka, "redis": redis, "data_dir": data_dir}
    if segments is None:
        return Settings(**given, embedded=False)
    return Settings(
        **given,
        embedded=True,
        segments=segments.directory.resolve(),
        log_partitions=EMBEDDED_PARTITIONS,
    )


def _refuse_second(data_dir: Path) -> None:
    path = data_dir / STACK_FILE
    try:
        pid = int(json.loads(path.read_text())["pid"])
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError):
        return
    msg = f"a stack runs here already (process {pid}, {path}): stop it, or set EHPS_DATA_DIR"
    raise StackFailed(msg)


def _listen(handlers: Mapping[signal.Signals, Any]) -> None:
    """How the process takes these signals from here on."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


def interrupt_on_signals() -> None:
    """Make SIGTERM end the process as Ctrl-C does: through every `with` and `finally`.

    A shell without job control starts background processes with Ctrl-C ignored: that is undone too.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def set_live(stack: Stack, la: str, deadline_s: float = READY_DEADLINE_S) -> None:
    """Put the packaged content in force in an authority, live, and wait until scorers have it.

    An authority that was set up before keeps what is in force.

    Raises:
        StackFailed: the workers did not take it in time.
    """
    client = connect(stack.settings.redis)
    registry = Registry(client)
    if la not in registry.authorities():
        control = library_of(stack.settings.content).default_control(
            la, datetime.now(UTC).replace(microsecond=0)
        )
        sender = publisher(stack.settings)
        message = ControlMessage(control=control).model_dump_json(exclude_none=True)
        sender.send(CONTROL, la.encode(), message.encode())
        sender.flush()
    store, deadline = RedisStore(client), time.monotonic() + deadline_s
    partitions = partitions_of(stack.settings.kafka, LOG)
    while not (la in registry.authorities() and all(store.offset(p) for p in range(partitions))):
        stack.workers.tend()
        if time.monotonic() > deadline:
            msg = (
                f"the workers were not ready after {deadline_s:g} s; "
                f"their logs are in {stack.settings.data_dir}"
            )
            raise StackFailed(msg)
        time.sleep(0.05)
