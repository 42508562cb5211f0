"""What a worker tells Prometheus. Loops observe once a batch; no family, person or record is ever a label."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version

import orjson
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ehps.alerts import Output
from ehps.library import KERNEL_VERSION
from ehps.state import Authority, Partition
from streams.progress import Progress

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, of no use here
REGISTRY = CollectorRegistry()
"""The process's own: nothing but what stands here is served."""

_STEP_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_LATENCY_BUCKETS = (
    *(0.001, 0.0025, 0.004, 0.006, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
)

RECORDS = Counter("ehps_records", "Records finished.", ["role"], registry=REGISTRY)
STEP_SECONDS = Histogram(
    "ehps_step_seconds",
    "Time of one step of one batch.",
    ["role", "step"],
    buckets=_STEP_BUCKETS,
    registry=REGISTRY,
)
LATENCY = Histogram(
    "ehps_receipt_to_alert_seconds",
    "From the broker's time of an agency's record to its alert confirmed on the topic.",
    buckets=_LATENCY_BUCKETS,
    registry=REGISTRY,
)
ALERTS = Counter(
    "ehps_alerts",
    "Alerts confirmed on their topic.",
    ["la", "kind", "state", "stage"],
    registry=REGISTRY,
)
INTAKE_OUTCOMES = Counter(
    "ehps_intake_outcomes",
    "Agency records by where intake put them.",
    ["outcome"],
    registry=REGISTRY,
)
DEAD_LETTERS = Counter(
    "ehps_dead_letters",
    "Refused messages by kind of sender and reason.",
    ["source", "code"],
    registry=REGISTRY,
)
BOUNDS = Counter(
    "ehps_bound_reached", "Times that a bound was reached.", ["bound"], registry=REGISTRY
)
OUTAGES = Counter(
    "ehps_outages",
    "Batches that had to be done again because a server was away.",
    ["role", "reason"],
    registry=REGISTRY,
)
STATES_WRITTEN = Counter("ehps_states_written", "Family states written.", registry=REGISTRY)
STATE_BYTES = Counter("ehps_state_bytes", "Bytes of family states written.", registry=REGISTRY)
STATE_BYTES_MAX = Gauge(
    "ehps_state_bytes_max",
    "Largest family state written since the start.",
    registry=REGISTRY,
)
PARKED = Gauge(
    "ehps_parked_people", "People with events that wait for a family.", registry=REGISTRY
)
LIVE = Gauge(
    "ehps_authority_live",
    "1 for an authority whose clock this process writes.",
    ["la"],
    registry=REGISTRY,
)
BUILD = Info("ehps_build", "What runs.", registry=REGISTRY)
ProcessCollector(registry=REGISTRY)


def started() -> None:
    """Say what runs."""
    BUILD.info({"version": version("ehps"), "kernel": str(KERNEL_VERSION)})


@cache
def _step(role: str, step: str) -> Histogram:
    return STEP_SECONDS.labels(role, step)


class Laps:
    """A stopwatch over the steps of one batch."""

    def __init__(self, role: str) -> None:
        self._role, self._at = role, time.perf_counter()

    def lap(self, step: str) -> None:
        """The step ended now."""
        now = time.perf_counter()
        _step(self._role, step).observe(now - self._at)
        self._at = now


def alerted(alert: Output, received_ms: int | None) -> None:
    """An alert is with the broker now.

    Args:
        alert: as `advance` returned it.
        received_ms: when the broker received the agency's record behind it; None for timers and parked events.
    """
    told = orjson.loads(alert.value)
    ALERTS.labels(told["la"], told["kind"], told["state"], told["stage"]).inc()
    if received_ms is not None:
        LATENCY.observe(max(0.0, time.time() - received_ms / 1000))


def states_written(states: Iterable[bytes]) -> None:
    """Family states of a batch."""
    sizes = [len(state) for state in states]
    if sizes:
        STATES_WRITTEN.inc(len(sizes))
        STATE_BYTES.inc(sum(sizes))
        if (largest := max(sizes)) > STATE_BYTES_MAX._value.get():  # noqa: SLF001  (no public reader)
            STATE_BYTES_MAX.set(largest)


class LoopCollector(Collector):
    """Lag and assignment of this process's loops, worked out when Prometheus asks."""

    def __init__(self, loops: list[Progress]) -> None:
        self._loops = loops

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family a figure."""
        labels = ("role", "topic", "partition")
        records = GaugeMetricFamily("ehps_lag_records", "Records not finished.", labels=labels)
        seconds = GaugeMetricFamily(
            "ehps_lag_seconds",
            "Age of the newest finished record while others wait.",
            labels=labels,
        )
        owned = GaugeMetricFamily("ehps_assigned_partitions", "Partitions owned.", labels=["role"])
        in_hand = GaugeMetricFamily("ehps_records_in_hand", "Taken, unfinished.", labels=["role"])
        for loop in self._loops:
            owned.add_metric([loop.role], len(loop.assigned or ()))
            in_hand.add_metric([loop.role], loop.in_hand)
            for (topic, partition), lag in loop.lags().items():
                place = [loop.role, topic, str(partition)]
                records.add_metric(place, lag.records)
                if lag.seconds is not None:
                    seconds.add_metric(place, lag.seconds)
        yield from (records, seconds, owned, in_hand)


class StateCollector(Collector):
    """What the states of this scorer's log partitions say; read only when Prometheus asks."""

    def __init__(self, scorer: Progress) -> None:
        self._scorer = scorer

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Outcomes since the log began, and for each authority its clock, content and silent sources."""
        outcomes = CounterMetricFamily(
            "ehps_log_outcomes",
            "Log records by what became of them.",
            labels=["partition", "outcome"],
        )
        authorities: dict[str, list[Authority]] = {}
        for partition, raw in self._scorer.states.items():
            state = Partition.decode(raw)
            for outcome, count in state.counts.items():
                outcomes.add_metric([str(partition), outcome], count)
            for la, authority in state.authorities.items():
                authorities.setdefault(la, []).append(authority)
        yield outcomes
        yield from _authority_families(authorities)


def _authority_families(held: Mapping[str, list[Authority]]) -> Iterator[GaugeMetricFamily]:
    clock = GaugeMetricFamily(
        "ehps_log_time_seconds",
        "Log time, seconds since 1970: the slowest partition.",
        labels=["la"],
    )
    silence = GaugeMetricFamily(
        "ehps_source_silence_seconds",
        "Log time since a source's last sign of life.",
        labels=["la", "source"],
    )
    names = ("la", "stage", "kernel", "release", "rules", "policy")
    release = GaugeMetricFamily("ehps_release_info", "Content in force: 1.", labels=names)
    for la, authorities in held.items():
        clock.add_metric([la], min(authority.time for authority in authorities))
        silent: dict[str, int] = {}
        for authority in authorities:
            for source, sign in authority.sources.items():
                silent[source] = min(authority.time - sign, silent.get(source, 1 << 62))
        for source, age in silent.items():
            silence.add_metric([la, source], max(0, age))
        for control in {_named(authority) for authority in authorities if authority.control}:
            release.add_metric([la, *control], 1)
    yield from (clock, silence, release)


def _named(authority: Authority) -> tuple[str, ...]:
    control = authority.control or {}
    content = (str(control[name])[:12] for name in ("release", "rules", "policy"))
    return (str(control["stage"]), str(control["kernel"]), *content)
