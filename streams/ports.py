"""Ports: what the shell's logic asks of Kafka and Redis. Workers pass the real clients in, the simulation its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from confluent_kafka import Message, TopicPartition

from ehps.advance import Needs, Snapshot, Step
from streams.segments import Record


class Reader(Protocol):
    """A consumer in a group: `confluent_kafka.Consumer`."""

    def subscribe(self, topics: list[str], on_assign: Callable[..., None] = ...) -> None:
        """Join the group; `on_assign(reader, places)` is called from within `consume`."""

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        """Up to so many messages, waiting `timeout` seconds at most."""

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Take partitions over, each from its offset."""

    def assignment(self) -> list[TopicPartition]:
        """Partitions owned now."""

    def seek(self, partition: TopicPartition) -> None:
        """Go on at another offset."""

    def commit(self, *, offsets: list[TopicPartition], asynchronous: Any) -> Any:
        """Tell the group what is done."""

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """What the group was told."""

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        """(first offset kept, next offset)."""

    def close(self) -> None:
        """Leave the group."""


class Write(NamedTuple):
    """What a batch of one partition leaves, for a store that stands at `expected`."""

    partition: int
    expected: int
    step: Step
    guard: bytes


Certain = Callable[[Collection[str]], None]
"""Returns if none of these authorities was ever set up, or raises `LookupsLost`: `streams.unknown.Unknown.require`."""


class States(Protocol):
    """States of the log's partitions: `streams.store.RedisStore`."""

    def read(self, wanted: Mapping[int, Needs]) -> dict[int, Snapshot]:
        """Everything that a batch of each partition needs, atomically for each."""

    def commit(self, writes: Sequence[Write]) -> None:
        """Compare each one's offset and set everything of it; `Conflict` where one stood elsewhere."""

    def standing(self, partition: int) -> tuple[int, dict[str, Any] | None]:
        """(next offset, guard), read atomically."""


class Stretch(NamedTuple):
    """A stretch of one partition of a topic: start <= offset < end."""

    topic: str
    partition: int
    start: int
    end: int


PARKED_AT_ONCE = 1000
"""Parked events read in one call."""


class Link(NamedTuple):
    """Who belongs to which family; `family` None: to none."""

    subject: str
    version: str
    family: str | None

    @property
    def order(self) -> tuple[str, str]:
        """Of two links of a person the greater counts, wherever they meet: version, then family."""
        return self.version, self.family or ""


class Parked(NamedTuple):
    """An event of a person without a family."""

    subject: str
    coordinates: str
    record: bytes


class Lookups(Protocol):
    """What intake looks up: `streams.registry.Registry`."""

    def families_of(self, subjects: list[str]) -> list[str | None]:
        """Family keys, None where no link is known."""

    def look_up(self, subjects: list[str]) -> tuple[dict[str, str], list[str | None]]:
        """`served` and `families_of`."""

    def links(self, subjects: list[str], stretch: Stretch) -> list[Link | None]:
        """The greatest link of each person (None: never linked), or `Conflict` where Redis stands before `stretch`."""

    def positions(self, topic: str) -> Mapping[int, int]:
        """Partition -> the offset of the topic up to which Redis holds what it says."""

    def learn(
        self, stretch: Stretch, links: Sequence[Link] = (), parked: Sequence[Parked] = ()
    ) -> None:
        """Hold what a stretch of a topic says, or raise `Conflict` where Redis stands before it."""

    def parked(self, subjects: list[str]) -> dict[str, dict[str, bytes]]:
        """Parked events by coordinates, of those people who have any: `PARKED_AT_ONCE` events in all at most."""

    def unpark(self, subject: str, coordinates: list[str]) -> None:
        """Forget parked events."""

    def parked_subjects(self) -> list[str]:
        """People with parked events."""

    def authorities(self) -> dict[str, str]:
        """Authority -> mode."""

    def served(self) -> dict[str, str]:
        """The same, or `LookupsLost` where one may be missing."""

    def whole(self) -> bool:
        """Whether none is missing."""

    def mark_whole(self, modes: Mapping[str, str]) -> None:
        """These are all authorities: none is missing from now on."""

    def doubt(self) -> None:
        """One may be missing, until they are marked whole again."""

    def set_authority(self, la: str, mode: str) -> None:
        """Take the authority's events from now on."""

    def note_control(self, la: str, name: str, control: bytes) -> None:
        """A control that is on the log, by its id."""

    def controls(self, la: str) -> dict[str, bytes]:
        """Controls that are in force or will be, by id."""

    def forget_controls(self, la: str, names: list[str]) -> None:
        """Controls that others have taken the place of."""

    def sign(self, la: str, signs: dict[str, int]) -> None:
        """Note signs of life."""

    def signs(self, la: str) -> dict[str, int]:
        """Last signs of life."""


class Topics(Protocol):
    """Reads topics again: `streams.kept.Kept`. Raises `BrokerUnavailable` where nobody answers."""

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterable[Record]:
        """Records with start <= offset < end that are still kept."""

    def watermarks(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Partition -> (first offset kept, next offset)."""

    def finished(self, topic: str) -> Mapping[int, int]:
        """Partition -> the offset up to which the agents have told their group that they are done."""
