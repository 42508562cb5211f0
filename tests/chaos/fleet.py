"""Real servers and worker processes that are hurt on purpose, and a supervisor that starts again what died."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import redis

from deploy.child import Child
from deploy.real import RealKafka, RealRedis
from deploy.redis_cluster import RealRedisCluster
from streams.config import Settings
from streams.redisclient import ERRORS, client_of

LOG_PARTITIONS = 4
RESTART_DELAY_S = 0.5
TEND_EVERY_S = 0.1
RETURN_S = 60.0
SCORERS_MAX = 4


class Worker:
    """One worker process, of a name: its successor writes into the same log."""

    def __init__(self, name: str, command: Sequence[str], log: Path, settings: Settings) -> None:
        self.name, self._command, self._log, self._settings = name, command, log, settings
        self.child: Child | None = None
        self._ended_at = 0.0
        self.restarts = -1
        self.paused = False

    def tend(self) -> None:
        """Start it, or start it again a moment after it died."""
        if self.child is not None and self.child.alive():
            return
        if self.child is not None:
            self.child, self._ended_at = None, time.monotonic()
        if time.monotonic() - self._ended_at >= RESTART_DELAY_S:
            environment = {**os.environ, **self._settings.environment()}
            self.child = Child(self._command, self._log, environment)
            self.restarts += 1
            self.paused = False

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child.pid, number)
            self.paused = number == signal.SIGSTOP

    def end(self) -> None:
        """End it in order."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if self.child is not None:
            self.child.stop(30)


class Fleet:
    """A broker, a Redis, intake and scorers.

    Args:
        folder: everything is kept here.
        say: told what is done, one line each.
        cluster: whether Redis is a cluster of three masters, each with a replica.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], *, cluster: bool = False) -> None:
        self.folder, self.say = folder, say
        self.kafka = RealKafka(folder / "kafka")
        self.redis = (RealRedisCluster if cluster else RealRedis)(folder / "redis")
        self.workers: dict[str, Worker] = {}
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="supervisor", daemon=True)
        self._ended_restarts = 0
        self.settings = Settings()

    @property
    def restarts(self) -> int:
        """Workers that the supervisor has started again so far."""
        return self._ended_restarts + sum(worker.restarts for worker in self.workers.values())

    def start(self) -> None:
        """Servers, topics, one intake and two scorers."""
        self.kafka.start()
        self.redis.start()
        self.settings = Settings(
            kafka=self.kafka.bootstrap,
            redis=self.redis.url,
            data_dir=self.folder,
            log_partitions=LOG_PARTITIONS,
            sweep_s=2.0,
            heartbeat_s=300.0,
            batch_records=200,
        )
        environment = {**os.environ, **self.settings.environment()}
        words = [sys.executable, "-m", "streams.cli", "topics", "apply"]
        subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)
        self.scale(1, "intake")
        self.scale(2, "scorer")
        self._thread.start()

    def scale(self, count: int, role: str = "scorer") -> None:
        """Have so many workers of a role: a rebalance."""
        with self._lock:
            have = sorted(name for name in self.workers if name.startswith(role))
            for name in have[count:]:
                self._remove(name)
            for number in range(1, count + 1):
                if f"{role}-{number}" not in self.workers:
                    self.add(f"{role}-{number}", ["-m", "streams.cli", "worker", role])

    def add(self, name: str, words: Sequence[str], **environment: str) -> None:
        """One more process under the supervisor."""
        settings = Settings(**{**dict(self.settings), **environment})
        worker = Worker(name, [sys.executable, *words], self.folder / f"{name}.log", settings)
        with self._lock:
            self.workers[name] = worker
            worker.tend()

    def remove(self, name: str) -> None:
        """End a process in order and forget it."""
        with self._lock:
            self._remove(name)

    def _remove(self, name: str) -> None:
        worker = self.workers.pop(name)
        worker.end()
        self._ended_restarts += worker.restarts

    def wake(self) -> None:
        """Nothing stays paused, and no server stays away."""
        for worker in self.workers.values():
            worker.signal(signal.SIGCONT)
        self.kafka.start()
        self.redis.start()

    @contextlib.contextmanager
    def paused(self, pid: int) -> Iterator[None]:
        """A process that stands still until the block ends."""
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def keep_redis(self) -> None:
        """Keep a copy of Redis's files as they are now."""
        shutil.rmtree(self.folder / "redis-before", ignore_errors=True)
        with self.client() as client:
            while client.info("persistence")["aof_rewrite_in_progress"]:
                time.sleep(0.05)
        shutil.copytree(self.folder / "redis", self.folder / "redis-before")

    def put_redis_back(self) -> None:
        """Redis as it was when its files were kept."""
        self.redis.kill()
        shutil.rmtree(self.folder / "redis")
        shutil.copytree(self.folder / "redis-before", self.folder / "redis")
        self.redis.start()

    def client(self) -> redis.Redis:
        """A client of Redis."""
        return client_of(self.redis.url, 30)

    def ask(self, do: Callable[[redis.Redis], object]) -> None:
        """Have something done by Redis, which a fault may just have taken away: it comes back by itself."""
        deadline = time.monotonic() + RETURN_S
        while True:
            try:
                with self.client() as client:
                    do(client)
                    return
            except ERRORS:
                if time.monotonic() > deadline:
                    raise
                time.sleep(TEND_EVERY_S)

    def stop(self) -> None:
        """End everything."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)
        for worker in self.workers.values():
            worker.signal(signal.SIGCONT)
            if worker.child is not None:
                worker.child.kill()
        self.kafka.stop()
        self.redis.stop()

    def _tend(self) -> None:
        while not self._stop.wait(TEND_EVERY_S):
            with self._lock:
                for worker in self.workers.values():
                    worker.tend()
