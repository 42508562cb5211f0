"""What can be wrong with a running system. Each check looks at one thing and names its cause, and what to do."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from ehps.log import RecordKind
from ehps.state import Partition
from schemas.control import Heartbeat
from schemas.topics import AGENCY_TOPICS, CONTROL, DECISIONS, LINKS, LOG, UNLINKED
from streams.config import Settings
from streams.crashes import WITHIN, crashes
from streams.deadletters import SOURCES, told
from streams.errors import LogMismatch
from streams.groups import Groups
from streams.guard import LogGuard
from streams.kafka import partitions_of
from streams.kept import Kept
from streams.logwriter import EHPS, NO_TIME
from streams.registry import LIVE, Registry
from streams.segments import Record
from streams.store import RedisStore
from streams.topicadmin import plan

LAG_RECORDS_MAX = 10_000
STUCK_S = 3.0
"""A partition with records waiting and no commit for so long, while doctor looks, is stuck."""
LOOP_TIMES_MIN = 2
"""A worker that ended once was started again, and all is well."""
CLOCK_S_MAX = 600.0
HEARTBEAT_S_MAX = 900.0
REFUSED_HOUR_MAX = 20
"""More refused messages in the last hour than this, from one kind of sender, are told as a problem."""
TAIL_RECORDS = 5_000
"""Newest records of a partition that are looked through."""
_REQUEST_S = 5.0
_DEALING = (
    ConsumerGroupState.PREPARING_REBALANCING,
    ConsumerGroupState.COMPLETING_REBALANCING,
)

Place = tuple[str, int]


class Finding(NamedTuple):
    """A cause by a constant name, what was seen, and what to do."""

    cause: str
    problem: str
    do: str


@dataclass(slots=True)
class Look:
    """One look at Kafka and Redis.

    Attributes:
        marks: topic -> partition -> (first offset kept, next offset).
        done: group -> place -> committed offset.
        at: monotonic seconds.
    """

    settings: Settings
    marks: dict[str, Mapping[int, tuple[int, int]]] = field(default_factory=dict)
    done: dict[str, dict[Place, int]] = field(default_factory=dict)
    at: float = 0.0

    def readers(self) -> dict[str, tuple[str, ...]]:
        """Group -> the topics that it reads."""
        return {
            self.settings.intake_group: AGENCY_TOPICS,
            self.settings.agents_group: (LINKS, DECISIONS, CONTROL, UNLINKED),
            self.settings.scorer_group: (LOG,),
        }

    def take(self) -> Look:
        """Look now: what is committed first, so that nothing seems to be ahead of its topic."""
        kept, groups = Kept(self.settings), Groups(self.settings.kafka)
        topics = [topic for topics in self.readers().values() for topic in topics]
        places = {topic: range(partitions_of(self.settings.kafka, topic)) for topic in topics}
        for group, names in self.readers().items():
            wanted = [(topic, partition) for topic in names for partition in places[topic]]
            self.done[group] = groups.committed(group, wanted)
        self.marks = {topic: kept.watermarks(topic) for topic in topics}
        self.at = time.monotonic()
        return self

    def behind(self) -> dict[tuple[str, str, int], int]:
        """(group, topic, partition) -> records that wait; only those that hold any."""
        return {
            (group, topic, partition): high - max(self.done[group].get((topic, partition), 0), low)
            for group, topics in self.readers().items()
            for topic in topics
            for partition, (low, high) in self.marks[topic].items()
            if high > low
        }


def topics(settings: Settings) -> Iterator[Finding]:
    """Topics that are missing, or other than declared."""
    partitions = partitions_of(settings.kafka, LOG) or settings.log_partitions
    changes = plan(settings.kafka, partitions, embedded=settings.embedded)
    missing = [change.topic for change in changes if change.action == "create"]
    if missing:
        what = f"{len(missing)} topics are missing, such as {missing[0]}"
        yield Finding("topics_missing", what, "ehps topics apply")
    for change in changes:
        if change.action == "differs":
            what = f"topic {change.topic} differs from what is declared: {change.detail}"
            yield Finding("topics_differ", what, "compare `ehps topics plan`, and mend the topic")


def members(look: Look) -> Iterator[Finding]:
    """Roles that nobody runs. The embedded broker cannot tell."""
    if look.settings.embedded:
        return
    client = AdminClient({"bootstrap.servers": look.settings.kafka, "log_level": 2})
    answers = client.describe_consumer_groups(list(look.readers()), request_timeout=_REQUEST_S)
    for group, answer in answers.items():
        role = "scorer" if group == look.settings.scorer_group else "intake"
        try:
            found = answer.result()
            count, deals = len(found.members), found.state in _DEALING
        except KafkaException:
            count, deals = 0, False
        if deals:
            what = f"{group} is dealing its partitions out: a {role} came, went, or stands still"
            do = "wait ten seconds, look again; a worker that stands still owns them until then"
            yield Finding("rebalancing", what, do)
        if not count:
            what = f"no {role} is running: group {group} has no members"
            yield Finding(f"no_{role}", what, f"start one: `ehps worker {role}`")


def crashing(settings: Settings) -> Iterator[Finding]:
    """Workers of this machine's stack that end again and again."""
    for one in crashes(settings.data_dir, datetime.now(UTC)):
        if one.times >= LOOP_TIMES_MIN:
            within = f"in the last {WITHIN.seconds // 60} minutes"
            what = f"{one.role} ended {one.times} times {within}, the last time: {one.why}"
            yield Finding("crashing", what, one.do)


def flow(before: Look, after: Look, known: Container[str] = ()) -> Iterator[Finding]:
    """Groups that are far behind, and partitions that do not move though records wait.

    Args:
        before, after: two looks.
        known: roles of which another finding says already why they do not move.
    """
    waiting = after.behind()
    for group in after.readers():
        total = sum(count for (owner, _, _), count in waiting.items() if owner == group)
        role = "scorer" if group == after.settings.scorer_group else "intake"
        if total > LAG_RECORDS_MAX:
            yield Finding(
                "behind", f"{group} is {total} records behind", f"start more `ehps worker {role}`"
            )
        still = [
            (topic, partition, count)
            for (owner, topic, partition), count in before.behind().items()
            if owner == group
            and count
            and after.done[group].get((topic, partition))
            == before.done[group].get((topic, partition))
        ]
        for topic, partition, count in still if role not in known else ():
            grown = after.marks[topic][partition][1] - before.marks[topic][partition][1]
            what = (
                f"{topic} partition {partition} is stuck: {count} records wait, {grown} more came, "
                f"and {group} finished none in {after.at - before.at:.0f} s"
            )
            do = (
                f"look again in twenty seconds, which the place of a {role} that ended may take; then look at "
                f"its log (`{role}.again` names a server; it ends itself when it hangs)"
            )
            yield Finding("stuck", what, do)


def states(look: Look, store: RedisStore, guard: LogGuard) -> Iterator[Finding]:
    """States that are behind what was committed, or of another log."""
    done = look.done[look.settings.scorer_group]
    behind = []
    for partition in look.marks[LOG]:
        offset, seal = store.standing(partition)
        committed = done.get((LOG, partition), 0)
        if offset < committed:
            behind.append(f"partition {partition} stands at {offset}, {committed} was committed")
            continue
        try:
            guard.check(partition, offset, seal)
        except LogMismatch as error:
            do = "point EHPS_KAFKA to the broker that the states were made from, or rebuild on an empty Redis"
            yield Finding("log_differs", f"partition {partition}: {error}", do)
    if behind:
        what = f"Redis went back, or was flushed: {behind[0]} ({len(behind)} partitions)"
        do = "nothing: scorers make up for it from the log, saying nothing twice; find out why Redis lost it"
        yield Finding("states_behind", what, do)


def owners(look: Look, store: RedisStore) -> Iterator[Finding]:
    """Scorers of another group that commit to the same states."""
    mine = look.settings.scorer_group
    seals = (store.guard(partition) or {} for partition in look.marks[LOG])
    others = Counter(group for seal in seals if (group := seal.get("group", mine)) != mine)
    for group, count in others.items():
        what = f"{count} partitions were last committed by {group}, not by {mine}: two owners"
        do = "nothing is wrong, but each refuses the other's work: run all scorers with one EHPS_GROUP_PREFIX"
        yield Finding("two_owners", what, do)


def lookups(look: Look, registry: Registry) -> Iterator[Finding]:
    """Links, parked events and authorities that Redis lost and that are not read again yet."""
    done = look.done[look.settings.agents_group]
    behind = [
        f"{topic} is held up to {held.get(partition, 0)}, {done.get((topic, partition), 0)} was finished"
        for topic in (CONTROL, LINKS, UNLINKED)
        for held in [registry.positions(topic)]
        for partition in look.marks[topic]
        if held.get(partition, 0) < done.get((topic, partition), 0)
    ]
    if behind:
        what = f"Redis went back, or was flushed: {behind[0]}"
        do = "nothing: an intake reads them again within a sweep; find out why Redis lost them"
        yield Finding("lookups_behind", what, do)


def authorities(held: Mapping[str, str], states_: list[Partition]) -> Iterator[Finding]:
    """Authorities that nothing is in force in, or whose clock stands still."""
    if not held:
        yield Finding(
            "no_authority", "no authority is set up: its events are refused", "ehps up --la CODE"
        )
    now = datetime.now(UTC).timestamp()
    for la, mode in sorted(held.items()):
        known = [state.authorities[la] for state in states_ if la in state.authorities]
        controls = {str((one.control or {}).get("id")) for one in known}
        if not known or controls == {"None"}:
            yield Finding(
                "no_control",
                f"{la}: no control is in force",
                "start a scorer: `ehps worker scorer`",
            )
        elif len(controls) > 1:
            what = f"{la}: partitions have different controls in force"
            yield Finding("two_controls", what, "wait a minute, look again")
        slowest = min((one.time for one in known), default=0)
        if mode == LIVE and known and now - slowest > HEARTBEAT_S_MAX:
            what = f"{la}: no heartbeat for {round((now - slowest) / 60)} minutes, so its log time stands still"
            do = "start an intake (it writes the heartbeats) and a scorer: `ehps worker intake scorer`"
            yield Finding("no_heartbeat", what, do)


def clock(settings: Settings, live: list[str]) -> Iterator[Finding]:
    """Whether the clock that writes heartbeats, and this one, agree with the broker's."""
    newest_ms = 0
    written: dict[str, tuple[float, int]] = {}
    for record in tail(settings, LOG, 0):
        newest_ms = max(newest_ms, record.timestamp_ms)
        compact = dict(record.headers).get(EHPS, b"")
        if compact and compact[0] == RecordKind.HEARTBEAT:
            beat = Heartbeat.model_validate_json(record.value or b"")
            written[beat.la] = beat.time.timestamp(), record.timestamp_ms
    for la, (told_s, broker_ms) in written.items():
        ahead = told_s - broker_ms / 1000
        if la in live and told_s == NO_TIME.timestamp():
            what = f"{la}: the intake writes no heartbeats, as its clock is far from the broker's"
            yield Finding("clock_differs", what, "set its clock (NTP); it goes on by itself")
        elif la in live and abs(ahead) > CLOCK_S_MAX:
            what = f"{la}: the clock of the heartbeats is {_span(ahead)} the broker's"
            yield Finding(
                "clock_differs",
                what,
                "set the clocks of intakes and brokers (NTP), then restart the intake",
            )
    if newest_ms / 1000 - time.time() > CLOCK_S_MAX:
        what = f"this machine's clock is {_span(time.time() - newest_ms / 1000)} the broker's"
        yield Finding("clock_differs", what, "set its clock (NTP)")


def refused(settings: Settings, marks: Mapping[str, int]) -> Iterator[Finding]:
    """Kinds of sender whose messages are being refused now.

    Args:
        marks: kind of sender -> how many letters there are in all.
    """
    since_ms = (time.time() - 3600) * 1000
    for source in (source for source in SOURCES if marks.get(source)):
        topic = f"ehps.dead-letter.{source}.v1"
        codes = Counter(
            told(letter, "exception")
            for partition in Kept(settings).watermarks(topic)
            for letter in tail(settings, topic, partition)
            if letter.timestamp_ms >= since_ms
        )
        if codes.total() > REFUSED_HOUR_MAX:
            code, count = codes.most_common(1)[0]
            what = f"{codes.total()} messages from {source} were refused in the last hour, {count} for {code}"
            do = f"`ehps dlq list --source {source}` names reasons; mended: `ehps dlq redrive {source}`"
            yield Finding("refusing", what, do)


def tail(settings: Settings, topic: str, partition: int) -> Iterator[Record]:
    """The newest records of a partition."""
    kept = Kept(settings)
    low, high = kept.watermarks(topic)[partition]
    return iter(kept.read(topic, partition, max(low, high - TAIL_RECORDS), high))


def _span(seconds: float) -> str:
    return f"{abs(seconds) / 60:.0f} minutes {'ahead of' if seconds > 0 else 'behind'}"
