"""From an agency's send to the alert in a reader's hands: both workers live, both hops, a steady rate.

Times are of one machine's monotonic clock: just before the agency's `produce`, and when the reader's `consume` returns.
An alert names the log record that raised it, the log record the agency's record it came from.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from benchmarks import seeds
from benchmarks.meter import WARM_UP
from benchmarks.product import OUTPUTS, Product, exists, put_links, start
from benchmarks.stage import PARTITIONS, Stage
from benchmarks.watch import until
from benchmarks.workload import LA, Workload
from deploy.child import Child
from schemas.topics import AGENCY_TOPICS, ALERTS, CONTROL, LOG, SCORES
from streams.logwriter import INPUT
from streams.reading import read_topic
from streams.registry import Registry
from streams.up import Stack, set_live

SETTLE_S = 2.0
WARM_UP_S = 45
"""A broker compiles in its first minute of small requests, for up to half a processor: no worker has part in that."""
HOPS = {"bare": ("pass", "touch"), "features": ("validate", "features")}
FAMILIES = 2_000
"""Few, so that most have a history soon and a minute raises hundreds of alerts."""
Place = tuple[int, int]


Alive = Callable[[], bool]
Runs = Callable[[], AbstractContextManager[Alive]]


def measure(stage: Stage, product: Product, rate: int, seconds: int) -> dict[str, Any]:
    """Percentiles, milliseconds, of alerts and of scores, which are many more and travel the same way.

    `bare` are the same of two hops that think of nothing: no product can be sooner here; `features` of two that
    validate and work out EHPS's features. Before all of them the product runs once, uncounted.
    """
    found: dict[str, Any] = {"rate": rate, "seconds": seconds, "families": FAMILIES}
    _measure(stage, product, rate, min(seconds, WARM_UP_S), lambda: _workers(stage))
    found |= _measure(stage, product, rate, seconds, lambda: _workers(stage))
    for name, hops in HOPS.items():
        found[name] = _measure(stage, product, rate, seconds, partial(_hops, stage, hops))["scores"]
    return found


def _measure(
    stage: Stage, product: Product, rate: int, seconds: int, runs: Runs
) -> dict[str, dict[str, float]]:
    """One steady minute through what `runs` starts. Its first quarter is warm-up and does not count."""
    stage.renew(LOG, CONTROL, *OUTPUTS, *AGENCY_TOPICS)
    workload = Workload(rate * seconds, FAMILIES)
    seeds.put(product.known(workload), stage.redis)
    put_links(Registry(stage.redis), FAMILIES)
    reader = _Reader(stage.kafka.bootstrap)
    try:
        with runs() as alive:
            reader.start()
            sent = _send(stage, rate, workload.events)
            # Whatever is late must count: wait for the last of it.
            until(product.logged, workload.events, alive, every_s=0.1)
            until(product.applied, product.logged(), alive, every_s=0.1)
            time.sleep(SETTLE_S)
    finally:
        reader.stop()
    stage.mark("agency", None)
    stage.mark(LOG, None)
    origin = _origins(stage.kafka.bootstrap)
    warm = min(sent.values()) + seconds / WARM_UP
    result: dict[str, dict[str, float]] = {}
    for name, topic in (("alerts", ALERTS), ("scores", SCORES)):
        told = [
            (at, sent[origin[place]])
            for at, place in _first(reader.seen, topic)
            if place in origin and origin[place] in sent
        ]
        result[name] = _percentiles([1000 * (at - since) for at, since in told if since >= warm])
    return result


@contextmanager
def _workers(stage: Stage) -> Iterator[Alive]:
    """The product's two workers, live."""
    for key in stage.redis.scan_iter("{ehps:*}:state"):
        stage.redis.delete(key)  # families are known, but the live control is written below
    settings = stage.settings("bench-latency")
    workers = start(settings, [("intake",), ("scorer",)])
    try:
        set_live(Stack(settings, workers), LA)
        time.sleep(SETTLE_S)
        yield lambda: all(map(exists, workers.pids()))
    finally:
        workers.stop()


@contextmanager
def _hops(stage: Stage, names: Sequence[str]) -> Iterator[Alive]:
    """Two of `benchmarks.bare`."""
    Registry(stage.redis).mark_whole({})
    environment = os.environ | {
        "BENCH_KAFKA": stage.kafka.bootstrap,
        "BENCH_REDIS": stage.server.url,
        "BENCH_RUN": "bench-bare",
    }
    hops = [
        Child(
            [sys.executable, "-m", "benchmarks.bare", hop], stage.folder / f"{hop}.log", environment
        )
        for hop in names
    ]
    try:
        time.sleep(SETTLE_S)
        yield lambda: all(hop.alive() for hop in hops)
    finally:
        for hop in hops:
            hop.kill()


def _send(stage: Stage, rate: int, total: int) -> dict[str, float]:
    report = stage.folder / "sent.json"
    report.unlink(missing_ok=True)
    environment = {
        "BENCH_KAFKA": stage.kafka.bootstrap,
        "BENCH_TOTAL": str(total),
        "BENCH_RATE": str(rate),
        "BENCH_FAMILIES": str(FAMILIES),
        "BENCH_REPORT": str(report),
    }
    child = Child(
        [sys.executable, "-m", "benchmarks.pacer"],
        report.with_suffix(".log"),
        os.environ | environment,
    )
    try:
        until(report.exists, 1, lambda: child.alive() or report.exists(), every_s=0.2)
    finally:
        child.kill()
    placed = json.loads(report.read_text())["placed"]
    return {f"{topic}/{partition}/{offset}": at for topic, partition, offset, at in placed}


def _origins(kafka: str) -> dict[Place, str]:
    """Log record -> coordinates of the agency's record behind it."""
    return {
        (record.partition, record.offset): dict(record.headers)[INPUT].decode()
        for record in read_topic(kafka, LOG)
        if INPUT in dict(record.headers)
    }


def _first(seen: Iterable[tuple[float, str, bytes]], topic: str) -> list[tuple[float, Place]]:
    """When each log record was first told of."""
    found: dict[Place, float] = {}
    for at, name, value in seen:
        if name == topic:
            position = orjson.loads(value)["position"]
            found.setdefault((position["partition"], position["offset"]), at)
    return [(at, place) for place, at in found.items()]


def _percentiles(took: list[float]) -> dict[str, float]:
    if not took:
        return {"count": 0}
    p50, p99, p999 = np.percentile(took, [50, 99, 99.9])
    return {
        "count": len(took),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "p999_ms": float(p999),
        "max_ms": max(took),
    }


class _Reader:
    """Reads alerts and scores, from their present ends, and notes when each came."""

    def __init__(self, kafka: str) -> None:
        self._client = Consumer(
            {
                "bootstrap.servers": kafka,
                "group.id": "bench-latency-reader",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                "log_level": 3,
            }
        )
        self._kafka = kafka
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seen: list[tuple[float, str, bytes]] = []

    def start(self) -> None:
        places = [
            TopicPartition(topic, partition)
            for topic in (ALERTS, SCORES)
            for partition in range(PARTITIONS)
        ]
        admin = AdminClient({"bootstrap.servers": self._kafka, "log_level": 3})
        ends = admin.list_offsets({place: OffsetSpec.latest() for place in places})
        self._client.assign(
            [TopicPartition(p.topic, p.partition, ends[p].result().offset) for p in places]
        )
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._client.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            messages = self._client.consume(1, 0.2)
            messages += self._client.consume(500, 0) if messages else []
            at = time.monotonic()
            self.seen += [
                (at, message.topic(), message.value())
                for message in messages
                if message.error() is None
            ]
