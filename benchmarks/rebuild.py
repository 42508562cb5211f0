"""A rebuild: the log read from Kafka through the core in silence, states in memory. One process, a partition a time."""

from __future__ import annotations

import os
import sys

from benchmarks.meter import Meter
from benchmarks.seeds import digest, fresh, summed
from benchmarks.stage import PARTITIONS
from benchmarks.workload import Workload
from ehps.library import Library
from ehps.replay import replay
from schemas.topics import LOG
from streams import collector
from streams.reading import read_topic
from streams.replaylog import log_record


def main(events: int, families: int, seed: int, pace: int) -> None:
    """Seed as the scorer was seeded, then replay the log."""
    collector.spare()
    stores, library, meter = (
        fresh(Workload(events, families, seed, pace=pace)),
        Library.packaged(),
        Meter(),
    )
    for partition in range(PARTITIONS):
        stores[partition].offset = 0
        records = map(
            log_record, read_topic(os.environ["BENCH_KAFKA"], LOG, partitions=[partition])
        )
        for step in replay(records, library, partition, stores[partition], silent=True):
            meter.count(step.records)
    meter.repeats = summed(store.partition for store in stores.values()).get("duplicate", 0)
    meter.finish(states=digest(store.families for store in stores.values()))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
