"""The worker with features must do what the product does, but for judging."""

from __future__ import annotations

from benchmarks import seeds
from benchmarks.limits import unjudged
from benchmarks.stage import PARTITIONS
from benchmarks.workload import Workload
from ehps.advance import Share, advance, needs
from ehps.library import Library
from ehps.log import LogRecord
from ehps.state import Family
from streams.logwriter import EHPS


def _partition(record):
    _, partition, key, *_ = record
    told = partition is not None and partition >= 0
    return partition if told else seeds.place_of(key.decode(), PARTITIONS)


def test_a_worker_with_features_keeps_the_facts_that_the_product_keeps():
    workload = Workload(3000, 200)
    stores, library = seeds.fresh(workload), Library.packaged()
    tape = seeds.log_of(workload, workload.beat_s)
    store = stores[0]
    own = [r for r in tape.records if _partition(r) == 0]
    records = [
        LogRecord(
            store.offset + number, key.decode() if b":" in key else "", dict(headers)[EHPS], value
        )
        for number, (_, _, key, value, headers) in enumerate(own)
    ]
    held = store.read(needs(records))
    (found,) = unjudged([Share(0, held, records, True)], library)
    want = advance(held, records, library, 0)

    assert found.offset == want.offset
    facts = {name: Family(state).facts for name, state in want.states.items()}
    assert {name: Family(state).facts for name, state in found.states.items()} == facts
    assert len(facts) > 20
