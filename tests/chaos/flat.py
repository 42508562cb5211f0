"""What a soak saw: samples, their rows, and whether memory, states and latency stayed flat."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

ROWS = 10
GROWTH_MAX = 1.25
"""Flat: the last third of the time is at most this much above the middle third; the first is warming up."""
LATENCY_GROWTH_MAX = 1.5
"""The same of the median latency, which other work on the machine moves."""
MORTAL = "scorer-1"
"""The worker that is killed again and again: the memory of the others tells."""


class Sample(NamedTuple):
    """One look.

    Attributes:
        at: seconds since the beginning.
        rss_mib: worker -> resident memory.
        state_bytes: of Redis's data set.
        keys: of Redis's data set.
        latency_ms: until everything that was there at the look was scored; None where a server was away.
    """

    at: float
    rss_mib: dict[str, float]
    state_bytes: int
    keys: int
    latency_ms: float | None


@dataclass
class Soak:
    """What a soak does, and what it saw."""

    minutes: float
    seed: int
    capacity_per_s: float = 0.0
    rate_per_s: float = 0.0
    sent: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """The time in ten parts: the greatest memory, the state, and latency of each."""
        span = (self.samples[-1].at + 0.001) / ROWS
        parts: list[list[Sample]] = [[] for _ in range(ROWS)]
        for sample in self.samples:
            parts[int(sample.at / span)].append(sample)
        return [_row(part) for part in parts if part]

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        rows = self.rows()
        limits = {name: GROWTH_MAX for name in rows[-1] if name.startswith("rss_")}
        limits |= {"bytes_a_key": GROWTH_MAX, "p50_ms": LATENCY_GROWTH_MAX}
        grows = {name: round(_growth(rows, name), 2) for name in limits}
        flat = all(grows[name] <= most for name, most in limits.items())
        return {
            "ok": flat and not self.wrong,
            "minutes": self.minutes,
            "seed": self.seed,
            "capacity_per_s": round(self.capacity_per_s),
            "rate_per_s": round(self.rate_per_s),
            "messages": self.sent,
            "faults": dict(sorted(self.faults.items())),
            "flat": flat,
            "growth": grows,
            "rows": rows,
            "wrong": self.wrong,
        }


def _row(part: list[Sample]) -> dict[str, Any]:
    last, known = part[-1], sorted(s.latency_ms for s in part if s.latency_ms is not None)
    workers = sorted({name for sample in part for name in sample.rss_mib} - {MORTAL})
    return {
        "minute": round(last.at / 60, 1),
        **{f"rss_{n}": round(max(s.rss_mib.get(n, 0.0) for s in part)) for n in workers},
        "state_mib": round(last.state_bytes / (1 << 20), 1),
        "bytes_a_key": round(last.state_bytes / max(1, last.keys)),
        "p50_ms": round(statistics.median(known), 1) if known else 0.0,
        "worst_ms": round(known[-1]) if known else 0,
    }


def _growth(rows: list[dict[str, Any]], name: str) -> float:
    """The last third over the middle third, by medians."""
    third = max(1, len(rows) // 3)
    middle, last = rows[-2 * third : -third], rows[-third:]
    before = statistics.median(row.get(name, 0) for row in middle) if middle else 0
    return statistics.median(row.get(name, 0) for row in last) / before if before else 1.0


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as aligned text."""
    names = list(rows[-1])
    lines = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(names))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
