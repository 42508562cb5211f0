"""EHPS's own workers, started as an operator starts them and measured from outside."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from benchmarks import seeds
from benchmarks.meter import WARM_UP
from benchmarks.seeds import Stores, Tape
from benchmarks.stage import PARTITIONS, Stage
from benchmarks.watch import Watch, peak_mib, run_of, until
from benchmarks.workload import LA, PEOPLE, Workload, family_name, subject_of
from schemas.topics import ALERTS, ALERTS_SHADOW, LINKS, LOG, SCORES, TOPICS
from streams.config import Settings
from streams.history import Groups
from streams.kafka import watermarks
from streams.ports import Link, Stretch
from streams.registry import HISTORY, Registry
from streams.store import tag
from streams.up import Workers

OUTPUTS = (ALERTS, ALERTS_SHADOW, SCORES)
PAUSE_MS = 60_000
LINKED_AT_ONCE = 1000
Run = dict[str, Any]


class Product:
    """Runs of the workers on one stage; the log and the first states of a workload are made once."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._tapes: dict[Workload, Tape] = {}
        self._stores: dict[Workload, Stores] = {}
        stage.renew(*(topic.name for topic in TOPICS))

    def tape(self, workload: Workload) -> Tape:
        """The workload as log records."""
        if workload not in self._tapes:
            self._tapes.clear()  # one at a time: it is large
            self._tapes[workload] = seeds.log_of(workload, workload.beat_s)
        return self._tapes[workload]

    def known(self, workload: Workload) -> Stores:
        """States of a workload's start: families known, nothing happened yet."""
        if workload not in self._stores:
            self._stores[workload] = seeds.fresh(workload)
        return self._stores[workload]

    def load_log(self, workload: Workload) -> None:
        """Make the log hold the workload and nothing else."""
        if not self._stage.holds(LOG, workload):
            self._stage.renew(LOG)
            self._stage.produce(self.tape(workload).records)
            self._stage.mark(LOG, workload)

    def applied(self) -> int:
        """Records of the log that the states contain."""
        offsets = self._stage.redis.mget(
            [f"{tag(partition)}:offset" for partition in range(PARTITIONS)]
        )
        return sum(int(offset or 0) for offset in offsets)

    def logged(self) -> int:
        """Records of the log."""
        return sum(high for _, high in watermarks(self._stage.kafka.bootstrap, LOG).values())

    def scorer(
        self, run: str, workload: Workload, stores: Stores | None = None, workers: int = 1
    ) -> Run:
        """`ehps worker scorer` over a full log.

        Args:
            stores: where it starts; families known and no more when None.
            workers: with two, Redis holds their writes back until both have partitions and the log is full.
        """
        stage = self._stage
        self.tape(workload)
        stage.renew(*OUTPUTS)
        seeds.put(stores or self.known(workload), stage.redis)
        if workers == 1:
            self.load_log(workload)
        else:
            stage.renew(LOG)
        with self._workers(run, [("scorer",)] * workers) as (pids, alive, began):
            if workers > 1:
                self._fill_while_held(run, workload, workers)
            total = self.logged()
            until(self.applied, 1, alive, every_s=0.003)
            started_s = time.monotonic() - began
            watch = self._watch(system=pids)
            at = until(self.applied, total // WARM_UP, alive)
            first = watch.sample()
            until(self.applied, total, alive)
            last = watch.sample()
            events = (total - at) * workload.events / total
            run_ = run_of(first, last, events, peak_mib=peak_mib(pids), started_s=started_s)
        came_to = seeds.outcomes(stage.redis)
        return run_ | {
            "alerts": stage.count(ALERTS),
            "scores": stage.count(SCORES),
            "repeats": came_to.get("duplicate", 0),
            "alert_bytes": stage.disk_bytes(ALERTS) / workload.events,
            "score_bytes": stage.disk_bytes(SCORES) / workload.events,
            "outcomes": came_to,
            "heartbeats": total - workload.events,
        }

    def _fill_while_held(self, run: str, workload: Workload, workers: int) -> None:
        stage = self._stage
        admin = AdminClient({"bootstrap.servers": stage.kafka.bootstrap, "log_level": 2})
        group, share = stage.settings(run).scorer_group, PARTITIONS // workers

        def shared() -> int:
            found = admin.describe_consumer_groups([group])[group].result()
            stable = found.state == ConsumerGroupState.STABLE
            return (
                sum(len(member.assignment.topic_partitions) == share for member in found.members)
                if stable
                else 0
            )

        until(shared, workers, lambda: True, every_s=0.1)
        stage.redis.execute_command("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
        stage.produce(self.tape(workload).records)
        stage.mark(LOG, workload)
        stage.redis.execute_command("CLIENT", "UNPAUSE")

    def intake(self, run: str, workload: Workload) -> Run:
        """`ehps worker intake` over full agency topics."""
        stage = self._stage
        topics = stage.agency_topics(workload)
        self._ready_for_intake(workload)
        stage.renew(LOG)
        groups, group = Groups(stage.kafka.bootstrap), stage.settings(run).intake_group
        places = [(topic, partition) for topic in topics for partition in range(PARTITIONS)]

        def taken() -> int:
            return sum(groups.committed(group, places).values())

        with self._workers(run, [("intake",)]) as (pids, alive, began):
            until(self.logged, 1, alive, every_s=0.02)
            started_s = time.monotonic() - began
            watch = self._watch(system=pids)
            at = until(taken, workload.events // WARM_UP, alive, every_s=0.05)
            first = watch.sample()
            until(taken, workload.events, alive, every_s=0.05)
            last = watch.sample()
            run_ = run_of(
                first, last, workload.events - at, peak_mib=peak_mib(pids), started_s=started_s
            )
        self._all_logged(workload)
        return run_ | {"log_bytes": stage.disk_bytes(LOG) / workload.events}

    def path(self, run: str, workload: Workload) -> Run:
        """Both workers at once, agency topics to alerts.

        No heartbeat comes in between: all is scored at the stream's end, within half a year of the first event, so that
        no attendance is past its horizon.
        """
        stage = self._stage
        stage.agency_topics(workload)
        stage.renew(LOG, *OUTPUTS)
        seeds.put(self.known(replace(workload, events=0)), stage.redis)
        self._ready_for_intake(workload, keep=True)
        with self._workers(run, [("intake",), ("scorer",)]) as (pids, alive, _):
            watch = self._watch(system=pids)
            until(self.logged, 1, alive, every_s=0.02)
            first = watch.sample()
            until(self.applied, workload.events, alive)
            last = watch.sample()
            run_ = run_of(first, last, workload.events, peak_mib=peak_mib(pids))
        self._all_logged(workload)
        return run_ | {
            "alerts": stage.count(ALERTS),
            "repeats": seeds.outcomes(stage.redis).get("duplicate", 0),
        }

    def _ready_for_intake(self, workload: Workload, *, keep: bool = False) -> None:
        client = self._stage.redis
        if not keep:
            client.flushall()
        registry = Registry(client)
        registry.mark_whole({LA: HISTORY})  # so that no live heartbeat is written
        put_links(registry, workload.families)

    def _all_logged(self, workload: Workload) -> None:
        if self.logged() != workload.events:
            raise AssertionError(
                f"intake logged {self.logged():,} of {workload.events:,} valid events"
            )

    def _watch(self, **pids: Sequence[int]) -> Watch:
        return Watch(**pids, kafka=[self._stage.kafka.pid], redis=[self._stage.server.pid])

    @contextmanager
    def _workers(
        self, run: str, roles: Sequence[Sequence[str]]
    ) -> Iterator[tuple[list[int], Any, float]]:
        began = time.monotonic()
        groups = [start(self._stage.settings(run), [words]) for words in roles]
        pids = [pid for group in groups for pid in group.pids()]
        try:
            yield pids, lambda: all(map(exists, pids)), began
        finally:
            for group in groups:
                group.stop()


def start(settings: Settings, roles: Sequence[Sequence[str]]) -> Workers:
    """Worker processes, as `ehps up` starts them."""
    workers = Workers(settings, roles, print)
    workers.start()
    return workers


def put_links(registry: Registry, families: int) -> None:
    """Everybody belongs to their family, as if the links topic had said so."""
    for first in range(0, families, LINKED_AT_ONCE):
        links = [
            Link(subject_of(family, person), "2020", family_name(family))
            for family in range(first, min(first + LINKED_AT_ONCE, families))
            for person in range(PEOPLE)
        ]
        registry.learn(Stretch(LINKS, 0, 0, 0), links=links)


def exists(pid: int) -> bool:
    """Whether a process exists."""
    return Path(f"/proc/{pid}").exists()
