"""Working memory of one call of `advance`: states decoded once, timers in step with them, outputs in order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Self

from ehps.alerts import Output
from ehps.authority import coverage, in_force
from ehps.calendar import local_day_of
from ehps.kernel import Compiled, compile_content
from ehps.library import Library
from ehps.policy import Scene
from ehps.state import Authority, Family, Partition
from schemas.links import authority_of


@dataclass(slots=True)
class Batch:
    """Decoded states, and what has been put out so far.

    Args:
        raw: states as read; `families` holds those that were looked at.
        timers: authority -> family -> due, of the timers that heartbeats of this batch may fire.
    """

    partition: Partition
    library: Library
    partition_id: int
    raw: dict[str, bytes | None]
    families: dict[str, Family] = field(default_factory=dict)
    timers: dict[str, dict[str, int]] = field(default_factory=dict)
    alerts: list[Output] = field(default_factory=list)
    scores: list[Output] = field(default_factory=list)
    _due_read: dict[str, int | None] = field(default_factory=dict)
    _sequences: Counter[int] = field(default_factory=Counter)

    @classmethod
    def load(
        cls,
        partition: bytes | None,
        families: dict[str, bytes | None],
        due: list[tuple[str, int, str]],
        library: Library,
        partition_id: int,
    ) -> Self:
        """From a snapshot's parts."""
        batch = cls(Partition.decode(partition), library, partition_id, families)
        for la, at, key in due:
            batch.timers.setdefault(la, {})[key] = at
        return batch

    def authority(self, la: str) -> Authority:
        """The authority's part of the partition state, made at first sight."""
        return self.partition.authorities.setdefault(la, Authority())

    def compiled(self, la: str) -> Compiled:
        """The content in force in `la`, as tables."""
        return compile_content(in_force(self.authority(la), self.library))

    def family(self, key: str) -> Family:
        """The family's working copy, decoded once."""
        family = self.families.get(key)
        if family is None:
            family = self.families[key] = Family(self.raw[key])
            self._due_read[key] = family.due()
        return family

    def scene(self, la: str, at: int, offset: int) -> Scene:
        """Where the policy is applied."""
        return Scene(la, self.authority(la), self.compiled(la), at, self.partition_id, offset)

    def next_sequence(self, offset: int) -> int:
        """Number of the next output of the record at `offset`."""
        self._sequences[offset] += 1
        return self._sequences[offset] - 1

    def note_timer(self, key: str, family: Family) -> None:
        """Keep the index of due families in step with the family."""
        index, due = self.timers.setdefault(authority_of(key), {}), family.due()
        if due is None:
            index.pop(key, None)
        else:
            index[key] = due

    def due_families(self, la: str, until: int) -> list[str]:
        """Families with a timer due by `until`, in order of (due, family)."""
        due = sorted((at, key) for key, at in self.timers.get(la, {}).items())
        return [key for at, key in due if at <= until]

    def changed_states(self) -> dict[str, bytes]:
        """Bytes of the families whose state is not what was read."""
        encoded = {key: family.encode() for key, family in self.families.items()}
        return {key: value for key, value in encoded.items() if value != self.raw[key]}

    def changed_timers(self) -> dict[tuple[str, str], int | None]:
        """Next timer of every family whose next timer is another than was read."""
        return {
            (authority_of(key), key): due
            for key, family in self.families.items()
            if (due := family.due()) != self._due_read[key]
        }


def too_little_heard(scene: Scene, *, on_roll: bool, under_five: bool) -> bool:
    """Whether too few days were heard from the sources that every such family should have."""
    sources = {"police", "social-care"}
    sources |= {"education"} if on_roll else set()
    sources |= {"health"} if under_five else set()
    rule = scene.content.policy.insufficient_data
    heard = coverage(scene.authority, sources, local_day_of(scene.at), rule.days)
    return heard < rule.coverage
