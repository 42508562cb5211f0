"""Faust: an agent with a table (in memory, with its changelog on Kafka), as in Faust's own introduction."""

from __future__ import annotations

import os

import faust

from benchmarks.meter import Meter
from benchmarks.peers.job import alert_of, fold

meter = Meter()
app = faust.App(
    os.environ["BENCH_RUN"],
    broker=f"kafka://{os.environ['BENCH_KAFKA']}",
    store="memory://",
    topic_partitions=4,
    key_serializer="raw",
    value_serializer="raw",
    web_enabled=False,
    cython_optimizations=True,
    producer_linger=0.01,
    datadir=os.environ["BENCH_DIR"],
)
events = app.topic(os.environ["BENCH_TOPIC"], key_type=bytes, value_type=bytes)
alerts = app.topic(os.environ["BENCH_ALERTS"], key_type=bytes, value_type=bytes)
families = app.Table("families", key_type=bytes, value_type=bytes)


@app.agent(events)
async def score(stream):
    async for key, value in stream.items():
        outcome = fold(families.get(key), value)
        if outcome.state is None:
            meter.repeats += 1
        else:
            families[key] = outcome.state
        if outcome.alert is not None:
            meter.alerts += 1
            await alerts.send(key=key, value=alert_of(key.decode(), outcome.alert))
        if meter.count():
            await app.producer.flush()
            meter.finish()


if __name__ == "__main__":
    faust.Worker(app, loglevel="WARN", redirect_stdouts=False).execute_from_commandline()
