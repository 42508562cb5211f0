"""Working memory of one call of `advance`: states decoded once, timers in step with them, outputs in order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Self

from ehps.alerts import Output
from ehps.authority import coverage, in_force
from ehps.calendar import local_day_of
from ehps.content import Content, Library
from ehps.facts import ON_ROLL_BIT
from ehps.kernel import STATE_BIT, Features
from ehps.policy import Setting, setting
from ehps.state import Authority, Family, Partition


@dataclass(slots=True)
class Batch:
    """Decoded states, and what has been put out so far."""

    partition: Partition
    library: Library
    partition_id: int
    raw: dict[str, bytes | None]
    families: dict[str, Family] = field(default_factory=dict)
    timers: dict[str, dict[str, int]] = field(default_factory=dict)
    alerts: list[Output] = field(default_factory=list)
    scores: list[Output] = field(default_factory=list)
    sequences: Counter[int] = field(default_factory=Counter)
    _enough: dict[tuple[str, int, bool, bool], bool] = field(default_factory=dict)

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

    def content(self, la: str) -> Content:
        """The content in force in `la`."""
        return in_force(self.authority(la), self.library)

    def family(self, key: str, la: str) -> Family:
        """The family's working copy, decoded once."""
        family = self.families.get(key)
        if family is None:
            raw = self.raw[key]
            family = self.families[key] = Family(la) if raw is None else Family.decode(raw)
        return family

    def setting(self, la: str, at: int, offset: int) -> Setting:
        """Where the policy is applied."""
        return setting(la, self.authority(la), self.library, at, self.partition_id, offset)

    def next_sequence(self, offset: int) -> int:
        """Number of the next output of the record at `offset`."""
        self.sequences[offset] += 1
        return self.sequences[offset] - 1

    def note_timer(self, key: str, family: Family) -> None:
        """Keep the index of due families in step with the family."""
        due = family.due()
        if due is None:
            self.timers.get(family.la, {}).pop(key, None)
        else:
            self.timers.setdefault(family.la, {})[key] = due

    def due_families(self, la: str, until: int) -> list[str]:
        """Families with a timer due by `until`, in order of (due, family)."""
        return [
            key
            for due, key in sorted((due, key) for key, due in self.timers.get(la, {}).items())
            if due <= until
        ]

    def insufficient(self, where: Setting, row: Features, index: int) -> bool:
        """Whether too few days were heard from the sources that every such family should have."""
        on_roll = bool(int(row.spells[index]) & ON_ROLL_BIT)
        young = bool(int(row.states[index]) & STATE_BIT["child_under_5"])
        key = (where.la, where.at, on_roll, young)
        if key not in self._enough:
            sources = [
                "police",
                "social-care",
                *(["education"] if on_roll else []),
                *(["health"] if young else []),
            ]
            rule = where.content.policy.insufficient_data
            self._enough[key] = (
                coverage(where.authority, sources, local_day_of(where.at), rule.days)
                < rule.coverage
            )
        return self._enough[key]

    def changed_states(self) -> dict[str, bytes]:
        """Bytes of the families whose state is not what was read."""
        encoded = {key: family.encode() for key, family in self.families.items()}
        return {key: value for key, value in encoded.items() if value != self.raw[key]}

    def changed_timers(self) -> dict[tuple[str, str], int | None]:
        """Next timer of every family that was touched and has, or may have had, one."""
        return {
            (family.la, key): family.due()
            for key, family in self.families.items()
            if family.timers or self.raw[key] is not None
        }
