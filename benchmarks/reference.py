"""What every peer must find, by a plain program of its own: no numpy, no pydantic, every line spelt out."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from benchmarks.kinds import FEATURES, KINDS, LINE, label

IDS = 32
DAY_S = 86_400
DAYS_MAX = 730


class Expected(NamedTuple):
    """Counts over a whole workload."""

    alerts: int
    repeats: int


def expected(workload: Iterable[Any]) -> Expected:
    """Alerts and repeats of messages with `family` and `value`."""
    families: dict[str, Family] = {}
    alerts = repeats = 0
    for sent in workload:
        family = families.setdefault(sent.family, Family())
        said = family.take(json.loads(sent.value))
        repeats += said is None
        alerts += said is True
    return Expected(alerts, repeats)


class Family:
    """Forty decayed sums, the last ids, the latest time."""

    def __init__(self) -> None:
        self._ids: deque[str] = deque(maxlen=IDS)
        self._sums = [0.0] * len(KINDS)
        self._seen_s = 0

    def take(self, event: dict[str, Any]) -> bool | None:
        """Whether the event raises an alert; None: it was seen before."""
        if event["id"] in self._ids:
            return None
        moment = int(datetime.fromisoformat(event["time"]).timestamp())
        days = min(max(moment - self._seen_s, 0) // DAY_S, DAYS_MAX)
        self._seen_s = max(self._seen_s, moment)
        before = 0.0
        for number, kind in enumerate(KINDS):
            self._sums[number] *= 2 ** (-days / kind.half_life)
            before += self._sums[number] * kind.points
        feature = FEATURES[label(event["type"], event["data"])]
        self._sums[feature] += 1.0
        self._ids.append(event["id"])
        return before < LINE <= before + KINDS[feature].points


def tables(features: Mapping[str, int]) -> dict[str, Any]:
    """The job's numbers for a peer in another language."""
    decay = [[2 ** (-days / kind.half_life) for kind in KINDS] for days in range(DAYS_MAX + 1)]
    return {
        "features": dict(features),
        "weights": [kind.points for kind in KINDS],
        "decay": decay,
        "line": LINE,
    }
