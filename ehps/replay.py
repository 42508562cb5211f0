"""Replay: the log through the same `advance`, with states in memory. What it says must equal what live said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from ehps.advance import Needs, Snapshot, Step, advance, needs
from ehps.library import Library
from ehps.log import LogRecord

BATCH_RECORDS = 2000
"""Records advanced at once; any number gives the same answers."""


@dataclass(slots=True)
class MemoryStore:
    """One partition's store in memory: the same two atomic operations as the Redis store."""

    offset: int = 0
    partition: bytes | None = None
    families: dict[str, bytes] = field(default_factory=dict)
    timers: dict[tuple[str, str], int] = field(default_factory=dict)

    def read(self, wanted: Needs) -> Snapshot:
        """Offset, partition state, due timers, and the families asked for or due."""
        due: list[tuple[str, int, str]] = []
        for la, until, limit in wanted.due:
            held = sorted(
                (at, family)
                for (owner, family), at in self.timers.items()
                if owner == la and at <= until
            )
            due += [(la, at, family) for at, family in held[:limit]]
        names = dict.fromkeys((*wanted.families, *(family for _, _, family in due)))
        return Snapshot(
            self.offset, self.partition, {name: self.families.get(name) for name in names}, due
        )

    def commit(self, expected: int, step: Step) -> bool:
        """Compare the offset and set everything, or nothing. False: the offset was another."""
        if self.offset != expected:
            return False
        self.offset, self.partition = step.offset, step.partition
        self.families.update(step.states)
        for (la, family), due in step.timers.items():
            if due is None:
                self.timers.pop((la, family), None)
            else:
                self.timers[la, family] = due
        return True


def replay(
    records: Iterable[LogRecord],
    library: Library,
    partition_id: int,
    store: MemoryStore | None = None,
    batch: int = BATCH_RECORDS,
    *,
    silent: bool = False,
) -> Iterator[Step]:
    """Apply one partition's records to a store in memory, a batch at a time.

    Args:
        silent: as for `advance`.

    Yields:
        The step of every batch, after it was committed to `store`.
    """
    store = store or MemoryStore()
    for chunk in chunks(records, batch):
        done = 0
        while done < len(chunk):
            rest = chunk[done:]
            snapshot = store.read(needs(rest))
            step = advance(snapshot, rest, library, partition_id, silent=silent)
            store.commit(snapshot.offset, step)
            done += step.records
            yield step


def chunks(records: Iterable[LogRecord], size: int) -> Iterator[Sequence[LogRecord]]:
    """The records in lists of `size`."""
    iterator = iter(records)
    while chunk := list(islice(iterator, size)):
        yield chunk
