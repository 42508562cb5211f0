"""One round of one system: started, measured, and checked against what it must find."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import seeds
from benchmarks.kinds import FEATURES
from benchmarks.product import OUTPUTS, Product
from benchmarks.reference import Expected, expected, tables
from benchmarks.stage import Stage
from benchmarks.watch import Stuck, Watch, figures, until
from benchmarks.workload import Workload
from deploy.child import Child
from schemas.topics import ALERTS, LOG

ROOT = Path(__file__).resolve().parent.parent
RELAYED = "bench.relayed"
"""What the limit that sends on sends to."""
ON_STATES = ("states", "features")
"""Limits that read the log, and read and write states."""
Run = dict[str, Any]


def _limit(mode: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.limits", mode]


class Wrong(AssertionError):
    """A system found other alerts or repeats than the reference."""


@dataclass(frozen=True)
class Sizes:
    """Workloads: the main one, one for systems a tenth as fast, and one of many families."""

    main: Workload
    slow: Workload
    many: Workload

    @property
    def agencies(self) -> Workload:
        """The main one within half a year: what intake reads."""
        return replace(self.main, pace=3 * self.main.pace)


class Bench:
    """Runs systems by name on one stage."""

    def __init__(self, stage: Stage, sizes: Sizes) -> None:
        self._stage, self._sizes = stage, sizes
        self.product = Product(stage)
        self._expected: dict[Workload, Expected] = {}
        self._said: dict[tuple[Workload, str], object] = {}
        self._runs = 0

    def run(self, name: str, system: Callable[[Bench, str], Run]) -> Run:
        """One round of one system, checked.

        Raises:
            Wrong, Stuck, and whatever else keeps it from a figure.
        """
        self._runs += 1
        return system(self, f"bench-{name}-{self._runs}")

    def peer(self, run: str, command: list[str], size: str) -> Run:
        """A peer's process over the events topic."""
        workload: Workload = getattr(self._sizes, size)
        topic, alerts = self._stage.events_topic(workload), f"{run}.alerts"
        self._stage.renew(alerts)
        self._stage.redis.flushall()
        found = self._measure(run, command, topic, workload.events, alerts)
        want = self._expect(workload)
        told = self._stage.count(alerts)
        self._stage.drop(run)
        if (found["alerts"], found["repeats"], told) != (want.alerts, want.repeats, want.alerts):
            raise Wrong(
                f"{found['alerts']} alerts ({told} on their topic) and {found['repeats']} repeats, "
                f"not {want.alerts} and {want.repeats}"
            )
        return found

    def limit(self, run: str, mode: str) -> Run:
        """A limit's process."""
        workload = self._sizes.main
        if mode in ON_STATES:
            seeds.put(self.product.known(workload), self._stage.redis)
            return self.states_limit(run, workload, mode)
        topic = self._stage.events_topic(workload)
        self._stage.renew(RELAYED)
        return self._measure(run, _limit(mode), topic, workload.events, RELAYED)

    def states_limit(self, run: str, workload: Workload, mode: str = "states") -> Run:
        """The log read, states read and written, on whatever states Redis holds."""
        self.product.load_log(workload)
        found = self._measure(run, _limit(mode), LOG, self.product.logged())
        share = workload.events / self.product.logged()  # events among the records
        return found | {
            "events_per_s": found["events_per_s"] * share,
            "system_us": found["system_us"] / share,
        }

    def one_hop(self, run: str) -> Run:
        """EHPS's job in one process over the peers' topic."""
        workload = self._sizes.main
        self._stage.renew(*OUTPUTS)
        seeds.put(self.product.known(workload), self._stage.redis)
        command, topic = (
            [sys.executable, "-m", "benchmarks.one_hop"],
            self._stage.events_topic(workload),
        )
        found = self._measure(run, command, topic, workload.events, beat_s=workload.beat_s)
        found["repeats"] = seeds.outcomes(self._stage.redis).get("duplicate", 0)
        return self._agrees(workload, found | {"alerts": self._stage.count(ALERTS)})

    def scorer(self, run: str, workers: int = 1, size: str = "main") -> Run:
        """The product's scorer."""
        workload: Workload = getattr(self._sizes, size)
        stores = None if size == "main" else seeds.fresh(workload, people=False)
        found = self.product.scorer(run, workload, stores, workers)
        if size == "main":  # of many families no other row tells the states
            found["states"] = seeds.held(self._stage.redis)
        return self._agrees(workload, found)

    def intake(self, run: str) -> Run:
        """The product's intake."""
        return self.product.intake(run, self._sizes.agencies)

    def path(self, run: str) -> Run:
        """Intake and scorer at once."""
        workload = self._sizes.agencies
        return self._repeats_agree(workload, self.product.path(run, workload))

    def rebuild(self, run: str) -> Run:
        """The log in memory."""
        workload = self._sizes.main
        self.product.load_log(workload)
        shape = [
            str(value)
            for value in (workload.events, workload.families, workload.seed, workload.pace)
        ]
        command = [sys.executable, "-m", "benchmarks.rebuild", *shape]
        found = self._measure(run, command, LOG, self.product.logged())
        share = workload.events / self.product.logged()
        found |= {
            "events_per_s": found["events_per_s"] * share,
            "system_us": found["system_us"] / share,
        }
        del found["alerts"]  # it is silent
        return self._agrees(workload, found)

    def _expect(self, workload: Workload) -> Expected:
        if workload not in self._expected:
            self._expected[workload] = expected(workload)
        return self._expected[workload]

    def _repeats_agree(self, workload: Workload, found: Run) -> Run:
        if found["repeats"] != self._expect(workload).repeats:
            raise Wrong(f"{found['repeats']} repeats, not {self._expect(workload).repeats}")
        return found

    def _agrees(self, workload: Workload, found: Run) -> Run:
        """EHPS's alerts are other than the peers', but they and the states must be the same in each of its own runs."""
        for what in {"alerts", "states"} & found.keys():
            before = self._said.setdefault((workload, what), found[what])
            if found[what] != before:
                raise Wrong(f"{what}: {found[what]}, not {before} as before")
        return self._repeats_agree(workload, found)

    def _measure(
        self,
        run: str,
        command: list[str],
        topic: str,
        total: int,
        alerts: str = "",
        beat_s: int = 0,
    ) -> Run:
        folder = self._stage.folder / run
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "state").mkdir(parents=True)
        report, job = folder / "report.json", self._stage.folder / "job.json"
        if not job.exists():
            job.write_text(json.dumps(tables(FEATURES)))
        environment = {
            "BENCH_TOTAL": total,
            "BENCH_REPORT": report,
            "BENCH_RUN": run,
            "BENCH_TOPIC": topic,
            "BENCH_ALERTS": alerts,
            "BENCH_KAFKA": self._stage.kafka.bootstrap,
            "BENCH_REDIS": self._stage.server.url,
            "BENCH_DIR": folder / "state",
            "BENCH_JOB": job,
            "BENCH_BEAT_S": beat_s,
            "PYTHONPATH": ROOT,
        }
        log = folder / "log.txt"
        child = Child(
            command, log, os.environ | {name: str(value) for name, value in environment.items()}
        )
        watch = Watch(kafka=[self._stage.kafka.pid], redis=[self._stage.server.pid])
        try:
            until(
                report.with_suffix(".mark").exists,
                1,
                lambda: child.alive() or report.exists(),
                every_s=0.02,
            )
            first = watch.sample()
            until(report.exists, 1, lambda: child.alive() or report.exists(), every_s=0.02)
            last = watch.sample()
        except Stuck as error:
            tail = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
            raise Stuck(f"{error}; its log ends: {' '.join(tail)[-300:]}") from error
        finally:
            child.kill()
            shutil.rmtree(folder / "state", ignore_errors=True)
        found = json.loads(report.read_text())
        spent = {"system": found.pop("cpu_s")}
        spent |= {name: last.cpu_s[name] - first.cpu_s[name] for name in last.cpu_s}
        return figures(found.pop("events"), found.pop("seconds"), spent, **found)
