"""Working memory of one call of `advance`: states decoded once, timers in step with them, outputs in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import heappop, heappush
from typing import Self, TypeVar

from ehps.alerts import Output, Writer
from ehps.authority import coverage, in_force
from ehps.calendar import Ints, local_day_of
from ehps.compiled import compile_content
from ehps.content import STATES
from ehps.facts import SPELLS
from ehps.library import Content, Library
from ehps.policy import Scene
from ehps.state import Authority, Family, Partition
from schemas.links import authority_of

_ALWAYS = frozenset({"police", "social-care"})
_SOURCES = (
    _ALWAYS,
    _ALWAYS | {"health"},
    _ALWAYS | {"education"},
    _ALWAYS | {"health", "education"},
)
"""Sources that a family should have, by `sources_index`."""
SOURCE_SETS = len(_SOURCES)
BLANK = Family().encode()
"""Bytes of a family of which nothing is known: not stored where none is stored."""
_ON_ROLL, _UNDER_FIVE = SPELLS.index("on_roll"), STATES.index("child_under_5")
Bits = TypeVar("Bits", int, Ints)


@dataclass(slots=True)
class Batch:
    """Decoded states, and what has been put out so far.

    Args:
        raw: states as read; `families` holds those that were looked at, the calm ones' new states and timers
            stand beside them (`ehps.calm`).
        silent: nothing is written out, for those who ask for states alone.
    """

    partition: Partition
    library: Library
    partition_id: int
    raw: dict[str, bytes | None]
    silent: bool = False
    families: dict[str, Family] = field(default_factory=dict)
    alerts: list[Output] = field(default_factory=list)
    scores: list[Output] = field(default_factory=list)
    calm_states: dict[str, bytes] = field(default_factory=dict)
    calm_timers: dict[tuple[str, str], int | None] = field(default_factory=dict)
    _timers: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    _due: dict[str, int | None] = field(default_factory=dict)
    _due_read: dict[str, int | None] = field(default_factory=dict)
    _sequences: dict[int, int] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        partition: bytes | None,
        families: dict[str, bytes | None],
        due: list[tuple[str, int, str]],
        library: Library,
        partition_id: int,
        *,
        silent: bool = False,
    ) -> Self:
        """From a snapshot's parts."""
        batch = cls(Partition.decode(partition), library, partition_id, families, silent)
        for _, at, key in due:
            batch._note(key, at)
        return batch

    def authority(self, la: str) -> Authority:
        """What is known of the authority; at first sight, nothing."""
        return self.partition.authorities.get(la) or Authority()

    def scene(self, la: str) -> Scene | None:
        """Where and when the policy is applied now; None: no control is in force in the authority."""
        authority = self.authority(la)
        if authority.control is None:
            return None
        compiled = compile_content(in_force(authority, self.library))
        return Scene(la, authority, compiled, authority.time, self.partition_id, 0)

    def family(self, key: str) -> Family:
        """The family's working copy, decoded once."""
        family = self.families.get(key)
        if family is None:
            family = self.families[key] = Family(self.raw[key])
            self._due_read[key] = family.due()
        return family

    def next_sequence(self, offset: int) -> int:
        """Number of the next output of the record at `offset`."""
        sequence = self._sequences.get(offset, 0)
        self._sequences[offset] = sequence + 1
        return sequence

    def say(self, alerts: Iterable[Writer]) -> None:
        """Put alerts out, in order."""
        if not self.silent:
            self.alerts += [write() for write in alerts]

    def say_score(self, write: Writer) -> None:
        """Put a score out."""
        if not self.silent:
            self.scores.append(write())

    def note_timer(self, key: str, family: Family) -> None:
        """Keep the index of due families in step with the family."""
        self._note(key, family.due())

    def _note(self, key: str, due: int | None) -> None:
        if self._due.get(key) != due:
            self._due[key] = due
            if due is not None:
                heappush(self._timers.setdefault(authority_of(key), []), (due, key))

    def due_families(self, la: str, until: int, most: int) -> list[str]:
        """The first families with a timer due by `until`, in order of (due, family).

        They are taken from the index: what is to be fired again must be noted anew.
        """
        heap = self._timers.get(la, [])
        found: list[str] = []
        while heap and heap[0][0] <= until and len(found) < most:
            at, key = heappop(heap)
            if self._due[key] == at:  # else an entry that time has left behind
                found.append(key)
                self._due[key] = None
        return found

    def changed_states(self) -> dict[str, bytes]:
        """Bytes of the families whose state is not what was read."""
        encoded = {key: family.encode() for key, family in self.families.items()}
        return self.calm_states | {
            key: value for key, value in encoded.items() if value != (self.raw[key] or BLANK)
        }

    def changed_timers(self) -> dict[tuple[str, str], int | None]:
        """Next timer of every family whose next timer is another than was read."""
        return self.calm_timers | {
            (authority_of(key), key): due
            for key, family in self.families.items()
            if (due := family.due()) != self._due_read[key]
        }


def sources_index(spells: Bits, states: Bits) -> Bits:
    """Which sources families should have: 2 where a child is on roll, and 1 more where one is under five.

    Args:
        spells, states: as the kernel tells them, of one row or of many.
    """
    return (spells >> _ON_ROLL & 1) << 1 | (states >> _UNDER_FIVE & 1)


def too_little_heard(scene: Scene, sources: int) -> bool:
    """Whether too few days were heard from the sources (`sources_index`) that every such family should have."""
    return _too_little(scene.authority, scene.compiled.content, scene.at, _SOURCES[sources])


@lru_cache(maxsize=4096)
def _too_little(
    authority: Authority,
    content: Content,
    moment: int,
    sources: frozenset[str],
) -> bool:
    rule = content.policy.insufficient_data
    return coverage(authority, sources, local_day_of(moment), rule.days) < rule.coverage
