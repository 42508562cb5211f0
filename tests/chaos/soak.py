"""`make soak MINUTES=30`: years of an authority at half of what this machine can take, with faults; is all flat?

Memory of the workers that live through it, size of the states, and how long it takes until what was sent is scored are
sampled all the while; at the end nothing may be lost, added or changed, as in the campaign.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.seeds import summed
from deploy import real
from schemas.topics import AGENCY_TOPICS, LOG
from streams.errors import BrokerUnavailable
from streams.groups import Groups
from streams.kafka import watermarks_of
from streams.redisclient import ERRORS as REDIS_ERRORS
from streams.store import RedisStore
from tests.chaos.campaign import come_to_rest, set_live
from tests.chaos.faults import kill_redis, pause_a_server, put_redis_back, restart_the_broker
from tests.chaos.flat import MORTAL, ROWS, Sample, Soak, table
from tests.chaos.fleet import LOG_PARTITIONS, Fleet
from tests.chaos.oracle import Oracle
from tests.chaos.workload import Days, Workload

YEARS = 8
DAY_S_MIN = 0.1
"""A day takes no less: a heartbeat is confirmed on every partition at its end. A short soak tells fewer years."""
MESSAGES_A_FAMILY_WEEK = 0.63
"""Of the simulated authority, about: only the size of the world is chosen by it."""
CALIBRATION_FAMILIES, CALIBRATION_DAYS = 2000, 120
FAULT_EVERY_S = 60.0
SAMPLE_EVERY_S = 1.0
EXPIRED_MAX = 0.01
"""Events past keeping for each that is scored: more, and the soak is of something else than scoring."""
LOOK_EVERY_S = 0.01


class Sampler(threading.Thread):
    """Looks once a second or so: a look ends when what it saw is scored."""

    def __init__(self, fleet: Fleet, soak: Soak) -> None:
        super().__init__(name="sampler", daemon=True)
        self._fleet, self._soak, self._stop_flag = fleet, soak, threading.Event()
        self._groups, self._began = Groups(fleet.settings.kafka), time.monotonic()

    def run(self) -> None:
        """Look until told to stop."""
        while not self._stop_flag.wait(SAMPLE_EVERY_S):
            try:
                with self._fleet.client() as client:
                    latency_ms = self._latency_ms(RedisStore(client))
                    held = client.info("memory")["used_memory_dataset"]
                    keys = int(client.dbsize())
            except (BrokerUnavailable, OSError, *REDIS_ERRORS):
                continue
            at = time.monotonic() - self._began
            self._soak.samples.append(Sample(at, self._rss(), held, keys, latency_ms))

    def end(self) -> None:
        """No more looks."""
        self._stop_flag.set()
        self.join(30)

    def _rss(self) -> dict[str, float]:
        found = {}
        for name, worker in list(self._fleet.workers.items()):
            if worker.child is not None and worker.child.alive():
                found[name] = _rss_mib(worker.child.pid)
        return found

    def _latency_ms(self, store: RedisStore) -> float | None:
        """How long until all that agencies have sent by now is on the log, and then all on the log is scored."""
        settings, began = self._fleet.settings, time.monotonic()
        marks = watermarks_of(settings.kafka, list(AGENCY_TOPICS))
        ends = {(t, p): end for t in AGENCY_TOPICS for p, (_, end) in marks[t].items() if end}
        group = settings.intake_group
        if not self._until(lambda: _reached(self._groups.committed(group, ends), ends)):
            return None
        log = {p: end for p, (_, end) in watermarks_of(settings.kafka, [LOG])[LOG].items()}
        if not self._until(lambda: all(store.offset(p) >= end for p, end in log.items())):
            return None
        return (time.monotonic() - began) * 1000

    def _until(self, reached: Callable[[], bool]) -> bool:
        while not reached():
            if self._stop_flag.wait(LOOK_EVERY_S):
                return False
        return True


def _reached(done: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]) -> bool:
    return all(done[at] >= end for at, end in ends.items())


def _rss_mib(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it ended meanwhile
        return 0.0
    return next((int(x.split()[1]) / 1024 for x in status.splitlines() if x.startswith("VmRSS")), 0)


def kill_the_first_scorer(fleet: Fleet, chance: random.Random) -> None:
    """Kill -9: the others live through the whole soak, so that their memory tells."""
    fleet.say(f"kill -9 {MORTAL}")
    fleet.workers[MORTAL].signal(signal.SIGKILL)


FAULTS = (
    kill_the_first_scorer,
    kill_redis,
    pause_a_server,
    put_redis_back,
    restart_the_broker,
)


def soak(
    minutes: float,
    seed: int,
    folder: Path,
    say: Callable[[str], None],
    *,
    families: int | None = None,
    calibration_days: int = CALIBRATION_DAYS,
) -> Soak:
    """Calibrate, then run: `families` of the world; as many as fill the time where None."""
    result, fleet = Soak(minutes, seed), Fleet(folder, say)
    try:
        fleet.start()
        set_live(fleet)
        oracle = Oracle(fleet.kafka.bootstrap)
        result.capacity_per_s = _calibrate(fleet, seed, calibration_days)
        before = _outcomes(fleet)
        result.rate_per_s = result.capacity_per_s / 2
        say(f"capacity {result.capacity_per_s:.0f} messages/s; half of it from now on")
        _run(fleet, result, families, oracle)
        result.wrong += _idle(_outcomes(fleet) - before)
    finally:
        fleet.stop()
    return result


def _calibrate(fleet: Fleet, seed: int, count: int) -> float:
    """Messages a second from the first sent to the last scored, told without a pause."""
    days = Days(fleet, seed + 1, CALIBRATION_FAMILIES)
    work, began = Workload(fleet, days, count, 0.0), time.monotonic()
    work.start()
    work.finish()
    come_to_rest(fleet)
    return work.sent / (time.monotonic() - began)


def _run(fleet: Fleet, result: Soak, families: int | None, oracle: Oracle) -> None:
    seconds = result.minutes * 60
    weeks = min(YEARS * 52, max(1, round(seconds / DAY_S_MIN / 7)))
    wanted = result.rate_per_s * seconds
    families = families or max(50, round(wanted / weeks / MESSAGES_A_FAMILY_WEEK))
    start = (datetime.now(UTC) - timedelta(weeks=weeks + 4)).date()
    days = Days(fleet, result.seed, families, weeks, start, first=2)
    work = Workload(fleet, days, weeks * 7, seconds / (weeks * 7))
    sampler, chance = Sampler(fleet, result), random.Random(result.seed)
    ends = time.monotonic() + seconds
    work.start()
    sampler.start()
    while work.is_alive():
        work.join(min(FAULT_EVERY_S, max(1.0, seconds / ROWS)))
        if work.is_alive() and time.monotonic() < ends - FAULT_EVERY_S / 2:
            fault = chance.choice(FAULTS)
            result.faults[fault.__name__] += 1
            fault(fleet, chance)
            fleet.wake()
    work.finish()
    sampler.end()
    come_to_rest(fleet)
    result.sent = work.sent
    with fleet.client() as client:
        result.wrong = oracle.judge(client, work.good).words


def _outcomes(fleet: Fleet) -> Counter[str]:
    """What became of the log's records so far."""
    with fleet.client() as client:
        store = RedisStore(client)
        return Counter(summed(store.partition_state(p) for p in range(LOG_PARTITIONS)))


def _idle(counts: Counter[str]) -> list[str]:
    """What says that the scorers had little to do: events that were past keeping when they came."""
    expired, applied = counts["expired"], counts["applied"]
    if applied and expired <= EXPIRED_MAX * applied:
        return []
    return [f"{expired} events were past keeping when they came, and {applied} were scored"]


def main() -> int:
    """Run it; 0 where all was flat and nothing wrong, 1 where not, 2 where it cannot run."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    possible, reason = real.available()
    if not possible:
        print(f"The soak needs a real Kafka: {reason}.", file=sys.stderr)
        return 2
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f}  {line}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="ehps-soak-") as folder:
        found = soak(options.minutes, options.seed, Path(folder), say).as_dict()
    print(table(found["rows"]), file=sys.stderr)
    print(json.dumps(found))
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
