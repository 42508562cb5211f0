"""The Redis store: states of a batch read at one moment, and set if nobody moved on meanwhile.

All keys of log partition p share the hash tag `{ehps:p}`, so that one command may name them in a cluster. States come
from one MGET, after the timers that are due; what is set goes into one transaction that watches offset and generation.
Scripts would copy every state once more, and cost Redis twice as much. There is no TTL anywhere and `maxmemory-policy`
must be `noeviction`: a key that went missing would look like a new family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import methodcaller
from typing import Any, NamedTuple, cast

import orjson
import redis

from ehps.advance import Needs, Snapshot
from streams.errors import Conflict
from streams.ports import Write
from streams.redisclient import is_cluster, owner_of

READS_MAX = 10
"""Times that a batch is read anew because its partition moved on meanwhile."""


def tag(partition: int) -> str:
    """The hash tag of a log partition's keys."""
    return f"{{ehps:{partition}}}"


def prefix(partition: int, generation: str) -> str:
    """What a partition's keys of one generation of states begin with; the first generation has no name."""
    return f"{tag(partition)}:{generation}" if generation else tag(partition)


Call = Callable[[Any], Any]
"""A command, told to a client or put into a pipeline."""


class _Due(NamedTuple):
    """Timers due, as (authority, seconds, family), and the offset and generation that the partition stood at."""

    stands: list[bytes | None]
    timers: list[tuple[str, int, str]]


class RedisStore:
    """States of the log's partitions."""

    def __init__(self, client: redis.Redis) -> None:
        """Nothing is asked yet."""
        self.client = client
        self._generations: dict[int, str] = {}

    def read(self, wanted: Mapping[int, Needs]) -> dict[int, Snapshot]:
        """Everything that a batch of each partition needs, each as it was at one moment.

        Timers come before states; where the partition moved on between the two, both are read again. States of one
        generation at one offset are always the same, so an equal offset says that they belong together.

        Raises:
            Conflict: a partition does not stand still: somebody else is at work on it.
        """
        found: dict[int, Snapshot] = {}
        for _ in range(READS_MAX):
            left = {at: needs for at, needs in wanted.items() if at not in found}
            due = self._due(left)
            names = {
                at: list(dict.fromkeys([*needs.families, *(name for *_, name in due[at].timers)]))
                for at, needs in left.items()
            }
            answers = self._all([methodcaller("mget", self._states(at, names[at])) for at in left])
            for at, (offset, generation, state, *states) in zip(left, answers, strict=True):
                if (generation or b"").decode() != self._generations.get(at, ""):
                    self._generations[at] = (generation or b"").decode()  # a rebuild switched
                elif not due[at].stands or due[at].stands == [offset, generation]:
                    families = dict(zip(names[at], states, strict=True))
                    found[at] = Snapshot(int(offset or 0), state, families, due[at].timers)
            if len(found) == len(wanted):
                return found
        raise Conflict("a partition moved on while it was read, again and again")

    def _due(self, wanted: Mapping[int, Needs]) -> dict[int, _Due]:
        """Whose timers are due in partitions; nothing is asked where no time passes."""
        timed = {at: needs.due for at, needs in wanted.items() if needs.due}
        calls: list[Call] = []
        for at, asked in timed.items():
            index = f"{prefix(at, self._generations.get(at, ''))}:timers"
            calls.append(methodcaller("mget", self._watched(at)))
            calls += [
                methodcaller("zrangebyscore", f"{index}:{la}", 0, until, 0, limit, withscores=True)
                for la, until, limit in asked
            ]
        answers = iter(self._all(calls))
        found = {at: _Due([], []) for at in wanted}
        for at, asked in timed.items():
            stands, held = next(answers), [(la, next(answers)) for la, *_ in asked]
            timers = [(la, int(due), name.decode()) for la, some in held for name, due in some]
            found[at] = _Due(stands, timers)
        return found

    def _states(self, partition: int, names: Sequence[str]) -> list[str]:
        at = prefix(partition, self._generations.get(partition, ""))
        head = [f"{at}:offset", f"{tag(partition)}:generation", f"{at}:state"]
        return head + [f"{at}:f:{name}" for name in names]

    def commit(self, writes: Sequence[Write]) -> None:
        """Set states, timers, partition state, offset and guard of all, if each one's offset is still `expected`.

        On a cluster each partition by itself, as they may live on different servers.

        Raises:
            Conflict: of one it is not. On one server nothing was written; on a cluster, only those before it.
        """
        groups = [[write] for write in writes] if is_cluster(self.client) else [writes]
        for together in filter(None, groups):
            try:
                self._set(together)
            except redis.WatchError as error:
                places = ", ".join(str(write.partition) for write in together)
                raise Conflict(f"partition {places}: somebody else was at work") from error

    def _set(self, writes: Sequence[Write]) -> None:
        server = owner_of(self.client, tag(writes[0].partition))
        with server.pipeline(transaction=True) as change:
            watched = [key for write in writes for key in self._watched(write.partition)]
            change.watch(*watched)  # type: ignore[no-untyped-call]
            held = iter(cast("list[bytes | None]", change.mget(watched)))
            for write, offset, generation in zip(writes, held, held, strict=True):
                self._compare(write, int(offset or 0), (generation or b"").decode())
            change.multi()
            for write in writes:
                self._change(change, write)
            change.execute()

    def _watched(self, partition: int) -> tuple[str, str]:
        at = prefix(partition, self._generations.get(partition, ""))
        return f"{at}:offset", f"{tag(partition)}:generation"

    def _compare(self, write: Write, offset: int, generation: str) -> None:
        stands = f"stands at {offset}" if offset != write.expected else ""
        if generation != self._generations.get(write.partition, ""):
            stands = "holds states that were rebuilt meanwhile"
        if stands:
            raise Conflict(
                f"partition {write.partition}: expected offset {write.expected}, Redis {stands}"
            )

    def _change(self, change: Any, write: Write) -> None:
        partition, _, step, guard = write
        at = prefix(partition, self._generations.get(partition, ""))
        head = {"offset": step.offset, "state": step.partition, "guard": guard}
        values = {f"{at}:{name}": value for name, value in head.items()}
        values |= {f"{at}:f:{name}": state for name, state in step.states.items()}
        change.mset(values)
        for (la, family), due in step.timers.items():
            if due is None:
                change.zrem(f"{at}:timers:{la}", family)
            else:
                change.zadd(f"{at}:timers:{la}", {family: due})

    def _all(self, calls: Sequence[Call]) -> list[Any]:
        """Answers to commands: of one server in one exchange, of a cluster one after the other."""
        if is_cluster(self.client):
            return [call(self.client) for call in calls]
        with self.client.pipeline(transaction=False) as exchange:
            for call in calls:
                call(exchange)
            return exchange.execute()

    def standing(self, partition: int) -> tuple[int, dict[str, Any] | None]:
        """(next record to apply, guard of the last applied), in one read: another owner may be at work.

        Raises:
            Conflict: rebuilds follow each other.
        """
        for _ in range(READS_MAX):
            at = self.at(partition)
            keys = [f"{at}:offset", f"{at}:guard", f"{tag(partition)}:generation"]
            offset, raw, generation = cast("list[bytes | None]", self.client.mget(keys))
            # Else a rebuild switched meanwhile.
            if prefix(partition, (generation or b"").decode()) == at:
                return int(offset or 0), None if raw is None else orjson.loads(raw)
        raise Conflict(f"partition {partition} was rebuilt while it was read, again and again")

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
