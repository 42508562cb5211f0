"""Rebuild: a partition's states made anew from the log, beside those in force, and switched in one step.

The log goes through the same `advance`, in memory, up to the offset that the scorers' group has committed: all that
was said up to there was delivered. States that differ are damage. Then the rebuilt states are written under a
generation of their own, and one key says that this generation is in force. A scorer that runs meanwhile finds its next
commit refused and goes on from the rebuilt states: up to the committed offset in silence, as after a lost Redis.
Nothing is said twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, TypeVar, cast

from ehps.advance import Needs
from ehps.library import Library
from ehps.log import LogRecord
from ehps.replay import MemoryStore, replay
from ehps.state import Partition
from schemas.topics import LOG
from streams.guard import LogGuard
from streams.ports import Topics
from streams.replaylog import log_record
from streams.segments import Record
from streams.store import RedisStore, prefix, tag

LOOKS = 3
"""A running scorer moves states while they are compared: a state that differs in so many looks is damaged."""
LISTED_MAX = 100
"""Differing families that are named; further ones are counted."""
CHUNK = 1000
"""States in one call to Redis."""

Key = TypeVar("Key")


@dataclass(slots=True)
class Rebuilt:
    """What came of one partition.

    Attributes:
        offset: where the rebuilt states stand.
        differing: families whose state or timer was not what the log says, or that the log does not know.
        switched: whether the rebuilt states are in force now; nothing differed otherwise.
    """

    partition: int
    offset: int = 0
    families: int = 0
    differing: int = 0
    named: list[str] = field(default_factory=list)
    partition_state_differs: bool = False
    switched: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


class Rebuild:
    """Rebuilds partitions.

    Args:
        store: states in force.
        topics: reads the log.
        committed: partition -> the offset that the scorers' group has committed.
        guard: of the log, as the scorers keep it.
        library: content that the controls name.
    """

    def __init__(
        self,
        store: RedisStore,
        topics: Topics,
        committed: Callable[[int], int],
        guard: LogGuard,
        library: Library,
    ) -> None:
        self._store, self._topics, self._committed = store, topics, committed
        self._guard, self._library = guard, library

    def run(self, partition: int, *, check: bool = False) -> Rebuilt:
        """Rebuild one partition, and switch if anything differs; with `check` only compare."""
        result, shadow = Rebuilt(partition), Shadow(partition, self._topics, self._library)
        shadow.advance_to(self._committed(partition))
        differing: set[str] | None = None
        for _ in range(LOOKS):
            differing = self._differing(shadow, differing)
            result.partition_state_differs = self._partition_differs(shadow)
            if not differing and not result.partition_state_differs:
                break
            shadow.advance_to(self._committed(partition))
        result.differing, result.families = len(differing or ()), len(shadow.states.families)
        result.named = sorted(differing or ())[:LISTED_MAX]
        result.offset = shadow.states.offset
        if shadow.last is not None and not check and (differing or result.partition_state_differs):
            self._switch(shadow, shadow.last)
            result.switched = True
        return result

    def _differing(self, shadow: Shadow, among: set[str] | None) -> set[str]:
        """Families that differ, of those that differed in the look before (None: of all)."""
        partition = shadow.partition
        if among is None:
            live = self._store.families(partition)
        else:
            snapshot = self._store.read({partition: Needs(sorted(among), [])})[partition]
            live = {name: raw for name, raw in snapshot.families.items() if raw is not None}
        names = (live.keys() | shadow.states.families.keys()) if among is None else among
        wrong = {name for name in names if live.get(name) != shadow.states.families.get(name)}
        held = self._timers(shadow)
        due = shadow.states.timers
        late = {timer[1] for timer in held.keys() | due.keys() if held.get(timer) != due.get(timer)}
        return wrong | (late if among is None else late & among)

    def _timers(self, shadow: Shadow) -> Mapping[tuple[str, str], int]:
        authorities = Partition.decode(shadow.states.partition).authorities
        return {
            (la, family): due
            for la in authorities
            for family, due in self._store.timers(shadow.partition, la).items()
        }

    def _partition_differs(self, shadow: Shadow) -> bool:
        """Of states that stand further on it cannot be told; none stands before what the group has committed."""
        live = self._store.read({shadow.partition: Needs([], [])})[shadow.partition]
        states = shadow.states
        return live.offset < states.offset or (
            live.offset == states.offset and live.partition != states.partition
        )

    def _switch(self, shadow: Shadow, last: LogRecord) -> None:
        """Write the rebuilt states under the next generation, put it in force, and remove all others."""
        client, partition, states = self._store.client, shadow.partition, shadow.states
        generation = f"g{int(self._store.generation(partition)[1:] or 0) + 1}"
        at = prefix(partition, generation)
        self._remove(f"{at}:")  # of a rebuild that was interrupted
        for names in _chunks(states.families):
            client.mset({f"{at}:f:{name}": states.families[name] for name in names})
        for timers in _chunks(states.timers):
            with client.pipeline(transaction=False) as pipe:
                for la, family in timers:
                    pipe.zadd(f"{at}:timers:{la}", {family: states.timers[la, family]})
                pipe.execute()
        head = {"offset": states.offset, "state": states.partition, "guard": self._guard.seal(last)}
        client.mset({f"{at}:{name}": cast("bytes", value) for name, value in head.items()})
        old = self._store.at(partition)
        client.set(f"{tag(partition)}:generation", generation)
        for part in ("f:", "timers:", "offset", "state", "guard"):
            self._remove(f"{old}:{part}")

    def _remove(self, start: str) -> None:
        for keys in self._store.keys(start):
            self._store.client.unlink(*keys)


def _chunks(items: Iterable[Key]) -> Iterator[list[Key]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


class Shadow:
    """States in memory that follow the log.

    Attributes:
        states: where they stand.
        last: the record that was applied last, None before the first.
    """

    def __init__(self, partition: int, topics: Topics, library: Library) -> None:
        self.partition, self._topics, self._library = partition, topics, library
        self.states = MemoryStore()
        self.last: LogRecord | None = None

    def advance_to(self, offset: int) -> None:
        """Apply everything before `offset`."""
        records = self._kept(self._topics.read(LOG, self.partition, self.states.offset, offset))
        for _ in replay(records, self._library, self.partition, self.states, silent=True):
            pass

    def _kept(self, records: Iterable[Record]) -> Iterator[LogRecord]:
        for record in records:
            self.last = log_record(record)
            yield self.last
