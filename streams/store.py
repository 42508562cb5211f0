"""The Redis store: one atomic read and one compare-and-set a batch; links, parked events, signs of life.

All keys of log partition p share the hash tag `{ehps:p}`, so that one script may touch them in a cluster. There is no
TTL anywhere and `maxmemory-policy` must be `noeviction`: a key that went missing would look like a new family.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, cast

import orjson
import redis

from ehps.advance import Needs, Snapshot, Step
from streams.errors import ConfigError, Conflict, LookupsLost, RedisUnavailable
from streams.ports import Link, Parked, Stretch

PARKED_PER_PERSON_MAX = 1000
"""Events kept at hand for a person without a family; `ehps.unlinked.v1` holds all of them."""

_WHOLE = "whole"
"""Field among the authorities, lost with them: they are all there."""
HISTORY, LIVE = "history", "live"
"""Modes of an authority: its heartbeats come with imported history, or from the clock."""


def connect(url: str) -> redis.Redis:
    """A client that has been answered, on a server that never evicts.

    Raises:
        RedisUnavailable: nobody answers at `url`.
        ConfigError: the server would evict keys.
    """
    client = redis.Redis.from_url(url, socket_timeout=30, socket_connect_timeout=3)
    try:
        policy = client.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
    except redis.ResponseError:
        policy = "noeviction"  # a managed server that hides its settings; `doctor` says so
    except redis.RedisError as error:
        raise RedisUnavailable(
            f"Redis does not answer at {shown(url)}: start it (`ehps up` or `make stack`), or set EHPS_REDIS"
        ) from error
    if policy != "noeviction":
        raise ConfigError(
            f"Redis at {shown(url)} has maxmemory-policy {policy}: set it to noeviction, or states would vanish"
        )
    return client


def shown(url: str) -> str:
    """An address without the name and password that it may hold."""
    return re.sub(r"//[^@/]*@", "//", url)


def tag(partition: int) -> str:
    """The hash tag of a log partition's keys."""
    return f"{{ehps:{partition}}}"


def prefix(partition: int, generation: str) -> str:
    """What a partition's keys of one generation of states begin with; the first generation has no name."""
    return f"{tag(partition)}:{generation}" if generation else tag(partition)


class RedisStore:
    """States of the log's partitions."""

    def __init__(self, client: redis.Redis) -> None:
        """Prepare the two scripts; they are sent by hash and sent whole where the server lost them."""
        self.client = client
        self._generations: dict[int, str] = {}
        folder = resources.files("streams")
        self._read = client.register_script((folder / "read.lua").read_text())
        self._commit = client.register_script((folder / "commit.lua").read_text())

    def read(self, partition: int, needs: Needs) -> Snapshot:
        """Everything that a batch needs, in one atomic call."""
        arguments: list[Any] = [len(needs.families), *needs.families]
        for la, until, limit in needs.due:
            arguments += [la, until, limit]
        answer = self._read_once(partition, arguments)
        while answer is None:  # a rebuild switched: once, and seldom
            self._generations[partition] = self.generation(partition)
            answer = self._read_once(partition, arguments)
        offset, state, names, states, due = answer
        families = {name.decode(): value for name, value in zip(names, states, strict=True)}
        timers = [
            (due[n].decode(), int(due[n + 1]), due[n + 2].decode()) for n in range(0, len(due), 3)
        ]
        return Snapshot(int(offset), state, families, timers)

    def _read_once(self, partition: int, arguments: list[Any]) -> list[Any] | None:
        generation = self._generations.get(partition, "")
        at = prefix(partition, generation)
        keys = [f"{at}:offset", f"{at}:state", f"{at}:timers", f"{at}:f:"]
        return cast(
            "list[Any] | None",
            self._read(keys=[*keys, f"{tag(partition)}:generation"], args=[generation, *arguments]),
        )

    def commit(self, partition: int, expected: int, step: Step, guard: bytes) -> None:
        """Set states, timers, partition state, offset and guard, if the offset is still `expected`.

        Raises:
            Conflict: it is not; nothing was written.
        """
        generation = self._generations.get(partition, "")
        at = prefix(partition, generation)
        keys = [
            f"{at}:offset",
            f"{at}:state",
            f"{at}:guard",
            f"{at}:timers",
            f"{tag(partition)}:generation",
            *(f"{at}:f:{name}" for name in step.states),
        ]
        arguments: list[Any] = [
            expected,
            step.offset,
            step.partition,
            guard,
            len(step.states),
            generation,
            *step.states.values(),
        ]
        for (la, family), due in step.timers.items():
            arguments += [la, family, "" if due is None else due]
        held = cast("int", self._commit(keys=keys, args=arguments))
        if held != -1:
            stands = (
                f"stands at {held}" if held >= 0 else "holds states that were rebuilt meanwhile"
            )
            raise Conflict(f"partition {partition}: expected offset {expected}, Redis {stands}")

    def standing(self, partition: int) -> tuple[int, dict[str, Any] | None]:
        """(next record to apply, guard of the last applied), in one read: another owner may be at work."""
        at = self.at(partition)
        offset, raw = cast("list[bytes | None]", self.client.mget([f"{at}:offset", f"{at}:guard"]))
        return int(offset or 0), None if raw is None else orjson.loads(raw)

    def generation(self, partition: int) -> str:
        """The generation of states that is in force; a rebuild makes the next."""
        raw = cast("bytes | None", self.client.get(f"{tag(partition)}:generation"))
        return (raw or b"").decode()

    def at(self, partition: int) -> str:
        """What the keys of the states in force begin with."""
        return prefix(partition, self.generation(partition))

    def offset(self, partition: int) -> int:
        """The next record to apply."""
        return int(cast("bytes | None", self.client.get(f"{self.at(partition)}:offset")) or 0)

    def guard(self, partition: int) -> dict[str, Any] | None:
        """Topic id and digest of the last record applied; None before the first."""
        raw = cast("bytes | None", self.client.get(f"{self.at(partition)}:guard"))
        return None if raw is None else cast("dict[str, Any]", orjson.loads(raw))

    def partition_state(self, partition: int) -> bytes | None:
        """Bytes of the partition state."""
        return cast("bytes | None", self.client.get(f"{self.at(partition)}:state"))

    def family(self, partition: int, name: str) -> bytes | None:
        """Bytes of one family's state."""
        return cast("bytes | None", self.client.get(f"{self.at(partition)}:f:{name}"))

    def families(self, partition: int) -> dict[str, bytes]:
        """Every family of a partition; for verification, not for the event path."""
        start = f"{self.at(partition)}:f:"
        found: dict[str, bytes] = {}
        for batch in self.keys(start):
            values = cast("list[bytes]", self.client.mget(batch))
            names = (key.decode().removeprefix(start) for key in batch)
            found |= dict(zip(names, values, strict=True))
        return found

    def keys(self, start: str) -> Iterator[list[bytes]]:
        """Keys that begin with `start`, in lists of a thousand at most; each may come more than once."""
        batch: list[bytes] = []
        for key in self.client.scan_iter(match=start.replace("{", "\\{") + "*", count=2000):
            batch.append(key)
            if len(batch) == 1000:
                yield batch
                batch = []
        if batch:
            yield batch

    def timers(self, partition: int, la: str) -> dict[str, int]:
        """Family -> when its next timer is due, of one authority."""
        found = self.client.zrange(f"{self.at(partition)}:timers:{la}", 0, -1, withscores=True)
        return {family.decode(): int(due) for family, due in cast("list[Any]", found)}


class Registry:
    """What intake looks up: links, parked events, authorities, signs of life."""

    def __init__(self, client: redis.Redis) -> None:
        """Prepare the script that learns."""
        self.client = client
        self._learn = client.register_script((resources.files("streams") / "learn.lua").read_text())
        self._set_up: dict[str, str] = {}

    def families_of(self, subjects: list[str]) -> list[str | None]:
        """Family keys of people, None where no link is known."""
        return [_family(raw) for raw in self._links(subjects)]

    def links(self, subjects: list[str], stretch: Stretch) -> list[Link | None]:
        """The greatest link of each person; None: never linked.

        Position and links are read in one transaction: a Redis that went back between the two would show
        links from before the stretch, though what is between was taken already.

        Raises:
            Conflict: Redis stands before the stretch.
        """
        with self.client.pipeline(transaction=True) as both:
            both.hget(f"ehps:read:{stretch.topic}", str(stretch.partition))
            both.mget([_link_key(subject) for subject in subjects] or ["ehps:link:"])
            at, found = both.execute()
        if int(at or 0) < stretch.start:
            raise Conflict(f"{stretch.topic}: Redis stands at {int(at or 0)}")
        return [
            None if raw is None else Link(subject, raw.decode().partition("|")[0], _family(raw))
            for subject, raw in zip(subjects, found[: len(subjects)], strict=True)
        ]

    def _links(self, subjects: list[str]) -> list[bytes | None]:
        keys = [_link_key(subject) for subject in subjects]
        return cast("list[bytes | None]", self.client.mget(keys)) if keys else []

    def positions(self, topic: str) -> Mapping[int, int]:
        """Partition -> the offset of the topic up to which Redis holds what it says."""
        found = cast("dict[bytes, bytes]", self.client.hgetall(f"ehps:read:{topic}"))
        return {int(partition): int(offset) for partition, offset in found.items()}

    def learn(
        self, stretch: Stretch, links: Sequence[Link] = (), parked: Sequence[Parked] = ()
    ) -> None:
        """Links (the greatest version wins), parked events and the position they were read up to: all or nothing.

        Raises:
            Conflict: Redis stands before the stretch, so something before it is missing; nothing was written.
        """
        keys = [
            f"ehps:read:{stretch.topic}",
            *(f"ehps:link:{link.subject}" for link in links),
            *(f"ehps:parked:{event.subject}" for event in parked),
        ]
        arguments: list[Any] = [stretch.partition, stretch.start, stretch.end]
        arguments += [len(links), PARKED_PER_PERSON_MAX]
        arguments += [f"{link.version}|{link.family or ''}" for link in links]
        for event in parked:
            arguments += [event.coordinates, event.record]
        held = cast("int", self._learn(keys=keys, args=arguments))
        if held >= 0:
            raise Conflict(f"{stretch}: Redis holds the topic only up to {held}")

    def parked(self, subjects: list[str]) -> dict[str, dict[str, bytes]]:
        """Parked events by coordinates, of those people who have any."""
        with self.client.pipeline(transaction=False) as pipe:
            for subject in subjects:
                pipe.hgetall(f"ehps:parked:{subject}")
            found = cast("list[dict[bytes, bytes]]", pipe.execute())
        return {
            subject: {place.decode(): record for place, record in events.items()}
            for subject, events in zip(subjects, found, strict=True)
            if events
        }

    def unpark(self, subject: str, coordinates: list[str]) -> None:
        """Forget parked events that are on the log now."""
        if coordinates:
            self.client.hdel(f"ehps:parked:{subject}", *coordinates)

    def parked_subjects(self) -> list[str]:
        """People with parked events."""
        return sorted(
            key.decode().removeprefix("ehps:parked:")
            for key in self.client.scan_iter(match="ehps:parked:*", count=1000)
        )

    def authorities(self) -> dict[str, str]:
        """Authority -> mode (history or live)."""
        return {la: mode for la, mode in self._authorities().items() if la != _WHOLE}

    def served(self) -> dict[str, str]:
        """The same, for those who refuse what is of no authority.

        Raises:
            LookupsLost: Redis was lost, so that an authority may be missing.
        """
        held = self._authorities()
        if held.pop(_WHOLE, None) is None:
            raise LookupsLost("Redis lost its look-ups: they are read again within a sweep")
        for la in self._set_up.keys() - held.keys():  # Redis went back to before it was set up
            self.client.hsetnx("ehps:authorities", la, self._set_up[la])
        self._set_up |= held
        return dict(self._set_up)

    def _authorities(self) -> dict[str, str]:
        found = cast("dict[bytes, bytes]", self.client.hgetall("ehps:authorities"))
        return {la.decode(): mode.decode() for la, mode in found.items()}

    def whole(self) -> bool:
        """Whether every authority is known; a lost Redis knows none."""
        return bool(self.client.hexists("ehps:authorities", _WHOLE))

    def mark_whole(self) -> None:
        """Every authority that the log names is known."""
        self.client.hset("ehps:authorities", _WHOLE, "")

    def set_authority(self, la: str, mode: str) -> None:
        """Set an authority up: from now on its events are taken."""
        self._set_up[la] = mode
        self.client.hset("ehps:authorities", la, mode)

    def sign(self, la: str, signs: dict[str, int]) -> None:
        """Signs of life: source -> seconds since 1970, the greatest is kept."""
        held = self.signs(la)
        newer = {source: at for source, at in signs.items() if at > held.get(source, 0)}
        if newer:
            self.client.hset(f"ehps:signs:{la}", mapping=cast("Any", newer))

    def signs(self, la: str) -> dict[str, int]:
        """Last sign of life of each source, seconds since 1970."""
        found = cast("dict[bytes, bytes]", self.client.hgetall(f"ehps:signs:{la}"))
        return {source.decode(): int(at) for source, at in found.items()}


def _link_key(subject: str) -> str:
    return f"ehps:link:{subject}"


def _family(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode().partition("|")[2] or None
