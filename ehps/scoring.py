"""Records with facts: merge them into their families, features for the whole batch at once, then the policy in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ehps.batch import Batch
from ehps.calendar import local_day_of
from ehps.catalogue import FACTS_MAX
from ehps.facts import HORIZON_OF, SPELL_OF, VOID, Facts, ages, from_wire, hash32, retain
from ehps.kernel import Compiled, Features, pack_rows
from ehps.log import HEAD_BYTES, LogRecord, RecordKind
from ehps.rescore import fail, safely, tell, withdraw
from ehps.stepdown import RESTART, start_quiet
from ehps.timeline import Timeline, timeline
from ehps.timers import fire

BLOCK_FACTS = 8192
"""Facts in one call of the kernel: blocks of this size stay in a processor's cache."""


class _Rescored(NamedTuple):
    """A record that changed its family's facts."""

    number: int
    key: str
    held: Facts  # the family's set after the record
    counted: Facts  # those that count


def score_records(batch: Batch, records: list[LogRecord]) -> None:
    """Apply events and retractions of one stretch of the log, between two records of any other kind."""
    for la in dict.fromkeys(record.la for record in records):
        mine = [record for record in records if record.la == la]
        now = batch.authority(la).time
        batch.content(la)  # without a control in force nothing may be scored
        for key, offset in {record.family: record.offset for record in reversed(mine)}.items():
            due = batch.family(key, la).due()
            if due is not None and due <= now:
                fire(batch, key, now, offset)
        for run in _runs(batch, mine, la, local_day_of(now)):
            _score_run(batch, run, la, now)


def _runs(batch: Batch, records: list[LogRecord], la: str, day: int) -> Iterator[list[LogRecord]]:
    """All records together, but for families near a bound or told of a long-past spell: those go one by one.

    There, what is kept after one record depends on what was kept after the one before.
    """
    counts = Counter(record.family for record in records)
    fragile = {
        r.family
        for r in records
        if counts[r.family] > 1 and _fragile(batch, r, la, day, counts[r.family])
    }
    yield [record for record in records if record.family not in fragile]
    yield from ([record] for record in records if record.family in fragile)


def _fragile(batch: Batch, record: LogRecord, la: str, day: int, count: int) -> bool:
    new = from_wire(record.compact[HEAD_BYTES:], 0)
    past = (ages(new, day) > HORIZON_OF[new["kind"]]) & (SPELL_OF[new["kind"]] > 0)
    return (
        bool(past.any())
        or len(batch.family(record.family, la).facts) + count * max(len(new), 1) > FACTS_MAX
    )


def _score_run(batch: Batch, records: list[LogRecord], la: str, now: int) -> None:
    if not records:
        return
    day = local_day_of(now)
    keys = list(dict.fromkeys(record.family for record in records))
    number_of = {key: number for number, key in enumerate(keys)}
    owners = np.array([number_of[record.family] for record in records], np.int64)
    line = _merge(batch, records, keys, owners, la, now, day)
    changed = _changed(batch, records, line, owners, keys, la, day)
    before = _scores_before(batch, changed, records, la, now)
    rows = _features(batch.setting(la, now, 0).compiled, batch, changed, la, now)
    scores: dict[str, int] = {}
    for record, row, index in zip(changed, *_located(rows), strict=True):
        where = batch.setting(la, now, records[record.number].offset)
        family = batch.family(record.key, la)
        family.facts = record.held
        if row is None:
            fail(batch, where, record.key, family)
            continue
        if family.standing and record.number in line.replaced:
            withdraw(batch, where, record.key, family, record.counted)
        tell(
            batch,
            where,
            record.key,
            family,
            record.counted,
            row,
            index,
            scores.get(record.key, before.get(record.key)),
            "record",
        )
        scores[record.key] = int(row.score[index])
        if family.below_since is not None and _moves(records[record.number]):
            start_quiet(where.content, family, row, index, day)
            batch.note_timer(record.key, family)


def _merge(
    batch: Batch,
    records: list[LogRecord],
    keys: list[str],
    owners: np.ndarray,
    la: str,
    now: int,
    day: int,
) -> Timeline:
    """The records' facts merged with what the families held; facts past their horizon are left out."""
    new = from_wire(b"".join(record.compact[HEAD_BYTES:] for record in records), now)
    per_record = [(len(record.compact) - HEAD_BYTES) // (new.itemsize - 4) for record in records]
    number = np.repeat(np.arange(len(records)), per_record)
    young = (ages(new, day) <= HORIZON_OF[new["kind"]]) | (SPELL_OF[new["kind"]] > 0)
    held = [batch.family(key, la).facts for key in keys]
    return timeline(held, new[young], owners[number[young]], number[young])


def _changed(
    batch: Batch,
    records: list[LogRecord],
    line: Timeline,
    owners: np.ndarray,
    keys: list[str],
    la: str,
    day: int,
) -> list[_Rescored]:
    """The records that changed a set, each with the set after it; the others are counted as what they were."""
    born = set(line.birth.tolist())
    oldest: dict[int, bool] = {}
    result = []
    for number, record in enumerate(records):
        if number not in born:
            batch.partition.count(_outcome(record, day))
            continue
        owner = int(owners[number])
        held = line.after(owner, number)
        family = batch.family(record.family, la)
        kept, over = (
            retain(held, day)
            if oldest.setdefault(owner, _due_for_pruning(held, day))
            else (held, False)
        )
        family.over |= over
        if len(kept) < len(held) and not _survives(line, owner, number, kept):
            batch.partition.count("expired" if _outcome(record, day) == "expired" else "evicted")
            continue
        batch.partition.count("applied")
        gone = [hash32(subject) for subject, person in family.people.items() if person.removed]
        result.append(
            _Rescored(
                number, record.family, kept, kept[~np.isin(kept["person"], gone)] if gone else kept
            )
        )
    return result


def _due_for_pruning(held: Facts, day: int) -> bool:
    return len(held) > FACTS_MAX or bool((ages(held, day) > HORIZON_OF[held["kind"]]).any())


def _survives(line: Timeline, owner: int, number: int, kept: Facts) -> bool:
    part = slice(line.starts[owner], line.starts[owner + 1])
    mine = line.facts[part][line.birth[part] == number]
    return bool(np.isin(mine["id"], kept["id"]).any())


def _outcome(record: LogRecord, day: int) -> str:
    """Why a record changed nothing: every fact past its horizon, or all of it known already."""
    new = from_wire(record.compact[HEAD_BYTES:], 0)
    return (
        "expired" if len(new) and (ages(new, day) > HORIZON_OF[new["kind"]]).all() else "duplicate"
    )


def _moves(record: LogRecord) -> bool:
    new = from_wire(record.compact[HEAD_BYTES:], 0)
    live = new["kind"][new["flags"] & VOID == 0]
    return record.kind == RecordKind.EVENT and bool(np.isin(live, RESTART).any())


def _scores_before(
    batch: Batch, changed: list[_Rescored], records: list[LogRecord], la: str, now: int
) -> dict[str, int]:
    """Scores just before the batch of families with a band to fall back from: silence may have lowered them unseen."""
    keys = [
        key for key in dict.fromkeys(record.key for record in changed) if batch.family(key, la).band
    ]
    if not keys:
        return {}
    families = [batch.family(key, la) for key in keys]
    rows = pack_rows(
        [f.counted() for f in families], [now] * len(keys), [f.births() for f in families]
    )
    row = safely(batch.setting(la, now, records[0].offset).compiled, rows)
    return {} if row is None else {key: int(row.score[index]) for index, key in enumerate(keys)}


def _features(
    compiled: Compiled, batch: Batch, changed: list[_Rescored], la: str, now: int
) -> list[tuple[Features | None, int]]:
    """Features of every changed record: (block of rows, index in it); a block that fails is done again row by row."""
    located: list[tuple[Features | None, int]] = []
    block: list[_Rescored] = []

    def flush() -> None:
        births = [batch.family(record.key, la).births() for record in block]
        row = safely(
            compiled, pack_rows([record.counted for record in block], [now] * len(block), births)
        )
        if row is not None:
            located.extend((row, index) for index in range(len(block)))
        else:
            for record, born in zip(block, births, strict=True):
                located.append((safely(compiled, pack_rows([record.counted], [now], [born])), 0))
        block.clear()

    size = 0
    for record in changed:
        block.append(record)
        size += len(record.counted)
        if size >= BLOCK_FACTS:
            flush()
            size = 0
    if block:
        flush()
    return located


def _located(rows: list[tuple[Features | None, int]]) -> tuple[list[Features | None], list[int]]:
    return [row for row, _ in rows], [index for _, index in rows]
