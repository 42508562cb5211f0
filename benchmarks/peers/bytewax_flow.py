"""Bytewax: a stateful map between a Kafka source and a Kafka sink, with recovery."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from benchmarks.meter import Meter
from benchmarks.peers.job import alert_of, fold

SNAPSHOT_EVERY = timedelta(seconds=10)
"""Bytewax's own default."""

meter = Meter()


def score(state: bytes | None, value: bytes):
    outcome = fold(state, value)
    if outcome.state is None:
        meter.repeats += 1
    if outcome.alert is not None:
        meter.alerts += 1
    meter.count()
    return outcome.state or state, outcome.alert


def message(pair):
    key, alert = pair
    return None if alert is None else KafkaSinkMessage(key.encode(), alert_of(key, alert))


def flow() -> Dataflow:
    brokers = [os.environ["BENCH_KAFKA"]]
    result = Dataflow(os.environ["BENCH_RUN"].replace("-", "_"))
    source = KafkaSource(brokers, [os.environ["BENCH_TOPIC"]], tail=False)
    events = op.input("events", result, source)
    keyed = op.map("key", events, lambda event: (event.key.decode(), event.value))
    scored = op.stateful_map("score", keyed, score)
    sink = KafkaSink(brokers, os.environ["BENCH_ALERTS"], {"compression.type": "lz4"})
    op.output("alerts", op.filter_map("message", scored, message), sink)
    return result


def main() -> None:
    folder = Path(os.environ["BENCH_DIR"])
    init_db_dir(folder, 1)
    recovery = RecoveryConfig(str(folder))
    cli_main(flow(), epoch_interval=SNAPSHOT_EVERY, recovery_config=recovery)
    meter.finish()


if __name__ == "__main__":
    main()
