"""The demonstration: a simulated authority's year through every process, and then the proof.

Numbers come from a simulated world: they say how the machinery behaves, nothing about real families.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import orjson

from ehps.simulate import World
from schemas.topics import AGENCY_TOPICS, ALERTS, ALERTS_SHADOW, LOG
from streams.content import library as library_of
from streams.follow import follow, sentence
from streams.history import Day, Groups, Item, backfill
from streams.kafka import read_topic, watermarks
from streams.reconcile import origin_of, reconcile
from streams.replaylog import verify
from streams.store import Registry, connect
from streams.up import Stack

START = date(2024, 9, 2)
MALFORMED = 0.002
SHOWN_EVERY_S = 0.35
"""Alerts come faster than anybody reads: at most about three a second are shown, all are counted."""
ON_PURPOSE = {
    "duplicate": "duplicates",
    "late": "late",
    "malformed": "malformed",
    "unlinked": "unlinked",
    "correction": "corrections",
    "retraction": "retractions",
}


@dataclass(frozen=True, slots=True)
class Options:
    """The world to show."""

    families: int
    weeks: int
    seed: int
    la: str


@dataclass(slots=True)
class Ticker:
    """Prints alerts as they come, at a rate that can be read, in a thread of its own."""

    show: Callable[[str], None]
    seen: Counter[str] = field(default_factory=Counter)
    _stop: Event = field(default_factory=Event)
    _thread: Thread | None = None
    _shown_at: float = 0.0

    def start(self, bootstrap: str) -> None:
        """Follow from now on."""
        self._thread = Thread(target=self._run, args=(bootstrap,), name="ticker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _run(self, bootstrap: str) -> None:
        for record in follow(bootstrap, (ALERTS,), self._stop):
            alert = orjson.loads(record.value or b"{}")
            self.seen[alert["state"]] += 1
            if alert["state"] == "raised" and time.monotonic() - self._shown_at > SHOWN_EVERY_S:
                self._shown_at = time.monotonic()
                self.show(sentence(alert))


def demonstrate(
    stack: Stack, options: Options, show: Callable[[str], None], progress: Callable[[str], None]
) -> dict[str, Any]:
    """Stream the world through a running stack, wait for rest, prove; returns the summary.

    Args:
        stack: broker, Redis and workers.
        options: the world.
        show: prints a line.
        progress: replaces the line of progress.
    """
    settings = stack.settings
    client = connect(settings.redis)
    kinds: Counter[str] = Counter()
    ticker = Ticker(show)
    ticker.start(settings.kafka)
    began = time.monotonic()
    total = 0
    try:
        for day in backfill(settings, Registry(client), options.la, _items(options, kinds)):
            total = day.total
            stack.workers.tend()
            progress(_where(day, total, began, ticker))
        _come_to_rest(stack)
    finally:
        ticker.stop()
    seconds = time.monotonic() - began
    progress("checking that nothing was lost")
    if stack.segments is not None:
        stack.segments.drain()
    account = reconcile(settings, client)
    progress("replaying the log")
    replayed = verify(settings, client, library_of(settings.content))
    return _summary(options, kinds, total, seconds, account, replayed, latencies(settings))


def _items(options: Options, kinds: Counter[str]) -> Iterator[Item]:
    world = World(options.families, options.weeks, options.seed, START, options.la, MALFORMED)
    for message in world.simulate():
        kinds[message.kind] += 1
        yield Item(message.known, message.topic, message.key.encode(), message.value)


def _where(day: Day, total: int, began: float, ticker: Ticker) -> str:
    rate = total / max(time.monotonic() - began, 0.001)
    shown = f"{datetime.fromtimestamp(day.end_s, UTC):%d %b %Y}"
    return f"{shown}  {total:,} messages, {rate:,.0f}/s, {ticker.seen['raised']:,} alerts"


def _come_to_rest(stack: Stack) -> None:
    """Wait until the scorer has applied the whole log."""
    groups, settings = Groups(stack.settings.kafka), stack.settings
    ends = {(LOG, p): high for p, (_, high) in watermarks(settings.kafka, LOG).items()}
    groups.wait(settings.scorer_group, {at: end for at, end in ends.items() if end})


def latencies(settings: Any) -> dict[str, float | None]:
    """Milliseconds from an agency's record to the alert it caused, by the records' coordinates."""
    caused: dict[tuple[int, int], int] = {}
    for topic in (ALERTS, ALERTS_SHADOW):
        for record in read_topic(settings.kafka, topic, settings.segments):
            alert = orjson.loads(record.value or b"{}")
            at = alert["position"]
            if alert["cause"] == "record" and alert["state"] == "raised":
                caused[at["partition"], at["offset"]] = record.timestamp_ms
    origins: dict[tuple[str, int, int], int] = {}
    for record in read_topic(settings.kafka, LOG, settings.segments):
        sent_ms = caused.get((record.partition, record.offset))
        origin = None if sent_ms is None else origin_of(record)
        if origin is not None and sent_ms is not None and origin[0] in AGENCY_TOPICS:
            origins[origin] = sent_ms
    took = [
        origins[at] - record.timestamp_ms
        for topic in AGENCY_TOPICS
        for record in read_topic(settings.kafka, topic, settings.segments)
        if (at := (topic, record.partition, record.offset)) in origins
    ]
    if not took:
        return {"p50": None, "p99": None}
    p50, p99 = np.percentile(np.array(took), [50, 99])
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1)}


def _summary(
    options: Options,
    kinds: Counter[str],
    total: int,
    seconds: float,
    account: dict[str, Any],
    replayed: Any,
    latency: dict[str, float | None],
) -> dict[str, Any]:
    alerts = {
        kind: replayed.alerts.get(kind, 0) for kind in ("step_up", "step_down", "combination")
    }
    outcomes = account["outcomes"]
    return {
        "ok": bool(account["ok"] and not replayed.difference_count and not account["waiting"]),
        "simulated": True,
        "seed": options.seed,
        "published": total,
        "links": sum(account["topics"].get(t, {}).get("logged", 0) for t in ("ehps.links.v1",)),
        "memberships": outcomes.get("membership", 0) + outcomes.get("membership_duplicate", 0),
        "applied": account["applied"],
        "duplicates": account["duplicate"],
        "expired": account["expired"],
        "evicted": account["evicted"],
        "parked": account["parked"],
        "dead_lettered": account["dead_lettered"],
        "waiting": account["waiting"],
        "unaccounted": account["unaccounted"],
        "families": replayed.families,
        "alerts": alerts,
        "events_per_s": round(total / max(seconds, 0.001)),
        "seconds": round(seconds, 1),
        "latency_ms": latency,
        "replay_differences": replayed.difference_count,
        "on_purpose": {name: kinds[kind] for kind, name in ON_PURPOSE.items()},
        "problems": [*account["problems"], *account["unaccounted_records"], *replayed.differences],
    }


def summary_lines(summary: dict[str, Any], data_dir: Path) -> list[str]:
    """The summary in plain English."""
    alerts, purpose, latency = summary["alerts"], summary["on_purpose"], summary["latency_ms"]
    lines = [
        "",
        f"A year of {summary['families']:,} simulated families (seed {summary['seed']}): figures say "
        "how EHPS behaves, nothing about real families.",
        f"  published      {summary['published']:,} messages in {summary['seconds']:g} s, "
        f"{summary['events_per_s']:,} a second, day by day",
        f"  applied        {summary['applied']:,} events; {summary['links']:,} links",
        f"  duplicates     {summary['duplicates']:,} counted once ({purpose['duplicates']:,} sent twice "
        "on purpose)",
        f"  expired        {summary['expired']:,}; over the bound {summary['evicted']:,}",
        f"  parked         {summary['parked']:,} about people without a family "
        f"({purpose['unlinked']:,} sent before their link)",
        f"  refused        {summary['dead_lettered']:,} ({purpose['malformed']:,} broken on purpose)",
        f"  unaccounted    {summary['unaccounted']:,}",
        f"  alerts         {alerts['step_up']:,} step up, {alerts['step_down']:,} step down, "
        f"{alerts['combination']:,} combinations",
    ]
    if latency["p50"] is not None:
        lines.append(
            f"  latency        {latency['p50']:g} ms median, {latency['p99']:g} ms for 99 of 100, from "
            "an agency's record to its alert"
        )
    lines.append(
        "  replay         the same alerts and states, byte for byte"
        if not summary["replay_differences"]
        else f"  replay         {summary['replay_differences']:,} DIFFERENCES"
    )
    lines += [f"  PROBLEM: {problem}" for problem in summary["problems"]]
    lines += ["", f"In another terminal:  export EHPS_DATA_DIR={data_dir}"]
    return lines
