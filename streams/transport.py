"""Faust's Kafka transport, with a say in how long the broker may hold back an empty answer.

Faust asks for 1.5 s. A real broker answers as soon as there is a record; the embedded one waits the time out, so each
link or decision would arrive that late.
"""

from __future__ import annotations

from typing import Any, ClassVar

import faust
from faust.transport.drivers import aiokafka as driver


class _Thread(driver.AIOKafkaConsumerThread):
    fetch_wait_ms: ClassVar[int]

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = self.fetch_wait_ms  # noqa: SLF001  (read when it starts; no public way)
        return consumer


def use_fetch_wait(app: faust.App, wait_ms: int) -> None:
    """Make the app's consumer ask the broker to answer within `wait_ms` milliseconds. Call before it starts."""
    thread = type("Thread", (_Thread,), {"fetch_wait_ms": wait_ms})

    class Consumer(driver.Consumer):
        def _new_consumer_thread(self) -> Any:
            return thread(self, loop=self.loop, beacon=self.beacon)

    transport = type("Transport", (driver.Transport,), {"Consumer": Consumer})
    app.transport = transport(app.conf.broker_consumer, app)
