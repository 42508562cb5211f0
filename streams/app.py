"""The Faust app: hosts the agents of the low-volume topics and the timers."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import faust

from schemas.topics import CONTROL
from streams.config import Settings
from streams.logs import logger
from streams.loops import Loop, crash
from streams.patience import passes
from streams.redisclient import reason_of
from streams.segments import Record
from streams.transport import use_fetch_wait
from streams.watch import Take

TAKE_MAX = 500
TAKE_WITHIN_S = 0.025
COMMIT_S = 0.05
"""Faust looks so often for what came and for what can be told to the group, also where nothing happens: at 2 and 10 ms
an idle intake took an eighth of a processor, for which alerts had to wait. Links and decisions can."""
METADATA_MS = 5000
"""A partition whose leader was not known when the client asked is asked for again after this, not five minutes."""
RETRY_S = (0.2, 5.0)


class DrainOverdue(RuntimeError):
    """A worker that was told to stop was still there at its deadline."""


class Worker(faust.Worker):
    """Faust's, but gone by a deadline after SIGTERM or Ctrl-C: its batch done, or left for the next owner to do."""

    drain_s = 20.0
    loops: Sequence[Loop] = ()

    def _schedule_shutdown(self, number: signal.Signals) -> None:
        for loop in self.loops:
            loop.ask()
        overdue = DrainOverdue(f"not drained {self.drain_s:g} s after {number.name}")
        limit = threading.Timer(self.drain_s, crash, ("worker", overdue))
        limit.daemon = True
        limit.start()
        super()._schedule_shutdown(number)


def build(
    settings: Settings,
    started: Callable[[], None],
    takes: dict[str, Take],
    pulse: Callable[[], None] | None,
    sweep: Callable[[], Any] | None,
) -> faust.App:
    """The app. Without `takes` it only waits for the end.

    Args:
        started: called when agents and timers are at work.
        takes: what to do with a batch of each topic.
        pulse: writes heartbeats; called by the one process that owns the control topic's partition.
        sweep: mends look-ups that Redis lost, and releases parked events.
    """
    app = faust.App(
        settings.agents_group,
        broker=[f"kafka://{host}" for host in settings.kafka.split(",")],
        value_serializer="raw",
        key_serializer="raw",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_session_timeout=10.0,
        broker_heartbeat_interval=1.0,
        broker_commit_interval=COMMIT_S,
        broker_max_poll_records=TAKE_MAX,
        stream_wait_empty=False,
        table_standby_replicas=0,
        producer_request_timeout=30.0,
        consumer_metadata_max_age_ms=METADATA_MS,
        worker_redirect_stdouts=False,
        datadir=str(settings.data_dir / "faust"),
        loghandlers=[],
    )
    app.producer_only = not takes
    use_fetch_wait(app, settings.fetch_wait_ms)

    async def told() -> None:
        started()

    app.task(told)
    for topic, take in takes.items():
        _agent(app, topic, take)
    if pulse is not None:
        app.timer(interval=settings.heartbeat_s)(_if_owner(app, pulse))
    if sweep is not None:
        app.timer(interval=settings.sweep_s)(_in_thread("sweep", sweep))
    return app


def _agent(app: faust.App, topic: str, take: Take) -> None:
    channel = app.topic(
        topic, value_serializer="raw", key_serializer="raw", value_type=bytes, key_type=bytes
    )

    async def handle(stream: Any) -> AsyncIterator[None]:
        async for events in stream.take_events(TAKE_MAX, within=TAKE_WITHIN_S):
            # Faust acknowledges a batch even when its handler raised: so nothing may be raised here.
            began, records = time.perf_counter(), [_record(event.message) for event in events]
            await _until_done(topic, partial(take, records))
            ms = round((time.perf_counter() - began) * 1000, 1)
            logger().info("agent.batch", topic=topic, records=len(records), ms=ms)
            yield None

    app.agent(channel, name=f"agent-{topic}", concurrency=1)(handle)


async def _until_done(name: str, work: Callable[[], Any]) -> None:
    """Do the work; wait for a broker or Redis that is away; end the process on anything else."""
    delay = RETRY_S[0]
    while True:
        try:
            await asyncio.to_thread(work)
            return
        except Exception as error:  # noqa: BLE001  (outermost: the process ends before the acknowledgement)
            if not passes(error):
                crash(name, error)
            logger().warning("agent.again", topic=name, reason=reason_of(error), wait_s=delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_S[1])


def _in_thread(name: str, work: Callable[[], Any]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        await _until_done(name, work)

    return run


def _if_owner(app: faust.App, work: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        if any((tp.topic, tp.partition) == (CONTROL, 0) for tp in app.consumer.assignment()):
            await _until_done("pulse", work)

    return run


def _record(message: Any) -> Record:
    headers = (
        message.headers.items() if isinstance(message.headers, dict) else message.headers or ()
    )
    return Record(
        message.topic,
        message.partition,
        message.offset,
        int((message.timestamp or 0) * 1000),
        message.key,
        message.value,
        [(name, value or b"") for name, value in headers],
    )
