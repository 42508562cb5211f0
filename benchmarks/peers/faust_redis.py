"""Faust: an agent that reads and writes the family in Redis for each event."""

from __future__ import annotations

import os

import faust
import redis.asyncio

from benchmarks.meter import Meter
from benchmarks.peers.job import alert_of, fold

meter = Meter()
client = redis.asyncio.from_url(os.environ["BENCH_REDIS"])
app = faust.App(
    os.environ["BENCH_RUN"],
    broker=f"kafka://{os.environ['BENCH_KAFKA']}",
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


@app.agent(events)
async def score(stream):
    async for key, value in stream.items():
        outcome = fold(await client.get(key), value)
        if outcome.state is None:
            meter.repeats += 1
        else:
            await client.set(key, outcome.state)
        if outcome.alert is not None:
            meter.alerts += 1
            await alerts.send(key=key, value=alert_of(key.decode(), outcome.alert))
        if meter.count():
            await app.producer.flush()
            meter.finish()


if __name__ == "__main__":
    faust.Worker(app, loglevel="WARN", redirect_stdouts=False).execute_from_commandline()
