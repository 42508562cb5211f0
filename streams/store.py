"""The Redis store: one atomic read and one compare-and-set a batch.

All keys of log partition p share the hash tag `{ehps:p}`, so that one script may touch them in a cluster. There is no
TTL anywhere and `maxmemory-policy` must be `noeviction`: a key that went missing would look like a new family.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, cast

import orjson
import redis
from redis.commands.core import Script

from ehps.advance import Needs, Snapshot
from streams.errors import Conflict
from streams.ports import Write
from streams.redisclient import is_cluster


def tag(partition: int) -> str:
    """The hash tag of a log partition's keys."""
    return f"{{ehps:{partition}}}"


def prefix(partition: int, generation: str) -> str:
    """What a partition's keys of one generation of states begin with; the first generation has no name."""
    return f"{tag(partition)}:{generation}" if generation else tag(partition)


Call = tuple[list[str], list[Any]]
"""Keys and arguments of a script."""


class RedisStore:
    """States of the log's partitions."""

    def __init__(self, client: redis.Redis) -> None:
        """Prepare the two scripts; they are sent by hash and sent whole where the server lost them."""
        self.client = client
        self._generations: dict[int, str] = {}
        folder = resources.files("streams")
        self._read = client.register_script((folder / "read.lua").read_text())
        self._commit = client.register_script((folder / "commit.lua").read_text())

    def read(self, wanted: Mapping[int, Needs]) -> dict[int, Snapshot]:
        """Everything that a batch of each partition needs, in one atomic call each."""
        answers = self._each(self._read, [self._question(*one) for one in wanted.items()])
        found: dict[int, Snapshot] = {}
        for (partition, needs), answer in zip(wanted.items(), answers, strict=True):
            if answer is not None:
                found[partition] = _snapshot(answer)
            else:  # a rebuild switched: seldom, and hardly twice
                self._generations[partition] = self.generation(partition)
                found |= self.read({partition: needs})
        return found

    def commit(self, writes: Sequence[Write]) -> None:
        """Set states, timers, partition state, offset and guard of each whose offset is still `expected`.

        Raises:
            Conflict: of one it is not, and nothing of that one was written.
        """
        answers = self._each(self._commit, [self._change(write) for write in writes])
        for write, held in zip(writes, answers, strict=True):
            if held != -1:
                stands = (
                    f"stands at {held}" if held >= 0 else "holds states that were rebuilt meanwhile"
                )
                raise Conflict(
                    f"partition {write.partition}: expected offset {write.expected}, Redis {stands}"
                )

    def _question(self, partition: int, needs: Needs) -> Call:
        generation = self._generations.get(partition, "")
        at = prefix(partition, generation)
        keys = [f"{at}:offset", f"{at}:state", f"{at}:timers", f"{at}:f:"]
        arguments: list[Any] = [generation, len(needs.families), *needs.families]
        for la, until, limit in needs.due:
            arguments += [la, until, limit]
        return [*keys, f"{tag(partition)}:generation"], arguments

    def _change(self, write: Write) -> Call:
        partition, expected, step, guard = write
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
        return keys, arguments

    def _each(self, script: Script, calls: Sequence[Call]) -> list[Any]:
        """Run a script once for each call: on one server in one exchange, on a cluster one after the other.

        Raises:
            RedisError: one was refused, or its answer was lost; the others may have run.
        """
        if len(calls) > 1 and not is_cluster(self.client):
            exchange = self.client.pipeline(transaction=False)
            for keys, arguments in calls:
                exchange.evalsha(script.sha, len(keys), *keys, *arguments)
            # As they are: redis-py would write its own words before a server's, by which we know what passes.
            answers = exchange.execute(raise_on_error=False)
            failed = [answer for answer in answers if isinstance(answer, Exception)]
            if not failed:
                return answers
            if not isinstance(failed[0], redis.exceptions.NoScriptError):
                raise failed[0]
            # A server that was started anew: sent whole.
        return [script(keys=keys, args=arguments) for keys, arguments in calls]

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


def _snapshot(answer: list[Any]) -> Snapshot:
    offset, state, names, states, due = answer
    families = {name.decode(): value for name, value in zip(names, states, strict=True)}
    timers = [
        (due[n].decode(), int(due[n + 1]), due[n + 2].decode()) for n in range(0, len(due), 3)
    ]
    return Snapshot(int(offset), state, families, timers)
