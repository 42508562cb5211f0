"""The verdict: what the reference replay of the log says, against what live said and holds.

Everything is read as it comes, round after round, so that two hundred rounds cost no more than one pass over the log.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import orjson
import redis

from ehps.library import Library
from ehps.log import RecordKind
from ehps.replay import MemoryStore, replay
from schemas.control import Heartbeat
from schemas.topics import (
    AGENCY_TOPICS,
    ALERTS,
    ALERTS_SHADOW,
    CONTROL,
    DECISIONS,
    LINKS,
    LOG,
    TOPICS,
    UNLINKED,
)
from streams.deadletters import origin as dead_letter_origin
from streams.kafka import watermarks_of
from streams.logwriter import EHPS
from streams.reading import read_range
from streams.reconcile import Ledger
from streams.replaylog import log_record
from streams.segments import Record
from streams.store import RedisStore
from tests.chaos.faults import LIVE_LA
from tests.chaos.fleet import LOG_PARTITIONS
from tests.chaos.workload import Coordinate

INPUTS = (*AGENCY_TOPICS, LINKS, DECISIONS)
CLOCK_OFF_MAX = timedelta(minutes=10)
LISTED_MAX = 20
LOOKS_MAX, LOOK_EVERY_S = 40, 0.25
"""How often, and how many seconds apart, states that stand elsewhere than the replay are looked at again."""
Alert = tuple[str, str, str, str]


@dataclass
class Verdict:
    """What is wrong, in counts and in words; and what was seen."""

    losses: int = 0
    extras: int = 0
    differing: int = 0
    unaccounted: int = 0
    words: list[str] = field(default_factory=list)

    def add(self, kind: str, what: str, count: int = 1) -> None:
        """Note something wrong."""
        setattr(self, kind, getattr(self, kind) + count)
        if len(self.words) < LISTED_MAX:
            self.words.append(what)

    @property
    def clean(self) -> bool:
        """Nothing is wrong."""
        return not (self.losses or self.extras or self.differing or self.unaccounted)


class Oracle:
    """Follows every topic and replays the log beside the scorers."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap, self._library = bootstrap, Library.packaged()
        self._ledger = Ledger({})
        self._at: dict[tuple[str, int], int] = defaultdict(int)
        self.stores = {partition: MemoryStore() for partition in range(LOG_PARTITIONS)}
        self._said: dict[Alert, bytes] = {}
        self._sent: dict[Alert, bytes] = {}
        self._refused: set[Coordinate] = set()
        self.counts: Counter[str] = Counter()

    def judge(self, client: redis.Redis, good: set[Coordinate]) -> Verdict:
        """Everything that is wrong now that all is at rest.

        Args:
            client: the scorers' Redis.
            good: messages that had to be taken; those told earlier need not be told again.
        """
        verdict = Verdict()
        self._catch_up(verdict, RedisStore(client))
        refused = good & self._refused
        if refused:
            verdict.add("losses", f"refused though valid: {sorted(refused)[:3]}", len(refused))
        self._inputs(verdict)
        self._alerts(verdict)
        self._states(verdict, client)
        return verdict

    def _catch_up(self, verdict: Verdict, live: RedisStore) -> None:
        """Follow until states and replay stand at the same place: a heartbeat a minute comes also at rest."""
        for _ in range(LOOKS_MAX):
            self.follow(verdict)
            if all(live.offset(p) == store.offset for p, store in self.stores.items()):
                return
            time.sleep(LOOK_EVERY_S)

    def follow(self, verdict: Verdict) -> None:
        """Read what is new. Inputs before outputs: what came of a record is there when the record was."""
        names = sorted((topic.name for topic in TOPICS), key=lambda name: name not in INPUTS)
        marks = watermarks_of(self._bootstrap, names)
        for name in names:
            take = self._taker(name, verdict)
            for partition, (_, end) in marks[name].items():
                records = self._new(name, partition, end)
                if name == LOG:
                    self._replay(partition, records, verdict)
                elif take is not None:
                    for record in records:
                        take(record)

    def _new(self, topic: str, partition: int, end: int) -> Iterator[Record]:
        start = self._at[topic, partition]
        self._at[topic, partition] = end
        yield from read_range(self._bootstrap, topic, partition, start, end)

    def _taker(self, topic: str, verdict: Verdict) -> Callable[[Record], None] | None:
        if topic in INPUTS:
            return self._input
        if topic == UNLINKED:
            return self._ledger.parked
        if topic.startswith("ehps.dead-letter."):
            return self._dead_letter
        if topic in (ALERTS, ALERTS_SHADOW):
            return lambda record: self._alert(record, verdict)
        return None

    def _input(self, record: Record) -> None:
        self.counts["inputs"] += 1
        self._ledger.read(record)

    def _dead_letter(self, record: Record) -> None:
        origin = dead_letter_origin(record)
        assert origin is not None
        self.counts["dead_letters"] += 1
        if origin[0] != CONTROL:
            self._ledger.dead_lettered(record)
            self._refused.add(origin)

    def _alert(self, record: Record, verdict: Verdict) -> None:
        value = record.value or b""
        held = self._sent.setdefault(_named(record.topic, value), value)
        self.counts["alerts_sent"] += 1
        if held != value:
            verdict.add("differing", "an alert was sent again with other content")

    def _replay(self, partition: int, records: Iterator[Record], verdict: Verdict) -> None:
        def each() -> Iterator[Record]:
            for record in records:
                self.counts["log"] += 1
                self._ledger.logged(record, record.offset + 1)
                _check_clock(record, verdict)
                yield record

        store = self.stores[partition]
        for step in replay(map(log_record, each()), self._library, partition, store):
            for output in step.alerts:
                topic = ALERTS_SHADOW if output.shadow else ALERTS
                self._said[_named(topic, output.value)] = output.value

    def _inputs(self, verdict: Verdict) -> None:
        self._ledger.committed = {at: end for at, end in self._at.items() if at[0] in INPUTS}
        counts, listed = self._ledger.join(INPUTS)
        for topic, count in counts.items():
            wrong = count.unaccounted + count.twice + count.waiting
            if wrong:
                verdict.add("unaccounted", f"{topic}: {wrong} such as {listed[:3]}", wrong)

    def _alerts(self, verdict: Verdict) -> None:
        self.counts["alerts"] = len(self._said)
        for name in self._said.keys() - self._sent.keys():
            verdict.add("losses", f"never sent: {name}")
        for name in self._sent.keys() - self._said.keys():
            verdict.add("extras", f"sent, and not in the replay: {name}")
        for name in self._said.keys() & self._sent.keys():
            if self._said[name] != self._sent[name]:
                verdict.add("differing", f"other content in the replay: {name}")

    def _states(self, verdict: Verdict, client: redis.Redis) -> None:
        live = RedisStore(client)
        for partition, store in self.stores.items():
            for name, held, wanted in (
                ("offset", live.offset(partition), store.offset),
                ("state", live.partition_state(partition), store.partition),
                ("timers", _timers(live, partition, store), store.timers),
            ):
                if held != wanted:
                    verdict.add("differing", f"partition {partition}: {name} differs")
            families = live.families(partition)
            for family in store.families.keys() | families.keys():
                if store.families.get(family) != families.get(family):
                    verdict.add("differing", f"partition {partition}: {family} differs")


def _timers(live: RedisStore, partition: int, store: MemoryStore) -> dict[tuple[str, str], int]:
    authorities = {la for la, _ in store.timers}
    return {
        (la, family): due
        for la in authorities
        for family, due in live.timers(partition, la).items()
    }


def _check_clock(record: Record, verdict: Verdict) -> None:
    """No heartbeat of a live authority is far from the broker's time."""
    if dict(record.headers)[EHPS][0] != RecordKind.HEARTBEAT:
        return
    beat = Heartbeat.model_validate_json(record.value or b"")
    appended = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)
    if beat.la == LIVE_LA and beat.time - appended > CLOCK_OFF_MAX:
        verdict.add("extras", f"a live heartbeat was {beat.time - appended} ahead")


def _named(topic: str, value: bytes) -> Alert:
    document = orjson.loads(value)
    at = document["position"]
    place = f"{at['partition']}/{at['offset']}/{at['sequence']}"
    return topic, place, document["alert_id"], document["state"]
