"""Seeded events of a simulated authority: the same arguments give the same bytes, from any chunk on.

Families are picked by a log-normal weight, so that some have fifty times as many events as others. The stream's time
runs at `EVENTS_A_YEAR` events a family, so more families means less time for as many events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np
import orjson

from benchmarks.kinds import DATE, KINDS

LA = "E06000023"
DAY_S = 86_400
YEAR_S = 365 * DAY_S
END_S = 1_788_220_800
"""2026-09-01: streams end here, in the past and within the packaged calendar."""
EVENTS_A_YEAR = 24
"""Events a family and year, so that a family in its second year keeps about fifty facts."""
SKEW = 0.8
"""Sigma of the families' log-normal weights."""
CHUNK = 10_000
REPEATS = 0.01
REPEAT_BACK_MAX = 200
"""A repeat follows its event within so many: the peers know a family's last 32 ids."""
LATE = 0.03
PEOPLE = 3
"""People a family: an adult and two children."""
BEAT_EVENTS = 1_300
"""Events between two heartbeats, a day of 20,000 families; a heartbeat at least once a day."""


class Sent(NamedTuple):
    """One message. `recorded_s`, when the agency sent it, never falls but in repeats."""

    family: str
    subject: str
    source: str
    recorded_s: int
    value: bytes


@dataclass(frozen=True)
class Workload:
    """A stream of events.

    Args:
        events: how many; ends at `end_s`.
        families: how many they are about.
        clones: every `clones` families share a weight, so that another number of families leaves the skew as it is.
        pace: events a family and year.
        first: event at which it begins, a multiple of `CHUNK`: to go on where another ended.
    """

    events: int
    families: int
    seed: int = 1
    clones: int = 1
    pace: int = EVENTS_A_YEAR
    first: int = 0
    end_s: int = END_S

    @property
    def gap_s(self) -> float:
        """Seconds between two events."""
        return YEAR_S / (self.families * self.pace)

    @property
    def start_s(self) -> float:
        """Time of event 0."""
        return self.end_s - (self.first + self.events) * self.gap_s

    @property
    def beat_s(self) -> int:
        """Seconds between two heartbeats."""
        return max(1, min(DAY_S, int(BEAT_EVENTS * self.gap_s)))

    def then(self, events: int, first: int) -> Workload:
        """Another part of the same stream of time: event n of both is the same moment."""
        return replace(
            self,
            events=events,
            first=first,
            end_s=int(self.start_s + (first + events) * self.gap_s),
        )

    @cached_property
    def _cumulative(self) -> np.ndarray:
        weights = np.random.default_rng(self.seed).lognormal(0, SKEW, self.families // self.clones)
        return np.cumsum(weights) / weights.sum()

    def __iter__(self) -> Iterator[Sent]:
        """The messages, in order."""
        chunks = range(self.first // CHUNK, -(-(self.first + self.events) // CHUNK))
        return islice((sent for number in chunks for sent in self._chunk(number)), self.events)

    def _chunk(self, number: int) -> list[Sent]:
        dice = np.random.default_rng([self.seed, number])
        kinds = np.searchsorted(_KIND_SHARES, dice.random(CHUNK), side="right").tolist()
        base = np.searchsorted(self._cumulative, dice.random(CHUNK), side="right")
        families = (base * self.clones + dice.integers(0, self.clones, CHUNK)).tolist()
        people = dice.integers(0, PEOPLE, CHUNK).tolist()
        recorded = (self.start_s + (number * CHUNK + np.arange(CHUNK)) * self.gap_s).astype(
            np.int64
        )
        late = np.where(dice.random(CHUNK) < LATE, dice.integers(0, 5 * DAY_S, CHUNK), 60)
        times, sent_at = _iso(recorded - late), _iso(recorded)
        ids = np.random.default_rng([self.seed, number, 1]).bytes(16 * CHUNK).hex()
        result: list[Sent] = []
        back = np.where(
            dice.random(CHUNK) < REPEATS, dice.integers(1, REPEAT_BACK_MAX, CHUNK), 0
        ).tolist()
        for n in range(CHUNK):
            if 0 < back[n] <= n:
                result.append(result[n - back[n]])
                continue
            head, source, tail = _TEMPLATES[kinds[n]]
            subject = subject_of(families[n], people[n])
            value = (
                f'{{"specversion":"1.0","id":"{ids[32 * n : 32 * n + 32]}",{head},"subject":"{subject}",'
                f'"time":"{times[n]}Z","recordedtime":"{sent_at[n]}Z",{tail.replace(DATE, times[n][:10])}'
            )
            result.append(
                Sent(family_name(families[n]), subject, source, int(recorded[n]), value.encode())
            )
        return result


@lru_cache(maxsize=100_000)
def subject_of(family: int, person: int) -> str:
    """Pseudonym of a member."""
    return f"person-{hashlib.blake2b(f'{family}/{person}'.encode(), digest_size=16).hexdigest()}"


def family_name(family: int) -> str:
    """Key of a family."""
    return f"{LA}:f{family:07d}"


def source_in(value: bytes) -> str:
    """The sending kind of agency, read off an event's bytes without parsing them."""
    at = value.index(b'"type":"') + 8
    return value[at : value.index(b".", at)].decode()


def _iso(seconds: np.ndarray) -> list[str]:
    return np.datetime_as_string(seconds.astype("M8[s]")).tolist()


_KIND_SHARES = np.cumsum([kind.share for kind in KINDS]) / sum(kind.share for kind in KINDS)
_TEMPLATES = [
    (
        f'"source":"urn:benchmark:{kind.type.split(".")[0]}","type":"{kind.type}.v1"',
        kind.type.split(".")[0],
        f'"la":"{LA}","datacontenttype":"application/json","data":{orjson.dumps(kind.data).decode()}}}',
    )
    for kind in KINDS
]
