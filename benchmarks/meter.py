"""A process measures itself: records done, wall and processor time, from the end of its warm-up to its last record."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path

WARM_UP = 4
"""The first of so many parts is warm-up: connections, compilers, caches."""


class Meter:
    """Counts records; at the end of the warm-up and at the last record it notes the clocks.

    It reads its orders from the environment: `BENCH_TOTAL` records are expected, and what was found goes to the file
    `BENCH_REPORT`, beside which `.mark` appears when the warm-up is over.
    """

    def __init__(self) -> None:
        self.total = int(os.environ["BENCH_TOTAL"])
        self._path = Path(os.environ["BENCH_REPORT"])
        self._warm = self.total // WARM_UP
        self._start: tuple[int, float, float] | None = None
        self.records = self.alerts = self.repeats = 0

    def count(self, records: int = 1) -> bool:
        """Note records that are done. True: the last one was among them."""
        self.records += records
        if self._start is None and self.records >= self._warm:
            self._start = (self.records, time.monotonic(), time.process_time())
            self._path.with_suffix(".mark").touch()
        return self.records >= self.total

    def finish(self, **more: object) -> None:
        """Write the report; call it when the last record's work is durable as far as the system makes it so."""
        if self._start is None:
            raise RuntimeError("the run ended within its warm-up")
        records, began, cpu = self._start
        report = {
            "events": self.records - records,
            "seconds": time.monotonic() - began,
            "cpu_s": time.process_time() - cpu,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "total": self.records,
            "alerts": self.alerts,
            "repeats": self.repeats,
            **more,
        }
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(report))
        partial.rename(self._path)
