"""Quix Streams: a stateful function over a StreamingDataFrame (RocksDB with its changelog on Kafka)."""

from __future__ import annotations

import os

from quixstreams import Application, State

from benchmarks.meter import Meter
from benchmarks.peers.job import alert_of, fold

meter = Meter()
app = Application(
    broker_address=os.environ["BENCH_KAFKA"],
    consumer_group=os.environ["BENCH_RUN"],
    auto_offset_reset="earliest",
    state_dir=os.environ["BENCH_DIR"],
    producer_extra_config={"compression.type": "lz4"},
    loglevel="WARNING",
)


def score(value, key, timestamp, headers, state: State):
    outcome = fold(state.get_bytes("family"), value)
    if outcome.state is None:
        meter.repeats += 1
    else:
        state.set_bytes("family", outcome.state)
    if meter.count():
        app.stop()
    if outcome.alert is None:
        return None
    meter.alerts += 1
    return alert_of(key, outcome.alert)


def main() -> None:
    events = app.topic(
        os.environ["BENCH_TOPIC"], key_deserializer="str", value_deserializer="bytes"
    )
    alerts = app.topic(os.environ["BENCH_ALERTS"], key_serializer="str", value_serializer="bytes")
    frame = app.dataframe(events).apply(score, stateful=True, metadata=True)
    frame.filter(lambda alert: alert is not None).to_topic(alerts)
    app.run()
    meter.finish()


if __name__ == "__main__":
    main()
