"""The topic registry, as data: creation, access rules and the AsyncAPI document are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.events import SOURCES

LOG = "ehps.log.v1"
LINKS = "ehps.links.v1"
DECISIONS = "ehps.decisions.v1"
CONTROL = "ehps.control.v1"
ALERTS = "ehps.alerts.v1"
ALERTS_SHADOW = "ehps.alerts-shadow.v1"
SCORES = "ehps.scores.v1"
UNLINKED = "ehps.unlinked.v1"

LOG_PARTITIONS = 64
"""Partitions of the log: fixed for its life; another count is a new log, by replay."""
EMBEDDED_PARTITIONS = 4
"""Partitions on the embedded broker: its own number."""
FOREVER = -1
WEEK_MS = 7 * 86_400_000


SENT_BYTES_MAX = 1_048_588
"""Largest message that others may send (Kafka's own default). What is larger than a contract allows is refused."""
OWN_BYTES_MAX = 2 * SENT_BYTES_MAX
"""Largest record that intake writes: a copy of any message, with what intake says of it."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic.

    Args:
        partitions: None: as many as the log.
        retention_ms: -1 keeps for ever.
        key, value: what a record carries.
        writers, readers: roles that may; one principal a role.
    """

    name: str
    key: str
    value: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    partitions: int | None = None
    cleanup: Literal["delete", "compact"] = "delete"
    retention_ms: int = FOREVER

    @property
    def config(self) -> dict[str, str]:
        """Kafka's settings of the topic. LogAppendTime: an agency's old clock must not delete its records."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "message.timestamp.type": "LogAppendTime",
            "unclean.leader.election.enable": "false",
            "max.message.bytes": str(OWN_BYTES_MAX if "intake" in self.writers else SENT_BYTES_MAX),
        }


def agency_topic(source: str) -> str:
    """Where agencies of one kind send their events."""
    return f"agency.{source}.v1"


def dead_letter_topic(source: str) -> str:
    """Where their rejected messages go: one agency never sees another's bytes."""
    return f"ehps.dead-letter.{source}.v1"


def source_of(topic: str) -> str:
    """The kind of sender behind an input topic: police for agency.police.v1, links for ehps.links.v1."""
    return topic.split(".")[1]


_SENDERS = {
    **{source: (f"agency-{source}",) for source in SOURCES},
    "links": ("registry",),
    "decisions": ("console", "case-system"),
    "control": ("operator",),
}
"""Kind of sender -> roles that send, and so may read what of theirs was refused."""
INTERNAL_INPUTS = ("links", "decisions", "control")

TOPICS: tuple[Topic, ...] = (
    *(
        Topic(
            agency_topic(s),
            "subject",
            "CloudEvents event of the agency",
            _SENDERS[s],
            ("intake",),
            retention_ms=4 * WEEK_MS,
        )
        for s in SOURCES
    ),
    Topic(
        LINKS,
        "subject",
        "link.person or link.removed",
        _SENDERS["links"],
        ("intake",),
        cleanup="compact",
    ),
    Topic(DECISIONS, "family", "decision.made", _SENDERS["decisions"], ("intake",)),
    Topic(
        CONTROL, "authority", "control or heartbeat", _SENDERS["control"], ("intake",), partitions=1
    ),
    Topic(LOG, "family", "log record", ("intake", "operator"), ("scorer", "archiver", "operator")),
    Topic(ALERTS, "family", "Alert", ("scorer",), ("front-door", "console", "case-system")),
    Topic(ALERTS_SHADOW, "family", "Alert", ("scorer",), ("operator",)),
    Topic(
        SCORES, "family", "Score", ("scorer",), ("console", "operator"), retention_ms=4 * WEEK_MS
    ),
    Topic(
        UNLINKED,
        "subject",
        "event of a person without a family",
        ("intake",),
        ("intake", "operator"),
    ),
    *(
        Topic(
            dead_letter_topic(s),
            "as sent",
            "the bytes as sent",
            ("intake",),
            tuple(dict.fromkeys((*_SENDERS[s], "operator"))),
            retention_ms=13 * WEEK_MS,
        )
        for s in (*SOURCES, *INTERNAL_INPUTS)
    ),
)
AGENCY_TOPICS = tuple(agency_topic(s) for s in SOURCES)
BY_NAME = {topic.name: topic for topic in TOPICS}
