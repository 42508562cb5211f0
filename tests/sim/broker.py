"""A broker in memory: topics, offsets, groups that rebalance, producers whose records travel for a while."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from schemas.topics import LINKS, LOG, TOPICS
from streams.errors import BrokerUnavailable
from streams.kafka import ANY_PARTITION
from streams.patience import Clock
from streams.segments import Record

if TYPE_CHECKING:
    from tests.sim.world import World

Place = tuple[str, int]
LOG_PARTITIONS = 2
"""Few: what one partition does not show, two do."""


class Message(NamedTuple):
    """A record as confluent-kafka hands it out: by methods."""

    record: Record

    def topic(self) -> str:
        return self.record.topic

    def partition(self) -> int:
        return self.record.partition

    def offset(self) -> int:
        return self.record.offset

    def key(self) -> bytes | None:
        return self.record.key

    def value(self) -> bytes | None:
        return self.record.value

    def headers(self) -> list[tuple[str, bytes]]:
        return self.record.headers

    def timestamp(self) -> tuple[int, int]:
        return 1, self.record.timestamp_ms

    def error(self) -> None:
        return None


class Broker:
    """Never fails itself: what fails is the way to it and back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.topics: dict[str, list[list[Record]]] = {
            topic.name: [[] for _ in range(LOG_PARTITIONS if topic.name in (LOG, LINKS) else 1)]
            for topic in TOPICS
        }
        self.groups: dict[str, Group] = {}

    def append(self, topic: str, partition: int, sent: Sent) -> None:
        log = self.topics[topic][partition]
        now_ms = int(self._clock().timestamp() * 1000)
        log.append(Record(topic, partition, len(log), now_ms, sent.key, sent.value, sent.headers))

    def partition_of(self, topic: str, key: bytes | None) -> int:
        return zlib.crc32(key or b"") % len(self.topics[topic])

    def records(self, topic: str) -> list[Record]:
        return [record for partition in self.topics[topic] for record in partition]

    def group(self, name: str) -> Group:
        return self.groups.setdefault(name, Group())


class Group:
    """A consumer group: who owns what since which generation, and what was told."""

    def __init__(self) -> None:
        self.generation = 0
        self.members: list[Consumer] = []
        self.told: dict[Place, int] = {}

    def rebalance(self, world: World) -> None:
        """Deal the partitions out anew. Members hear of it when they next read: until then they are zombies."""
        self.generation += 1
        for member in self.members:
            member.offered = []
        if self.members:
            for topic in self.members[0].topics:
                for partition in range(len(world.broker.topics[topic])):
                    world.random.choice(self.members).offered.append((topic, partition))

    def leave(self, member: Consumer, world: World) -> None:
        if member in self.members:
            self.members.remove(member)
            self.rebalance(world)


class Consumer:
    """The port `Reader`."""

    def __init__(self, world: World, group: str) -> None:
        self.world, self.group = world, world.broker.group(group)
        self.topics: list[str] = []
        self.offered: list[Place] = []
        self._generation = -1
        self._at: dict[Place, int] = {}
        self._on_assign: Callable[..., None] | None = None

    def subscribe(self, topics: list[str], on_assign: Callable[..., None] | None = None) -> None:
        self.topics, self._on_assign = topics, on_assign

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        return self.world.call(lambda: self._consume(num_messages))

    def _consume(self, count: int) -> list[Message]:
        """Join or hear of a rebalance first, then read from partitions in any order, a bit of each."""
        if self not in self.group.members:
            self.group.members.append(self)
            self.group.rebalance(self.world)
        if self._generation != self.group.generation:
            self._generation = self.group.generation
            places = [TopicPartition(*place) for place in self.offered]
            self._at = {}
            if self._on_assign is not None:
                self._on_assign(self, places)
            if not self._at:  # as the real one: a callback need not assign
                self.assign(places)
        found: list[Message] = []
        places = self.world.shuffled(self._at)
        for topic, partition in places:
            at = self._at[topic, partition]
            log = self.world.broker.topics[topic][partition]
            take = min(count - len(found), len(log) - at)
            if take > 0:
                take = self.world.random.randint(1, take)
                found += [Message(record) for record in log[at : at + take]]
                self._at[topic, partition] = at + take
        return found

    def assign(self, partitions: list[TopicPartition]) -> None:
        for at in partitions:
            place = (at.topic, at.partition)
            offset = at.offset if at.offset >= -2 else self.group.told.get(place, 0)
            self._at[place] = max(offset, 0)

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(*place) for place in sorted(self._at)]

    def seek(self, partition: TopicPartition) -> None:
        if (partition.topic, partition.partition) not in self._at:
            raise KafkaException(KafkaError(KafkaError._STATE))
        self._at[partition.topic, partition.partition] = partition.offset

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        self.world.call(lambda: self._commit(offsets), lost=_timed_out)

    def _commit(self, offsets: list[TopicPartition]) -> None:
        if self._generation != self.group.generation or self not in self.group.members:
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
        self.group.told |= {(at.topic, at.partition): at.offset for at in offsets}

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        def answer() -> list[TopicPartition]:
            told = self.group.told
            return [
                TopicPartition(at.topic, at.partition, told.get((at.topic, at.partition), -1001))
                for at in partitions
            ]

        return self.world.call(answer, lost=_timed_out)

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        log = self.world.broker.topics[partition.topic][partition.partition]
        return self.world.call(lambda: (0, len(log)), lost=_timed_out)

    def close(self) -> None:
        self.group.leave(self, self.world)

    def behind(self) -> bool:
        """Whether it owns records that the group was not told to be done."""
        logs = self.world.broker.topics
        return any(self.group.told.get(at, 0) < len(logs[at[0]][at[1]]) for at in self.offered)


def _timed_out() -> Exception:
    return KafkaException(KafkaError(KafkaError._TIMED_OUT))


def _no_answer() -> Exception:
    return BrokerUnavailable("no answer")


class Sent(NamedTuple):
    """A record on its way."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    report: Callable[[KafkaError | None, Any], None]


class Producer:
    """What `streams.kafka.Sender` wraps. Order holds within a partition; partitions are not in step."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ways: dict[Place, deque[Sent]] = {}
        self._reports: list[tuple[Sent, KafkaError | None]] = []
        world.producers.append(self)

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: str | bytes | None,
        partition: int,
        on_delivery: Callable[[KafkaError | None, Any], None],
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        raw = key.encode() if isinstance(key, str) else key
        if partition == ANY_PARTITION:
            partition = self.world.broker.partition_of(topic, raw)
        way = self.ways.setdefault((topic, partition), deque())
        way.append(Sent(raw, value, list(headers), on_delivery))

    def poll(self, timeout: float) -> None:
        reports, self._reports = self._reports, []
        for sent, error in reports:
            sent.report(error, None)

    def flush(self, timeout: float) -> int:
        """Every record arrives or fails. `flush` itself says nothing of failures, as the real one."""
        self.world.call(self._arrive)
        self.poll(0)
        return 0

    def _arrive(self) -> None:
        for place in list(self.ways):
            if self.world.chance("delivery_failed"):
                self.travel(place, self.world.random.randint(0, len(self.ways[place])))
                way = self.ways.pop(place, ())
                error = KafkaError(KafkaError._MSG_TIMED_OUT)
                arrived = self.world.random.random() < 0.5  # the failure may lie on the way back
                for sent in way:
                    if arrived:
                        self.world.broker.append(*place, sent)
                    self._reports.append((sent, error))
            else:
                self.travel(place, len(self.ways[place]))

    def travel(self, place: Place, count: int) -> None:
        """The first `count` records of a way reach the broker."""
        way = self.ways.get(place, deque())
        for _ in range(min(count, len(way))):
            sent = way.popleft()
            self.world.broker.append(*place, sent)
            if self.world.chance("duplicated"):
                self.world.broker.append(*place, sent)
            self._reports.append((sent, None))
        if not way:
            self.ways.pop(place, None)


class Topics:
    """The port of the same name."""

    def __init__(self, world: World, agents_group: str) -> None:
        self.world, self._agents = world, world.broker.group(agents_group)

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterable[Record]:
        log = self.world.broker.topics[topic][partition]
        return self.world.call(lambda: log[start:end], lost=_no_answer)

    def watermarks(self, topic: str) -> Mapping[int, tuple[int, int]]:
        logs = self.world.broker.topics[topic]
        return self.world.call(
            lambda: {number: (0, len(log)) for number, log in enumerate(logs)}, lost=_no_answer
        )

    def finished(self, topic: str) -> Mapping[int, int]:
        numbers = range(len(self.world.broker.topics[topic]))
        told = self._agents.told
        return self.world.call(
            lambda: {number: told.get((topic, number), -1001) for number in numbers},
            lost=_no_answer,
        )
