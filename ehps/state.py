"""The state of a family, and of a partition: what is kept between records, and its bytes.

Equal states have equal bytes: keys are sorted, defaults are left out, facts are sorted by key.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import orjson

from ehps.errors import InvariantBroken
from ehps.facts import FACT, NO_FACTS, Facts, hash32

SCHEMA_VERSION = 1
STANDING_MAX = 16
"""Standing alerts a family remembers for withdrawal; the oldest gives way."""
PEOPLE_MAX = 64
"""People a family remembers, those who left included; the oldest who left gives way."""

_HEAD = struct.Struct("<BI")


@dataclass(slots=True)
class Person:
    """One member of a family: a register in which the greatest version wins."""

    version: str
    role: str
    born: int | None  # day of birth (the 15th of the month told), days since 1970
    confidence: float
    removed: bool
    since: int  # log time of joining, seconds

    def as_list(self) -> list[Any]:
        """For the state's bytes."""
        return [self.version, self.role, self.born, self.confidence, self.removed, self.since]


@dataclass(slots=True)
class Standing:
    """An alert that stands: what is needed to supersede or withdraw it."""

    alert_id: str
    kind: str
    rule: str
    grade: str | None
    at: int  # log time, seconds

    def as_list(self) -> list[Any]:
        """For the state's bytes."""
        return [self.alert_id, self.kind, self.rule, self.grade, self.at]


@dataclass(slots=True)
class Family:
    """A family: its facts and its header.

    Args:
        la: authority, ONS code.
        facts: sorted by key, one version a key.
        people: subject -> register.
        score: units last emitted; None before the first score.
        insufficient: whether the last emitted score said "insufficient data".
        band: index of the band alerted and not yet fallen from (hysteresis), 0-3.
        alerted: rule or grade -> log time of its last alert (cool-down).
        standing: alerts that a retraction may withdraw.
        below_since: day since which the score has been below the down line, for open families.
        timers: name -> log time at which it is due.
        decided: last decision of a professional.
        over: a bound was reached once; Once and Undo are no longer promised.
        unscored: the kernel failed on the last record; its fact is kept.
    """

    la: str
    facts: Facts = field(default_factory=lambda: NO_FACTS)
    people: dict[str, Person] = field(default_factory=dict)
    score: int | None = None
    insufficient: bool = False
    band: int = 0
    alerted: dict[str, int] = field(default_factory=dict)
    standing: list[Standing] = field(default_factory=list)
    below_since: int | None = None
    timers: dict[str, int] = field(default_factory=dict)
    decided: dict[str, Any] | None = None
    over: bool = False
    unscored: bool = False

    def due(self) -> int | None:
        """Log time of the next timer."""
        return min(self.timers.values(), default=None)

    def members(self) -> dict[str, Person]:
        """People who belong to the family now."""
        return {subject: person for subject, person in self.people.items() if not person.removed}

    def births(self) -> list[int]:
        """Days of birth of the children, unborn included."""
        return [
            p.born
            for p in self.people.values()
            if p.role == "child" and p.born is not None and not p.removed
        ]

    def counted(self) -> Facts:
        """The facts that count: those of people who left the family, or were linked wrongly, do not."""
        gone = [hash32(subject) for subject, person in self.people.items() if person.removed]
        return self.facts[~np.isin(self.facts["person"], gone)] if gone else self.facts

    def encode(self) -> bytes:
        """Its bytes: schema version, length of the header, header as JSON, facts."""
        header: dict[str, Any] = {"la": self.la}
        if self.people:
            header["people"] = {
                subject: person.as_list() for subject, person in self.people.items()
            }
        if self.standing:
            header["standing"] = [alert.as_list() for alert in self.standing]
        for name in (
            "score",
            "band",
            "alerted",
            "below_since",
            "timers",
            "decided",
            "over",
            "unscored",
            "insufficient",
        ):
            value = getattr(self, name)
            if (
                value is not None
                and value is not False
                and value != {}
                and not (name == "band" and value == 0)
            ):
                header[name] = value
        raw = orjson.dumps(header, option=orjson.OPT_SORT_KEYS)
        return _HEAD.pack(SCHEMA_VERSION, len(raw)) + raw + self.facts.tobytes()

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """A family from its bytes.

        Raises:
            InvariantBroken: the bytes are of another schema version.
        """
        version, length = _HEAD.unpack_from(raw)
        if version != SCHEMA_VERSION:
            raise InvariantBroken(
                f"a family state has schema version {version}; this process reads {SCHEMA_VERSION}"
            )
        header = orjson.loads(raw[_HEAD.size : _HEAD.size + length])
        people = {subject: Person(*values) for subject, values in header.pop("people", {}).items()}
        standing = [Standing(*values) for values in header.pop("standing", ())]
        return cls(
            facts=np.frombuffer(raw, FACT, offset=_HEAD.size + length),
            people=people,
            standing=standing,
            **header,
        )


@dataclass(slots=True)
class Authority:
    """What a partition knows of one authority.

    Args:
        time: log time, seconds; 0 before the first heartbeat.
        control: the control in force, as its JSON; None: nothing may be scored.
        waiting: controls that take effect later, by effective time.
        seen: ids of controls already taken.
        sources: source -> last sign of life, seconds.
        heard: source -> (day, bits): bit n says that the source was heard on day - n.
        started: day of the first heartbeat.
    """

    time: int = 0
    control: dict[str, Any] | None = None
    waiting: list[dict[str, Any]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    sources: dict[str, int] = field(default_factory=dict)
    heard: dict[str, tuple[int, str]] = field(default_factory=dict)
    started: int | None = None


@dataclass(slots=True)
class Partition:
    """State of one partition of the log: authorities, and counts of what became of its records."""

    authorities: dict[str, Authority] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, outcome: str) -> None:
        """One record more ended as `outcome`."""
        self.counts[outcome] = self.counts.get(outcome, 0) + 1

    def encode(self) -> bytes:
        """Its bytes: JSON with sorted keys."""
        return orjson.dumps(
            {"version": SCHEMA_VERSION, "partition": self}, option=orjson.OPT_SORT_KEYS
        )

    @classmethod
    def decode(cls, raw: bytes | None) -> Self:
        """From its bytes; None is a partition that has seen nothing."""
        if raw is None:
            return cls()
        document = orjson.loads(raw)
        if document["version"] != SCHEMA_VERSION:
            raise InvariantBroken(f"a partition state has schema version {document['version']}")
        content = document["partition"]
        authorities = {}
        for la, values in content["authorities"].items():
            values["heard"] = {
                source: (day, bits) for source, (day, bits) in values["heard"].items()
            }
            authorities[la] = Authority(**values)
        return cls(authorities, content["counts"])
