"""An agency that sends at a steady rate, and writes down when it sent what the broker put where."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

from benchmarks.workload import Workload
from schemas.topics import agency_topic

PACE = 72
"""Events a family and year: a minute of a thousand a second is told as five months."""


def main() -> None:
    """Send BENCH_TOTAL events, BENCH_RATE a second, ending at the present moment of their own time."""
    total, rate, families = (
        int(os.environ[name]) for name in ("BENCH_TOTAL", "BENCH_RATE", "BENCH_FAMILIES")
    )
    client = Producer(
        {
            "bootstrap.servers": os.environ["BENCH_KAFKA"],
            "linger.ms": 0,
            "partitioner": "murmur2_random",
        }
    )
    sents = list(
        Workload(total, families, pace=PACE, end_s=int(datetime.now(UTC).timestamp()) - 60)
    )
    placed: list[tuple[str, int, int, float]] = []
    began = time.monotonic() + 0.5
    for number, sent in enumerate(sents):
        due = began + number / rate
        # Asleep, not in `poll`, which would spin through the last millisecond and take a core from those measured.
        time.sleep(max(0.0, due - time.monotonic()))

        def delivered(
            error: KafkaError | None, message: Message, at: float = time.monotonic()
        ) -> None:
            if error is not None:
                raise RuntimeError(error.str())
            placed.append((message.topic(), message.partition(), message.offset(), at))

        client.produce(
            agency_topic(sent.source), sent.value, sent.subject.encode(), on_delivery=delivered
        )
        client.poll(0)
    client.flush(30)
    report = Path(os.environ["BENCH_REPORT"])
    report.with_suffix(".partial").write_text(json.dumps({"total": len(placed), "placed": placed}))
    report.with_suffix(".partial").rename(report)


if __name__ == "__main__":
    main()
