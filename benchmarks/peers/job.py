"""The job that every peer does: validate an event, fold it into its family's state, score, perhaps alert.

The state, 592 bytes: latest time, number of the next id, the last 32 ids, 40 decayed sums. The score is their product
with 40 weights; an alert is a score that crosses the line upwards. A repeat (an id among the last 32) changes nothing.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from benchmarks.kinds import FEATURES, KINDS, LINE, label

IDS = 32
DAY_S = 86_400
DAYS_MAX = 730
STATE = np.dtype(
    [("seen_s", "<i8"), ("next", "<i8"), ("ids", "<u8", IDS), ("sums", "<f8", len(KINDS))]
)
WEIGHTS = np.array([kind.points for kind in KINDS])
HALF_LIVES = np.array([kind.half_life for kind in KINDS])
DECAY = 2 ** (-np.arange(DAYS_MAX + 1)[:, None] / HALF_LIVES)


class CloudEvent(BaseModel):
    """What a user would check of an event before counting it."""

    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"]
    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    source: str = Field(min_length=1, max_length=256)
    type: str = Field(max_length=64)
    subject: str = Field(pattern=r"^(person|household)-[0-9a-f]{32}$")
    time: AwareDatetime
    recordedtime: AwareDatetime
    la: str = Field(pattern=r"^[EWSN][0-9]{8}$")
    datacontenttype: Literal["application/json"] | None = None
    data: dict[str, Any]


class Outcome(NamedTuple):
    """What an event did: the new state (None: a repeat), and the score if it is worth an alert."""

    state: bytes | None
    alert: float | None


def fold(state: bytes | None, value: bytes) -> Outcome:
    """Take one event in.

    Raises:
        ValidationError, KeyError: not an event of the workload.
    """
    event = CloudEvent.model_validate_json(value)
    feature = FEATURES[label(event.type, event.data)]
    name, moment = int(event.id[:16], 16), int(event.time.timestamp())
    held = np.frombuffer(bytearray(state), STATE) if state else np.zeros(1, STATE)
    ids, sums = held["ids"][0], held["sums"][0]
    if name in ids.tolist():
        return Outcome(None, None)
    seen = int(held["seen_s"][0])
    days = min(max(moment - seen, 0) // DAY_S, DAYS_MAX)
    if days:
        sums *= DECAY[days]
    before = float(sums @ WEIGHTS)
    sums[feature] += 1.0
    ids[int(held["next"][0]) % IDS] = name
    held["next"] += 1
    held["seen_s"] = max(seen, moment)
    score = before + float(WEIGHTS[feature])
    return Outcome(held.tobytes(), score if before < LINE <= score else None)


def alert_of(key: str, score: float) -> bytes:
    """The alert's message."""
    return f'{{"family":"{key}","score":{score:.3f}}}'.encode()
