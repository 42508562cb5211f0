"""The demonstration: a simulated authority's year through every process, and then the proof.

Numbers come from a simulated world: they say how the machinery behaves, nothing about real families.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import orjson
import redis

from ehps.simulate import World
from schemas.topics import AGENCY_TOPICS, ALERTS, ALERTS_SHADOW, LOG, SCORES
from streams.config import Settings
from streams.content import library as library_of
from streams.follow import follow, sentence
from streams.groups import Groups
from streams.history import Day, Item, backfill
from streams.kafka import watermarks
from streams.reading import read_topic
from streams.reconcile import origin_of, reconcile
from streams.redisclient import connect
from streams.registry import Registry
from streams.replaylog import verify
from streams.segments import Record
from streams.up import Stack

START = date(2024, 9, 2)
MALFORMED = 0.002
LIVE_DAYS = 14
LIVE_EVENTS_PER_S = 400.0
"""The last days are sent at the pace of a busy authority, so that their latency is what an agency would see and not
how long a year's backlog takes."""
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


@dataclass(slots=True)
class LivePace:
    """Full speed until `start`; from then on an even pace."""

    since_ms: int | None = None
    _next: float = 0.0

    def start(self) -> None:
        """From now on."""
        self.since_ms = time.time_ns() // 1_000_000
        self._next = time.monotonic()

    def __call__(self) -> None:
        """Wait for the next message's turn."""
        if self.since_ms is None:
            return
        self._next = max(self._next + 1 / LIVE_EVENTS_PER_S, time.monotonic() - 1)
        time.sleep(max(self._next - time.monotonic(), 0))


@dataclass(slots=True)
class Told:
    """How the year was told: messages in all, and how fast those of the backlog went."""

    total: int = 0
    events_per_s: int = 0
    seconds: float = 0.0


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
    pace = LivePace()
    try:
        told = _tell(
            stack, options, client, kinds, pace, lambda line: progress(line + _raised(ticker))
        )
    finally:
        ticker.stop()
    progress("checking that nothing was lost")
    if stack.segments is not None:
        stack.segments.drain()
    account = reconcile(settings, client)
    progress("replaying the log")
    replayed = verify(settings, client, library_of(settings.content))
    latency = latencies(settings, pace.since_ms or 0)
    return _summary(options, kinds, told, account, replayed, latency)


def _tell(
    stack: Stack,
    options: Options,
    client: redis.Redis,
    kinds: Counter[str],
    pace: LivePace,
    progress: Callable[[str], None],
) -> Told:
    """The year as fast as it goes, its last days at a live pace; returns once all of it is scored."""
    told, began = Told(), time.monotonic()
    live_from = datetime.combine(START, datetime.min.time(), UTC) + timedelta(
        days=options.weeks * 7 - LIVE_DAYS
    )
    days = backfill(stack.settings, Registry(client), options.la, _items(options, kinds), pace=pace)
    for day in days:
        told.total = day.total
        stack.workers.tend()
        told.seconds = time.monotonic() - began
        progress(_where(day, told))
        if pace.since_ms is None and day.end_s >= live_from.timestamp():
            _come_to_rest(stack)
            told.events_per_s = round(day.total / (time.monotonic() - began))
            pace.start()
    _come_to_rest(stack)
    told.seconds = time.monotonic() - began
    return told


def _items(options: Options, kinds: Counter[str]) -> Iterator[Item]:
    world = World(options.families, options.weeks, options.seed, START, options.la, MALFORMED)
    for message in world.simulate():
        kinds[message.kind] += 1
        yield Item(message.known, message.topic, message.key.encode(), message.value)


def _where(day: Day, told: Told) -> str:
    rate = told.total / max(told.seconds, 0.001)
    return (
        f"{datetime.fromtimestamp(day.end_s, UTC):%d %b %Y}  {told.total:,} messages, {rate:,.0f}/s"
    )


def _raised(ticker: Ticker) -> str:
    return f", {ticker.seen['raised']:,} alerts"


def _come_to_rest(stack: Stack) -> None:
    """Wait until the scorer has applied the whole log."""
    groups, settings = Groups(stack.settings.kafka), stack.settings
    ends = {(LOG, p): high for p, (_, high) in watermarks(settings.kafka, LOG).items()}
    groups.wait(settings.scorer_group, {at: end for at, end in ends.items() if end})


def latencies(settings: Settings, since_ms: int) -> dict[str, float | None]:
    """Milliseconds from an agency's record to the first score or alert it caused, joined by coordinates.

    Args:
        settings: where.
        since_ms: records of agencies before it (ms since 1970) do not count.
    """
    said: dict[tuple[int, int], int] = {}
    for topic in (SCORES, ALERTS, ALERTS_SHADOW):
        for record in _since(settings, topic, since_ms):
            at = orjson.loads(record.value or b"{}")["position"]
            place = at["partition"], at["offset"]
            said[place] = min(record.timestamp_ms, said.get(place, record.timestamp_ms))
    answered: dict[tuple[str, int, int], int] = {}
    for record in _since(settings, LOG, since_ms):
        origin = origin_of(record)
        if origin is not None and (record.partition, record.offset) in said:
            answered[origin] = said[record.partition, record.offset]
    took = [
        answered[at] - record.timestamp_ms
        for topic in AGENCY_TOPICS
        for record in _since(settings, topic, since_ms)
        if (at := (topic, record.partition, record.offset)) in answered
    ]
    if not took:
        return {"p50": None, "p99": None}
    p50, p99 = np.percentile(np.array(took), [50, 99])
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1)}


def _since(settings: Settings, topic: str, since_ms: int) -> Iterator[Record]:
    records = read_topic(settings.kafka, topic, settings.segments)
    return (record for record in records if record.timestamp_ms >= since_ms)


def _summary(
    options: Options,
    kinds: Counter[str],
    told: Told,
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
        "published": told.total,
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
        "events_per_s": told.events_per_s,
        "seconds": round(told.seconds, 1),
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
        f"the backlog at {summary['events_per_s']:,} a second, day by day",
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
            f"an agency's record to its score, at {LIVE_EVENTS_PER_S:g} events a second"
        )
    lines.append(
        "  replay         the same alerts and states, byte for byte"
        if not summary["replay_differences"]
        else f"  replay         {summary['replay_differences']:,} DIFFERENCES"
    )
    lines += [f"  PROBLEM: {problem}" for problem in summary["problems"]]
    lines += ["", f"In another terminal:  export EHPS_DATA_DIR={data_dir}"]
    return lines
