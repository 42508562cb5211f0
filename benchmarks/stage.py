"""One real broker and one real Redis for the whole run, and what is put on them before something is measured."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import redis
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.workload import Workload
from deploy.real import RealKafka, RealRedis
from schemas.topics import BY_NAME, agency_topic
from streams.config import Settings
from streams.kafka import producer, watermarks

PARTITIONS = 4
COMPRESSION = {"compression.type": "producer", "retention.ms": "-1"}
DEADLINE_S = 30.0


class Stage:
    """Broker, Redis and topics.

    Args:
        folder: logs and state folders of what is run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self._filled: dict[str, object] = {}

    def __enter__(self) -> Self:
        """Start both servers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.kafka = self._stack.enter_context(RealKafka())
        self.server = self._stack.enter_context(RealRedis())
        self.redis = redis.Redis.from_url(self.server.url, socket_timeout=120)
        self._admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap, "log_level": 2})
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them."""
        self.redis.close()
        self._stack.close()

    def settings(self, run: str) -> Settings:
        """Settings of a product's process: groups of its own for each run."""
        folder = self.folder / run
        folder.mkdir(parents=True, exist_ok=True)
        return Settings(
            kafka=self.kafka.bootstrap,
            redis=self.server.url,
            data_dir=folder,
            log_partitions=PARTITIONS,
            group_prefix=run,
        )

    def renew(self, *names: str) -> None:
        """Make topics empty: delete those that exist, create all, with the product's own settings where it has any."""
        held = self._admin.list_topics(timeout=DEADLINE_S).topics
        self._delete([name for name in names if name in held])
        new = []
        for name in names:
            config = dict(BY_NAME[name].config) if name in BY_NAME else COMPRESSION
            partitions = (BY_NAME[name].partitions if name in BY_NAME else None) or PARTITIONS
            new.append(NewTopic(name, partitions, 1, config=config))
            self._filled.pop(name, None)
        self._create(new)

    def _create(self, new: list[NewTopic]) -> None:
        """Create topics. One made or deleted a moment ago may be in the way, though the broker did not list it."""
        deadline = time.monotonic() + DEADLINE_S
        while new:
            answers = self._admin.create_topics(new, request_timeout=DEADLINE_S)
            held = []
            for topic in new:
                try:
                    answers[topic.topic].result()
                except KafkaException as error:
                    leaving = error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
                    if not leaving or time.monotonic() > deadline:
                        raise
                    held.append(topic)
            new = held
            self._delete([topic.topic for topic in new])

    def drop(self, prefix: str) -> None:
        """Delete every topic that a run left."""
        held = self._admin.list_topics(timeout=DEADLINE_S).topics
        self._delete([name for name in held if prefix in name])

    def _delete(self, names: list[str]) -> None:
        if not names:
            return
        for future in self._admin.delete_topics(names, request_timeout=DEADLINE_S).values():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
        deadline = time.monotonic() + DEADLINE_S
        while set(names) & self._admin.list_topics(timeout=DEADLINE_S).topics.keys():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the broker did not delete {', '.join(names)}")
            time.sleep(0.05)

    def holds(self, topic: str, content: object) -> bool:
        """Whether `fill` or `mark` last put exactly this there."""
        return self._filled.get(topic) == content

    def mark(self, topic: str, content: object) -> None:
        """Remember what a topic holds."""
        self._filled[topic] = content

    def events_topic(self, workload: Workload) -> str:
        """The topic of the one-hop job: the workload keyed by family. Filled the first time."""
        name = f"bench.events.{workload.events}.{workload.families}"
        if not self.holds(name, workload):
            self.renew(name)
            self.produce((name, None, sent.family.encode(), sent.value, ()) for sent in workload)
            self.mark(name, workload)
        return name

    def agency_topics(self, workload: Workload) -> list[str]:
        """The agencies' topics with the workload, keyed by person, filled the first time."""
        names = [name for name in BY_NAME if name.startswith("agency.")]
        if not self.holds("agency", workload):
            self.renew(*names)
            self.produce(
                (agency_topic(sent.source), None, sent.subject.encode(), sent.value, ())
                for sent in workload
            )
            self.mark("agency", workload)
        return names

    def produce(self, records: Iterable[tuple]) -> int:
        """Send (topic, partition or None, key, value, headers); returns how many once all are with the broker."""
        client, failed, count = producer(self.kafka.bootstrap), [], 0

        def delivered(error: KafkaError | None, _message: object) -> None:
            if error is not None:
                failed.append(error.str())

        for count, (topic, partition, key, value, headers) in enumerate(records, 1):
            place = {} if partition is None else {"partition": partition}
            while True:
                try:
                    client.produce(
                        topic, value, key, headers=list(headers), on_delivery=delivered, **place
                    )
                    break
                except BufferError:
                    client.poll(0.05)
            if count % 1000 == 0:
                client.poll(0)
        client.flush(DEADLINE_S)
        if failed or len(client):
            raise RuntimeError(
                f"the broker did not take the workload: {failed[:1] or 'time ran out'}"
            )
        return count

    def disk_bytes(self, *topics: str) -> int:
        """What the broker keeps of topics, compressed, without indexes."""
        return sum(
            path.stat().st_size
            for topic in topics
            for path in self.kafka.data.glob(f"{topic}-*/*.log")
        )

    def count(self, topic: str) -> int:
        """Records of a topic that a reader of committed records sees."""
        ends = watermarks(self.kafka.bootstrap, topic)
        reader = Consumer(
            {
                "bootstrap.servers": self.kafka.bootstrap,
                "group.id": "bench-count",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "log_level": 2,
            }
        )
        try:
            reader.assign([TopicPartition(topic, partition, 0) for partition in ends])
            found, open_partitions = 0, set(ends)
            deadline = time.monotonic() + DEADLINE_S
            while open_partitions and time.monotonic() < deadline:
                for message in reader.consume(10_000, 0.2):
                    if message.error() is None:
                        found += 1
                    elif message.error().code() == KafkaError._PARTITION_EOF:
                        open_partitions.discard(message.partition())
            return found
        finally:
            reader.close()
