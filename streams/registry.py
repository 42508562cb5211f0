"""What intake looks up in Redis: links, parked events, authorities, signs of life.

All its keys share one hash tag, so that a link, a parked event and the position that they were read up to change
together in a cluster too. It is a view of topics: what Redis loses of it is read again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, cast

import redis

from streams.errors import Conflict, LookupsLost
from streams.ports import PARKED_AT_ONCE, Link, Parked, Stretch
from streams.redisclient import owner_of

TAG = "{ehps}"
AUTHORITIES = f"{TAG}:authorities"
HISTORY, LIVE = "history", "live"
"""Modes of an authority: its heartbeats come with imported history, or from the clock."""
_WHOLE = "whole"
"""Field among the authorities, lost with them: they are all there."""


class Registry:
    """The look-ups."""

    def __init__(self, client: redis.Redis) -> None:
        """Prepare the scripts."""
        self.client = client
        folder = resources.files("streams")

        def script(name: str) -> Any:
            return client.register_script((folder / f"{name}.lua").read_text())

        self._learn, self._links, self._parked = script("learn"), script("links"), script("parked")
        self._sign, self._look_up = script("sign"), script("look_up")
        self._set_up: dict[str, str] = {}

    def families_of(self, subjects: list[str]) -> list[str | None]:
        """Family keys of people, None where no link is known."""
        keys = [link_key(subject) for subject in subjects]
        found = cast("list[bytes | None]", self.client.mget(keys)) if keys else []
        return [_family(raw) for raw in found]

    def look_up(self, subjects: list[str]) -> tuple[dict[str, str], list[str | None]]:
        """`served` and `families_of`, in one call: intake asks both of every batch.

        Raises:
            LookupsLost: as `served`.
        """
        keys = [AUTHORITIES, *map(link_key, subjects)]
        flat, found = cast("list[Any]", self._look_up(keys=keys))
        held = dict(zip(flat[::2], flat[1::2], strict=True))
        return self._served(_texts(held)), [_family(raw) for raw in found]

    def links(self, subjects: list[str], stretch: Stretch) -> list[Link | None]:
        """The greatest link of each person; None: never linked.

        Position and links are read at once: a Redis that went back between the two would show
        links from before the stretch, though what is between was taken already.

        Raises:
            Conflict: Redis stands before the stretch.
        """
        keys = [positions_key(stretch.topic), *map(link_key, subjects)]
        at, found = cast("list[Any]", self._links(keys=keys, args=[stretch.partition]))
        if int(at) < stretch.start:
            raise Conflict(f"{stretch.topic}: Redis stands at {int(at)}")
        return [
            None if raw is None else Link(subject, raw.decode().partition("|")[0], _family(raw))
            for subject, raw in zip(subjects, found, strict=True)
        ]

    def positions(self, topic: str) -> Mapping[int, int]:
        """Partition -> the offset of the topic up to which Redis holds what it says."""
        found = cast("dict[bytes, bytes]", self.client.hgetall(positions_key(topic)))
        return {int(partition): int(offset) for partition, offset in found.items()}

    def learn(
        self, stretch: Stretch, links: Sequence[Link] = (), parked: Sequence[Parked] = ()
    ) -> None:
        """Links (the greatest wins), parked events and the position they were read up to: all or nothing.

        Raises:
            Conflict: Redis stands before the stretch, so something before it is missing; nothing was written.
        """
        keys = [
            positions_key(stretch.topic),
            *(link_key(link.subject) for link in links),
            *(parked_key(event.subject) for event in parked),
        ]
        arguments: list[Any] = [stretch.partition, stretch.start, stretch.end, len(links)]
        arguments += ["|".join(link.order) for link in links]
        for event in parked:
            arguments += [event.coordinates, event.record]
        held = cast("int", self._learn(keys=keys, args=arguments))
        if held >= 0:
            raise Conflict(f"{stretch}: Redis holds the topic only up to {held}")

    def parked(self, subjects: list[str]) -> dict[str, dict[str, bytes]]:
        """Parked events by coordinates, of those people who have any: `PARKED_AT_ONCE` events in all at most."""
        keys = [parked_key(subject) for subject in subjects]
        found = cast(
            "list[list[bytes]]", self._parked(keys=keys, args=[PARKED_AT_ONCE]) if keys else []
        )
        return {
            subject: {
                place.decode(): record
                for place, record in zip(events[::2], events[1::2], strict=True)
            }
            for subject, events in zip(subjects, found, strict=False)
            if events
        }

    def unpark(self, subject: str, coordinates: list[str]) -> None:
        """Forget parked events that are on the log now."""
        if coordinates:
            self.client.hdel(parked_key(subject), *coordinates)

    def parked_subjects(self) -> list[str]:
        """People with parked events."""
        start = parked_key("")
        found = self.client.scan_iter(match=f"{start}*", count=1000)
        return sorted(key.decode().removeprefix(start) for key in found)

    def authorities(self) -> dict[str, str]:
        """Authority -> mode (history or live)."""
        return {la: mode for la, mode in self._authorities().items() if la != _WHOLE}

    def served(self) -> dict[str, str]:
        """The same, for those who refuse what is of no authority.

        Raises:
            LookupsLost: Redis was lost, so that an authority may be missing.
        """
        return self._served(self._authorities())

    def _served(self, held: dict[str, str]) -> dict[str, str]:
        if held.pop(_WHOLE, None) is None:
            raise LookupsLost("Redis lost its look-ups: they are read again within a sweep")
        for la in self._set_up.keys() - held.keys():  # Redis went back to before it was set up
            self.client.hsetnx(AUTHORITIES, la, self._set_up[la])
        self._set_up |= held
        return dict(self._set_up)

    def _authorities(self) -> dict[str, str]:
        return _texts(cast("dict[bytes, bytes]", self.client.hgetall(AUTHORITIES)))

    def whole(self) -> bool:
        """Whether every authority is known; a lost Redis knows none."""
        return bool(self.client.hexists(AUTHORITIES, _WHOLE))

    def mark_whole(self, modes: Mapping[str, str]) -> None:
        """These are all authorities; Redis knows better in which mode. At once: it may be lost between two calls."""
        with owner_of(self.client, AUTHORITIES).pipeline(transaction=True) as change:
            for la, mode in {**modes, _WHOLE: ""}.items():
                change.hsetnx(AUTHORITIES, la, mode)
            change.execute()

    def doubt(self) -> None:
        """An authority may be missing: nothing is refused until they are marked whole again."""
        self.client.hdel(AUTHORITIES, _WHOLE)

    def set_authority(self, la: str, mode: str) -> None:
        """Set an authority up: from now on its events are taken."""
        self._set_up[la] = mode
        self.client.hset(AUTHORITIES, la, mode)

    def note_control(self, la: str, name: str, control: bytes) -> None:
        """A control that is on the log, by its id."""
        self.client.hset(_controls_key(la), name, cast("Any", control))

    def controls(self, la: str) -> dict[str, bytes]:
        """Controls of an authority that are in force, or will be, by id."""
        found = cast("dict[bytes, bytes]", self.client.hgetall(_controls_key(la)))
        return {name.decode(): control for name, control in found.items()}

    def forget_controls(self, la: str, names: list[str]) -> None:
        """Controls that others have taken the place of."""
        if names:
            self.client.hdel(_controls_key(la), *names)

    def sign(self, la: str, signs: dict[str, int]) -> None:
        """Signs of life: source -> seconds since 1970, the greatest is kept."""
        self._sign(keys=[_signs_key(la)], args=[part for sign in signs.items() for part in sign])

    def signs(self, la: str) -> dict[str, int]:
        """Last sign of life of each source, seconds since 1970."""
        found = cast("dict[bytes, bytes]", self.client.hgetall(_signs_key(la)))
        return {source.decode(): int(at) for source, at in found.items()}


def link_key(subject: str) -> str:
    """Where a person's link is."""
    return f"{TAG}:link:{subject}"


def parked_key(subject: str) -> str:
    """Where a person's parked events are."""
    return f"{TAG}:parked:{subject}"


def positions_key(topic: str) -> str:
    """Where it says how far a topic was read."""
    return f"{TAG}:read:{topic}"


def _controls_key(la: str) -> str:
    return f"{TAG}:controls:{la}"


def _signs_key(la: str) -> str:
    return f"{TAG}:signs:{la}"


def _texts(held: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in held.items()}


def _family(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode().partition("|")[2] or None
