"""Writes every topic of the embedded broker to disk before the broker drops it."""

import errno
import logging
import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AdminClient,
    ClusterMetadata,
    OffsetSpec,
)

from streams.errors import StreamsError
from streams.segments import MAGIC, TOPIC_NAME, encode_record, segment_path
from streams.throttle import SEGMENTS_GROUP

BATCH_RECORDS_MAX = 5_000
DISCOVER_EVERY_S = 0.5
"""How often topics that did not exist at the start are looked for."""

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the package does not type it
_POLL_S = 0.1
_REQUEST_TIMEOUT_S = 5.0
_ROOM_S = 0.5
_PRIVATE = 0o700
"""Segments hold every message as it was sent: nobody else on this machine may read them."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Of the disk, of what one user may have on it, or of what one file may hold."""
_PASSING = {KafkaError._PARTITION_EOF, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}


class SegmentsIncomplete(StreamsError):
    """The archiver missed records, or could not write them."""


class Segments:
    """A thread that copies each partition, from offset 0, to `<directory>/<topic>/<partition>.seg`.

    Partitions are assigned, not subscribed: no group, no rebalancing. Positions are committed under
    `ehps-segments` after the bytes are with the operating system, so that
    `streams.throttle.Throttle` sees how far the archive is.

    The embedded broker starts empty each time, so offsets start again at 0: segments of the run
    before are moved to `<directory>.previous`, and those of the run before that are deleted. Only the
    user who runs it can read either folder.

    Args:
        bootstrap: Address of the embedded broker.
        directory: Folder of the segments.

    Attributes:
        problem: Why it stopped, None while it runs.
        waits_for: What keeps it waiting now, as a sentence; None while it writes.
    """

    def __init__(self, bootstrap: str, directory: Path) -> None:
        self.directory = directory
        self.problem: str | None = None
        self.waits_for: str | None = None
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": SEGMENTS_GROUP,
                "enable.auto.commit": False,
                # A position that is gone is a loss, never a place to jump from.
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 20,
                "fetch.queue.backoff.ms": 5,
                "log_level": 2,
            }
        )
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
        self._next: dict[tuple[str, int], int] = {}
        self._files: dict[tuple[str, int], BinaryIO] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ehps-segments", daemon=True)

    def start(self) -> Self:
        """Put earlier segments aside, find the topics and start the thread."""
        if self.directory.exists():
            previous = self.directory.with_name(f"{self.directory.name}.previous")
            shutil.rmtree(previous, ignore_errors=True)
            self.directory.rename(previous)
            previous.chmod(_PRIVATE)  # one of before may be open to others
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        self.directory.mkdir(_PRIVATE)
        self._discover()
        self._thread.start()
        return self

    def check(self) -> None:
        """Raise if records were missed.

        Raises:
            SegmentsIncomplete: What happened, and where.
        """
        if self.problem is not None:
            raise SegmentsIncomplete(self.problem)

    def drain(self, deadline_s: float = 10.0) -> None:
        """Wait until everything produced so far is on disk.

        Raises:
            SegmentsIncomplete: It was not after `deadline_s` seconds, or records were missed.
        """
        deadline = time.monotonic() + deadline_s
        ends = self._ends(deadline_s)
        while behind := [at for at, end in ends.items() if self._next.get(at, 0) < end]:
            self.check()
            if time.monotonic() > deadline or not self._thread.is_alive():
                msg = self.waits_for or (
                    f"the archive did not reach the end of {behind[0]} within {deadline_s:g} s"
                )
                raise SegmentsIncomplete(msg)
            time.sleep(0.005)
        self.check()

    def close(self) -> None:
        """Write what is there already, stop the thread and close the files."""
        if self._thread.is_alive():
            try:
                self.drain()
            except (SegmentsIncomplete, KafkaException) as exc:
                _LOG.warning("segments.incomplete %s", exc)
            self._stop.set()
            self._thread.join()
        self._consumer.close()
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _run(self) -> None:
        discover_at = time.monotonic() + DISCOVER_EVERY_S
        try:
            while not self._stop.is_set():
                first = self._consumer.consume(1, _POLL_S)
                # A large batch with a timeout would wait for the whole batch; with none it takes
                # what is there.
                rest = self._consumer.consume(BATCH_RECORDS_MAX - 1, 0) if first else []
                if first:
                    self._write([*first, *rest])
                if time.monotonic() > discover_at:
                    self._discover()
                    discover_at = time.monotonic() + DISCOVER_EVERY_S
        except (SegmentsIncomplete, KafkaException, OSError) as exc:
            self.problem = f"segments stopped: {exc}"
            _LOG.exception("segments.stopped")

    def _discover(self) -> None:
        metadata = self._consumer.list_topics(timeout=_REQUEST_TIMEOUT_S)
        found = [at for at in _places(metadata) if at not in self._next]
        for name, number in found:
            path = segment_path(self.directory, name, number)
            self._files[name, number] = self._with_room(partial(_open, path))
            self._append((name, number), MAGIC)
            self._next[name, number] = 0
        if found:
            self._consumer.incremental_assign([TopicPartition(*at, 0) for at in found])

    def _write(self, messages: list[Message]) -> None:
        frames: dict[tuple[str, int], list[bytes]] = defaultdict(list)
        ends: dict[tuple[str, int], int] = {}
        for message in messages:
            if (error := message.error()) is not None:
                if error.code() in _PASSING:
                    continue
                msg = f"{message.topic()} [{message.partition()}]: {error.str()}"
                raise SegmentsIncomplete(msg)
            at, offset = _place(message)
            expected = ends.get(at, self._next[at])
            if offset != expected:
                msg = f"{at[0]} [{at[1]}]: records {expected} to {offset - 1} were dropped"
                raise SegmentsIncomplete(msg)
            frames[at].append(
                encode_record(
                    offset,
                    message.timestamp()[1],
                    message.key(),
                    message.value(),
                    message.headers() or [],  # type: ignore[arg-type]  # always a list when consumed
                )
            )
            ends[at] = offset + 1
        for at, parts in frames.items():
            self._append(at, b"".join(parts))
        if ends:
            positions = [TopicPartition(*at, end) for at, end in ends.items()]
            self._consumer.commit(offsets=positions, asynchronous=False)
            self._next.update(ends)

    def _append(self, at: tuple[str, int], content: bytes) -> None:
        """All of it or nothing."""
        file = self._files[at]
        end = file.seek(0, os.SEEK_END)

        def write() -> None:
            view = memoryview(content)
            try:
                while view:
                    view = view[file.write(view) :]
            except OSError:
                file.truncate(end)
                raise

        self._with_room(write)

    def _with_room(self, write: Callable[[], T]) -> T:
        """A full disk is waited for: meanwhile nothing is committed, so that producers wait too."""
        while True:
            try:
                written = write()
            except OSError as error:
                self._wait_for_room(error)
            else:
                self.waits_for = None
                return written

    def _wait_for_room(self, error: OSError) -> None:
        """Wait a little; gives up where waiting does not help, or nobody waits any more."""
        if error.errno not in _FULL or self._stop.is_set():
            raise error
        if self.waits_for is None:
            self.waits_for = (
                f"the disk of {self.directory} is full ({error.strerror}): records wait in the broker, "
                "and all goes on by itself once there is room"
            )
            _LOG.warning("segments.waits %s", self.waits_for)
        self._stop.wait(_ROOM_S)

    def _ends(self, deadline_s: float) -> dict[tuple[str, int], int]:
        # Through a client of its own: two threads in one Consumer can wait for each other for ever.
        places = _places(self._admin.list_topics(timeout=_REQUEST_TIMEOUT_S))
        answers = self._admin.list_offsets(
            {TopicPartition(*at): _LATEST for at in places}, request_timeout=deadline_s
        )
        return {(at.topic, at.partition): end.result().offset for at, end in answers.items()}

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def _open(path: Path) -> BinaryIO:
    path.parent.mkdir(exist_ok=True)
    return path.open("ab", buffering=0)


def _places(metadata: ClusterMetadata) -> list[tuple[str, int]]:
    """Topic and partition of everything to archive."""
    return [
        (name, number)
        for name, topic in metadata.topics.items()
        if TOPIC_NAME.fullmatch(name) and not name.startswith("__")
        for number in topic.partitions
    ]


def _place(message: Message) -> tuple[tuple[str, int], int]:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        msg = "the client delivered a record without topic, partition or offset"
        raise SegmentsIncomplete(msg)
    return (topic, partition), offset
