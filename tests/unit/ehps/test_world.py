"""The properties once more, on the months of a simulated authority: correlated, late, corrected, repeated."""

from __future__ import annotations

import random
from functools import lru_cache

import pytest
from families import LIBRARY
from worldlog import WorldLog, world_log

from ehps.log import LogRecord, RecordKind
from ehps.replay import MemoryStore, replay
from ehps.state import Family

FAMILIES, WEEKS, SEED = 60, 30, 7
FACTS = {RecordKind.EVENT, RecordKind.RETRACTION}


@lru_cache(maxsize=1)
def months() -> WorldLog:
    return world_log(FAMILIES, WEEKS, SEED)


def told(records: list[LogRecord], batch: int) -> tuple[MemoryStore, list[bytes]]:
    store, said = MemoryStore(), []
    for step in replay(records, LIBRARY, 0, store, batch):
        said += [output.value for output in (*step.alerts, *step.scores)]
    return store, sorted(said)


@lru_cache(maxsize=1)
def whole() -> tuple[MemoryStore, list[bytes]]:
    return told(months().records(), 100_000)


def test_the_world_says_something_of_every_kind() -> None:
    said = b"".join(whole()[1])

    assert len(whole()[0].families) > FAMILIES / 2
    assert all(kind in said for kind in (b'"step_up"', b'"combination"', b'"score_units"'))


@pytest.mark.parametrize("batch", [1, 13, 500])
def test_months_of_an_authority_come_out_the_same_however_the_log_is_cut(batch: int) -> None:
    assert told(months().records(), batch) == whole()


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_arrival_within_a_day_changes_no_family_s_facts(seed: int) -> None:
    shuffled = WorldLog()
    for day in months().days:
        events = [record for record in day if record.kind in FACTS]
        random.Random(seed).shuffle(events)
        arrived = iter(events)
        shuffled.days.append([next(arrived) if r.kind in FACTS else r for r in day])

    store, _ = told(shuffled.records(), 500)

    assert {k: Family(v).facts for k, v in store.families.items()} == {
        k: Family(v).facts for k, v in whole()[0].families.items()
    }


def test_every_record_delivered_twice_leaves_every_family_as_it_was() -> None:
    twice = WorldLog()
    for day in months().days:
        twice.days.append([r for record in day for r in (record, record)])

    store, _ = told(twice.records(), 500)

    assert facts_and_scores(store) == facts_and_scores(whole()[0])


def facts_and_scores(store: MemoryStore) -> dict[str, tuple[bytes, int | None, int]]:
    families = {key: Family(raw) for key, raw in store.families.items()}
    return {key: (f.facts, f.score, f.band) for key, f in families.items()}
