"""The state of a family, and of a partition: what is kept between records, and its bytes.

Equal states have equal bytes: keys are sorted, defaults are left out, facts are sorted by key.
A state of another schema version stops the process: rebuild it from the log.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

import numpy as np
import orjson

from ehps.calendar import start_of_day
from ehps.errors import InvariantBroken
from ehps.facts import BIRTH, FACT, KEPT_OF, Facts, ages, person_hash

SCHEMA_VERSION = 4
SILENT: Final = "silent:"
"""Prefix of the timers that wait for a rule's silence; the rule's name follows."""
STANDING_MAX = 16
"""Standing alerts a family remembers for withdrawal; the oldest gives way."""
LOOK_AGAIN_DAYS = 28
"""Days from a look above the down line to the next. The day of the fall is then found among them: it may be seen late
but is never dated late, and what is timed from it, the review, is months away."""
PEOPLE_MAX = 64
"""People a family remembers, those who left included; the oldest who left gives way."""


class Person(NamedTuple):
    """One member of a family: a register in which the greatest version wins."""

    version: str
    role: str
    since: int  # log time of joining, seconds
    born: int | None = None  # day of birth (the 15th of the month told), days since 1970
    confidence: float = 1.0
    removed: bool = False

    def stored(self) -> list[Any]:
        """As JSON, without what is as it usually is: states are many, and most of their people usual."""
        said = list(self)
        while said[-1] == _USUAL[len(said) - 1]:
            said.pop()
        return said


_USUAL = (..., ..., ..., *Person._field_defaults.values())
"""What is left out of a stored person where it ends so."""


class Standing(NamedTuple):
    """An alert that stands: what is needed to supersede or withdraw it."""

    alert_id: str
    kind: str
    rule: str
    grade: str | None
    at: int  # log time, seconds
    shadow: bool = False  # it went to the shadow topic, and so does its end


@dataclass(slots=True)
class Case:
    """What is read only where somebody may be told something, or the household changes.

    Args:
        people: subject -> register.
        alerted: rule or grade -> log time of its last alert (cool-down).
        standing: alerts that a retraction may withdraw.
        timers: name -> log time at which it is due.
        decided: last decision of a professional.
    """

    people: dict[str, Person] = field(default_factory=dict)
    alerted: dict[str, int] = field(default_factory=dict)
    standing: list[Standing] = field(default_factory=list)
    timers: dict[str, int] = field(default_factory=dict)
    decided: dict[str, Any] | None = None

    def members(self) -> dict[str, Person]:
        """People who belong to the family now."""
        return {subject: person for subject, person in self.people.items() if not person.removed}

    def births(self) -> bytes:
        """Days of birth of the children, unborn included, in order, as 32-bit integers."""
        children = (p for p in self.people.values() if p.role == "child" and not p.removed)
        return np.array(sorted(p.born for p in children if p.born is not None), BIRTH).tobytes()

    def gone(self) -> list[int]:
        """Hashes of people who left the family, or were linked wrongly: their facts do not count."""
        return [person_hash(subject) for subject, person in self.people.items() if person.removed]

    def awaits_silence(self) -> bool:
        """Whether a timer waits for a rule's silence."""
        return any(name.startswith(SILENT) for name in self.timers)

    def encode(self) -> bytes:
        """JSON with sorted keys, empty values left out."""
        document = {
            "people": {subject: person.stored() for subject, person in self.people.items()},
            "alerted": self.alerted,
            "standing": [list(alert) for alert in self.standing],
            "timers": self.timers,
            "decided": self.decided,
        }
        document = {name: value for name, value in document.items() if value}
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS) if document else b""

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """From its bytes."""
        if not raw:
            return cls()
        document = orjson.loads(raw)
        people = {
            subject: Person(*values) for subject, values in document.get("people", {}).items()
        }
        document["people"] = people
        document["standing"] = [Standing(*values) for values in document.get("standing", ())]
        return cls(**document)


HEAD: Final = np.dtype(
    [
        ("version", "u1"),
        ("flags", "u1"),
        ("band", "u1"),
        ("children", "u1"),  # so many days of birth follow the head
        ("score", "<i8"),
        ("below", "<i4"),
        ("above", "<i4"),
        ("due", "<i8"),  # the case's next timer
        ("size", "<u4"),  # bytes of the case, which follow the days of birth; the rest are facts
    ]
)
"""What a family's bytes begin with; its fields are told at `Family`."""
_HEAD = struct.Struct("<BBBBqiiqI")  # the same: faster for one, as the other is for many
SCORED, INSUFFICIENT, _OVER, UNSCORED, GONE, AWAITS_SILENCE = 1, 2, 4, 8, 16, 32
"""Flags of a head."""
NONE = -1
"""No day, no timer."""


class Family:
    """A family: a small fixed head, facts, and its case, decoded only when looked at.

    Attributes:
        facts: bytes of `FACT` records sorted by key, one version a key.
        score: units last emitted; None before the first score.
        insufficient: whether the last emitted score said "insufficient data".
        band: index of the band alerted and not yet fallen from (hysteresis), 0-3.
        below_since: day since which the score has been below the down line, for open families.
        above_on: day of the last look at an open family whose score was above it; there the next look is due
            `LOOK_AGAIN_DAYS` later.
        over: a bound was reached once; Once and Undo are no longer promised.
        unscored: the kernel failed on the last record; its fact is kept.
    """

    __slots__ = (
        "_awaits", "_births", "_case", "_case_raw", "_due", "_gone", "above_on", "band", "below_since", "facts",
        "insufficient", "over", "score", "unscored",
    )  # fmt: skip

    def __init__(self, raw: bytes | None = None) -> None:
        """From its bytes; None is a family that nothing is known of.

        Raises:
            InvariantBroken: the bytes are of another schema version.
        """
        self._case: Case | None = None
        if raw is None:
            self._case_raw, self.facts, self._births = b"", b"", b""
            self._due, self._gone, self._awaits = NONE, False, False
            self.score: int | None = None
            self.below_since: int | None = None
            self.above_on: int | None = None
            self.band, self.insufficient, self.over, self.unscored = 0, False, False, False
            return
        version, flags, self.band, children, score, below, above, self._due, size = (
            _HEAD.unpack_from(raw)
        )
        require_version(version)
        at = _HEAD.size + 4 * children
        self._births = raw[_HEAD.size : at]
        self._case_raw, self.facts = raw[at : at + size], raw[at + size :]
        self.score = score if flags & SCORED else None
        self.below_since = None if below == NONE else below
        self.above_on = None if above == NONE else above
        self.insufficient, self.over = bool(flags & INSUFFICIENT), bool(flags & _OVER)
        self.unscored, self._gone = bool(flags & UNSCORED), bool(flags & GONE)
        self._awaits = bool(flags & AWAITS_SILENCE)

    @property
    def case(self) -> Case:
        """People, alerts, timers and the last decision; to be changed in place."""
        if self._case is None:
            self._case = Case.decode(self._case_raw)
        return self._case

    def timed(self) -> bool:
        """Whether its case has a timer."""
        return self._due != NONE if self._case is None else bool(self._case.timers)

    def due(self) -> int | None:
        """Log time of the next timer, or of the next look at whether the score fell below the line."""
        due = self._next_timer()
        if self.above_on is None:
            return None if due == NONE else due
        watch = look_again(self.above_on)
        return watch if due == NONE else min(watch, due)

    def _next_timer(self) -> int:
        return self._due if self._case is None else min(self._case.timers.values(), default=NONE)

    def births(self) -> bytes:
        """Days of birth of the children, unborn included, as the kernel takes them: 32-bit integers."""
        return self._births if self._case is None else self._case.births()

    def gone(self) -> list[int]:
        """Hashes of people whose facts do not count."""
        return self.case.gone() if self._gone or self._case is not None else []

    def awaits_silence(self) -> bool:
        """Whether a timer waits for a rule's silence."""
        return self._awaits if self._case is None else self._case.awaits_silence()

    def blank(self) -> bool:
        """Whether nothing is known of it: nobody belongs to it, nothing was told, nothing was said."""
        said = self.score is not None or self.unscored or self.over
        return not (self.facts or said or self.case.people)

    def held(self) -> Facts:
        """Every fact kept."""
        return np.frombuffer(self.facts, FACT)

    def counted(self, day: int) -> Facts:
        """The facts that count on `day`."""
        return counting_on(self.held(), self.gone(), day)

    def encode(self) -> bytes:
        """Its bytes: equal families have equal bytes."""
        case = self._case
        raw = self._case_raw if case is None else case.encode()
        births = self.births()
        gone = self._gone if case is None else bool(case.gone())
        flags = (
            SCORED * (self.score is not None)
            | INSUFFICIENT * self.insufficient
            | _OVER * self.over
            | UNSCORED * self.unscored
            | GONE * gone
            | AWAITS_SILENCE * self.awaits_silence()
        )
        below = NONE if self.below_since is None else self.below_since
        above = NONE if self.above_on is None else self.above_on
        head = _HEAD.pack(
            SCHEMA_VERSION, flags, self.band, len(births) // 4, self.score or 0, below, above,
            self._next_timer(), len(raw),
        )  # fmt: skip
        return b"".join((head, births, raw, self.facts))


def look_again(above_on: int) -> int:
    """When a family whose score was above the down line on a day is looked at again, log time in seconds."""
    return start_of_day(above_on + LOOK_AGAIN_DAYS)


def require_version(version: int) -> None:
    """Refuse a family's bytes of another schema version.

    Raises:
        InvariantBroken: it is another.
    """
    if version != SCHEMA_VERSION:
        raise InvariantBroken(
            f"a family state has schema version {version}; this process reads {SCHEMA_VERSION}"
        )


def counting_on(facts: Facts, gone: list[int], day: int) -> Facts:
    """The facts that count on `day`: none past keeping, nor of people (hashes) who left or were linked wrongly."""
    keep = ages(facts, day) <= KEPT_OF[facts["kind"]]
    if gone:
        keep &= ~np.isin(facts["person"], gone)
    counts: Facts = facts.take(keep.nonzero()[0])
    return counts


@dataclass(frozen=True, slots=True, eq=False)
class Authority:
    """What a partition knows of one authority at a moment; time, controls and signs of life make a new one.

    Args:
        time: log time, seconds; 0 before the first heartbeat.
        control: the control in force, as its JSON; None: nothing may be scored.
        waiting: controls that take effect later, in order of (effective time, id).
        sources: source -> last sign of life, seconds.
        heard: source -> (day, bits): bit n says that the source was heard on day - n.
        started: day of the first heartbeat.
    """

    time: int = 0
    control: dict[str, Any] | None = None
    waiting: tuple[dict[str, Any], ...] = ()
    sources: dict[str, int] = field(default_factory=dict)
    heard: dict[str, tuple[int, int]] = field(default_factory=dict)
    started: int | None = None

    def document(self) -> dict[str, Any]:
        """As JSON; the bits in base 16, since they are more than JSON's numbers hold."""
        return {
            "time": self.time,
            "control": self.control,
            "waiting": self.waiting,
            "sources": self.sources,
            "heard": {source: (day, f"{bits:x}") for source, (day, bits) in self.heard.items()},
            "started": self.started,
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        """From its JSON."""
        heard = {source: (day, int(bits, 16)) for source, (day, bits) in document["heard"].items()}
        return cls(**{**document, "waiting": tuple(document["waiting"]), "heard": heard})


@lru_cache(maxsize=1024)
def _authority(raw: bytes) -> Authority:
    """From its JSON: the same one while nothing of it changes, so that what was worked out of it is found again."""
    return Authority.read(orjson.loads(raw))


@lru_cache(maxsize=1024)
def _document(authority: Authority) -> orjson.Fragment:
    """Its JSON, written out once."""
    return orjson.Fragment(orjson.dumps(authority.document(), option=orjson.OPT_SORT_KEYS))


@dataclass(slots=True)
class Partition:
    """State of one partition of the log: authorities, and counts of what became of its records."""

    authorities: dict[str, Authority] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, outcome: str, records: int = 1) -> None:
        """So many records more ended as `outcome`."""
        if records:
            self.counts[outcome] = self.counts.get(outcome, 0) + records

    def encode(self) -> bytes:
        """Its bytes: JSON with sorted keys."""
        authorities = {la: _document(authority) for la, authority in self.authorities.items()}
        document = {"authorities": authorities, "counts": self.counts}
        return orjson.dumps(
            {"version": SCHEMA_VERSION, "partition": document}, option=orjson.OPT_SORT_KEYS
        )

    @classmethod
    def decode(cls, raw: bytes | None) -> Self:
        """From its bytes; None is a partition that has seen nothing."""
        if raw is None:
            return cls()
        document = orjson.loads(raw)
        if document["version"] != SCHEMA_VERSION:
            raise InvariantBroken(f"a partition state has schema version {document['version']}")
        held = document["partition"]
        authorities = {
            la: _authority(orjson.dumps(told)) for la, told in held["authorities"].items()
        }
        return cls(authorities, held["counts"])
