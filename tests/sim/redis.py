"""Redis in memory, at the level of the store's methods: it can go back to how it was, or lose everything."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from ehps.advance import Needs, Snapshot, Step
from ehps.replay import MemoryStore
from streams.errors import Conflict, LookupsLost
from streams.ports import PARKED_AT_ONCE, Link, Parked, Stretch, Write

if TYPE_CHECKING:
    from tests.sim.world import World

SNAPSHOTS_MAX = 24
"""Writes that a failover may take back."""


@dataclass
class Contents:
    """All that Redis holds."""

    stores: dict[int, MemoryStore] = field(default_factory=dict)
    seals: dict[int, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    parked: dict[str, dict[str, bytes]] = field(default_factory=dict)
    authorities: dict[str, str] = field(default_factory=dict)
    signs: dict[str, dict[str, int]] = field(default_factory=dict)
    positions: dict[str, dict[int, int]] = field(default_factory=dict)
    controls: dict[str, dict[str, bytes]] = field(default_factory=dict)
    whole: bool = False

    def store(self, partition: int) -> MemoryStore:
        return self.stores.setdefault(partition, MemoryStore())

    def copy(self) -> Contents:
        stores = {
            p: MemoryStore(s.offset, s.partition, dict(s.families), dict(s.timers))
            for p, s in self.stores.items()
        }
        return Contents(
            stores,
            dict(self.seals),
            dict(self.links),
            {name: dict(held) for name, held in self.parked.items()},
            dict(self.authorities),
            {name: dict(held) for name, held in self.signs.items()},
            {name: dict(held) for name, held in self.positions.items()},
            {name: dict(held) for name, held in self.controls.items()},
            self.whole,
        )


class Redis:
    """One server, and the states that it may be found in after a failover."""

    def __init__(self) -> None:
        self.held = Contents()
        self._earlier: deque[Contents] = deque(maxlen=SNAPSHOTS_MAX)

    def writing(self) -> Contents:
        """To be called before each write."""
        self._earlier.append(self.held.copy())
        return self.held

    def go_back(self, writes: int) -> None:
        """A replica took over, or an older dump was put back."""
        if self._earlier:
            self.held = self._earlier[-min(writes, len(self._earlier))].copy()

    def lose(self) -> None:
        """Everything is gone."""
        self.held = Contents()


class States:
    """The port of the same name: `streams.store.RedisStore` without the server."""

    def __init__(self, world: World) -> None:
        self.world, self.redis = world, world.redis

    def read(self, wanted: Mapping[int, Needs]) -> dict[int, Snapshot]:
        return {
            p: self.world.ask(lambda p=p, needs=needs: self.redis.held.store(p).read(needs))
            for p, needs in wanted.items()
        }

    def commit(self, writes: Sequence[Write]) -> None:
        """One refused or unanswered leaves the others to run, as in an exchange with a server."""
        refused: list[Exception] = []
        for write in writes:
            try:
                self.world.ask(lambda write=write: self._commit(*write))
            except Exception as error:  # noqa: BLE001  (raised below)
                refused.append(error)
        if refused:
            raise refused[0]

    def _commit(self, partition: int, expected: int, step: Step, guard: bytes) -> None:
        held = self.redis.writing()
        if not held.store(partition).commit(expected, step):
            raise Conflict(f"partition {partition}")
        held.seals[partition] = guard

    def standing(self, partition: int) -> tuple[int, dict[str, Any] | None]:
        def answer() -> tuple[int, dict[str, Any] | None]:
            held = self.redis.held
            seal = held.seals.get(partition)
            return held.store(partition).offset, None if seal is None else orjson.loads(seal)

        return self.world.ask(answer)


class Lookups:
    """The port of the same name: `streams.store.Registry` without the server."""

    def __init__(self, world: World) -> None:
        self.world, self.redis = world, world.redis
        self._set_up: dict[str, str] = {}

    def families_of(self, subjects: list[str]) -> list[str | None]:
        def answer() -> list[str | None]:
            links = self.redis.held.links
            return [links.get(name, "").partition("|")[2] or None for name in subjects]

        return self.world.ask(answer)

    def look_up(self, subjects: list[str]) -> tuple[dict[str, str], list[str | None]]:
        return self.served(), self.families_of(subjects)

    def links(self, subjects: list[str], stretch: Stretch) -> list[Link | None]:
        def answer() -> list[Link | None]:
            at = self.redis.held.positions.get(stretch.topic, {}).get(stretch.partition, 0)
            if at < stretch.start:
                raise Conflict(f"{stretch}: {at}")
            return [self._link(subject) for subject in subjects]

        return self.world.ask(answer)

    def _link(self, subject: str) -> Link | None:
        raw = self.redis.held.links.get(subject)
        if raw is None:
            return None
        version, _, family = raw.partition("|")
        return Link(subject, version, family or None)

    def positions(self, topic: str) -> Mapping[int, int]:
        return self.world.ask(lambda: dict(self.redis.held.positions.get(topic, {})))

    def learn(
        self, stretch: Stretch, links: Sequence[Link] = (), parked: Sequence[Parked] = ()
    ) -> None:
        self.world.ask(lambda: self._learn(stretch, links, parked))

    def _learn(self, stretch: Stretch, links: Sequence[Link], parked: Sequence[Parked]) -> None:
        held = self.redis.writing()
        positions = held.positions.setdefault(stretch.topic, {})
        at = positions.get(stretch.partition, 0)
        if at < stretch.start:
            raise Conflict(f"{stretch}: {at}")
        for link in links:
            text = "|".join(link.order)
            held.links[link.subject] = max(held.links.get(link.subject, ""), text)
        for event in parked:
            held.parked.setdefault(event.subject, {})[event.coordinates] = event.record
        if stretch.end > at:
            positions[stretch.partition] = stretch.end

    def parked(self, subjects: list[str]) -> dict[str, dict[str, bytes]]:
        def answer() -> dict[str, dict[str, bytes]]:
            held, left, found = self.redis.held.parked, PARKED_AT_ONCE, {}
            for subject in subjects:
                found[subject] = dict(islice(held.get(subject, {}).items(), left))
                left -= len(found[subject])
            return {subject: events for subject, events in found.items() if events}

        return self.world.ask(answer)

    def unpark(self, subject: str, coordinates: list[str]) -> None:
        def drop() -> None:
            mine = self.redis.writing().parked.get(subject, {})
            for place in coordinates:
                mine.pop(place, None)

        self.world.ask(drop)

    def parked_subjects(self) -> list[str]:
        return self.world.ask(
            lambda: sorted(name for name, mine in self.redis.held.parked.items() if mine)
        )

    def authorities(self) -> dict[str, str]:
        return self.world.ask(lambda: dict(self.redis.held.authorities))

    def served(self) -> dict[str, str]:
        whole, held = self.world.ask(
            lambda: (self.redis.held.whole, dict(self.redis.held.authorities))
        )
        if not whole:
            raise LookupsLost
        for la in self._set_up.keys() - held.keys():
            self.world.ask(
                lambda la=la: self.redis.writing().authorities.setdefault(la, self._set_up[la])
            )
        self._set_up |= held
        return dict(self._set_up)

    def whole(self) -> bool:
        return self.world.ask(lambda: self.redis.held.whole)

    def mark_whole(self, modes: Mapping[str, str]) -> None:
        def mark() -> None:
            held = self.redis.writing()
            held.authorities = dict(modes) | held.authorities
            held.whole = True

        self.world.ask(mark)

    def doubt(self) -> None:
        self.world.ask(lambda: setattr(self.redis.writing(), "whole", False))

    def set_authority(self, la: str, mode: str) -> None:
        self._set_up[la] = mode
        self.world.ask(lambda: self.redis.writing().authorities.update({la: mode}))

    def note_control(self, la: str, name: str, control: bytes) -> None:
        self.world.ask(
            lambda: self.redis.writing().controls.setdefault(la, {}).update({name: control})
        )

    def controls(self, la: str) -> dict[str, bytes]:
        return self.world.ask(lambda: dict(self.redis.held.controls.get(la, {})))

    def forget_controls(self, la: str, names: list[str]) -> None:
        def drop() -> None:
            mine = self.redis.writing().controls.get(la, {})
            for name in names:
                mine.pop(name, None)

        self.world.ask(drop)

    def sign(self, la: str, signs: dict[str, int]) -> None:
        def note() -> None:
            mine = self.redis.writing().signs.setdefault(la, {})
            for source, at in signs.items():
                mine[source] = max(at, mine.get(source, 0))

        self.world.ask(note)

    def signs(self, la: str) -> dict[str, int]:
        return self.world.ask(lambda: dict(self.redis.held.signs.get(la, {})))
