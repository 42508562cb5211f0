"""Topics as `schemas.topics` declares them: what a broker lacks, and making it so.

Only missing topics are created. A topic that exists with another partition count, cleanup policy or
retention is reported and never changed: the log's partition count is fixed for its life.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
    AdminClient,
    ConfigResource,
    NewTopic,
)

from schemas.topics import TOPICS, Topic
from streams.errors import BrokerUnavailable, StreamsError

REQUEST_S = 15.0
REPLICATION_WANTED = 3
"""Replicas of each topic where the cluster has that many brokers."""
_COMPARED = ("cleanup.policy", "retention.ms", "message.timestamp.type", "max.message.bytes")


class TopicsRefused(StreamsError):
    """The broker did not create a topic."""


class Change(NamedTuple):
    """What a topic needs: `create`, nothing (`ok`), or a person who looks (`differs`)."""

    topic: str
    action: str
    partitions: int
    detail: str


def plan(bootstrap: str, log_partitions: int, *, embedded: bool) -> list[Change]:
    """Compare the declared topics with those of the broker.

    Args:
        bootstrap: address of the broker.
        log_partitions: partitions of the log and of every topic that follows it.
        embedded: the broker cannot tell topic settings; partition counts are its own.

    Raises:
        BrokerUnavailable: nobody answers.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    held = _partitions(admin, bootstrap)
    there = [topic for topic in TOPICS if topic.name in held]
    settings = {} if embedded else _settings(admin, [topic.name for topic in there])
    changes = []
    for topic in TOPICS:
        wanted = topic.partitions or log_partitions
        if topic.name not in held:
            changes.append(Change(topic.name, "create", wanted, "does not exist"))
            continue
        detail = "" if embedded else _difference(topic, wanted, held[topic.name], settings)
        action = "differs" if detail else "ok"
        changes.append(Change(topic.name, action, held[topic.name], detail))
    return changes


def apply(bootstrap: str, changes: list[Change]) -> list[str]:
    """Create the topics that `plan` found missing; returns their names.

    Raises:
        TopicsRefused: the broker refuses one; those before it stay.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    brokers = len(admin.list_topics(timeout=REQUEST_S).brokers)
    replicas = min(REPLICATION_WANTED, max(brokers, 1))
    by_name = {topic.name: topic for topic in TOPICS}
    new = [
        NewTopic(
            change.topic,
            change.partitions,
            replicas,
            config=_config(by_name[change.topic], replicas),
        )
        for change in changes
        if change.action == "create"
    ]
    created = []
    for name, future in (
        admin.create_topics(new, request_timeout=REQUEST_S) if new else {}
    ).items():
        try:
            future.result()
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                msg = f"the broker at {bootstrap} refused topic {name}: {exc.args[0].str()}"
                raise TopicsRefused(msg) from exc
        created.append(name)
    return created


def _config(topic: Topic, replicas: int) -> dict[str, str]:
    return {**topic.config, "min.insync.replicas": "2" if replicas >= REPLICATION_WANTED else "1"}


def _partitions(admin: Any, bootstrap: str) -> dict[str, int]:
    try:
        metadata = admin.list_topics(timeout=REQUEST_S)
    except KafkaException as exc:
        msg = f"Kafka does not answer at {bootstrap}"
        raise BrokerUnavailable(msg) from exc
    return {
        name: len(topic.partitions)
        for name, topic in metadata.topics.items()
        if topic.error is None
    }


def _settings(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    """Settings of existing topics by name."""
    if not names:
        return {}
    asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    answers = admin.describe_configs(asked, request_timeout=REQUEST_S)
    return {
        resource.name: {name: entry.value for name, entry in future.result().items()}
        for resource, future in answers.items()
    }


def _difference(topic: Topic, wanted: int, held: int, settings: dict[str, dict[str, str]]) -> str:
    found = []
    if held != wanted:
        found.append(f"{held} partitions, not {wanted}")
    mine = settings.get(topic.name, {})
    found += [
        f"{name} is {mine.get(name)}, not {topic.config[name]}"
        for name in _COMPARED
        if name in topic.config and mine.get(name) != topic.config[name]
    ]
    return "; ".join(found)
