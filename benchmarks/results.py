"""What was measured, kept on disk after every run, so that a broken run goes on and `--only` renews single rows."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

FIGURES = (
    "events_per_s",
    "system_us",
    "kafka_us",
    "redis_us",
    "peak_mib",
    "started_s",
    "alerts",
    "repeats",
    "log_bytes",
    "alert_bytes",
    "score_bytes",
    "scores",
    "events",
)


class Results:
    """Rounds of every system and figures measured once.

    Args:
        path: file they are kept in.
        parameters: sizes and seed; rows of other parameters are forgotten.
        session: names this call; rows of another are marked.
    """

    def __init__(self, path: Path, parameters: dict[str, Any], session: str) -> None:
        self._path, self._session = path, session
        held = json.loads(path.read_text()) if path.exists() else {}
        if held.get("parameters") != parameters:
            held = {"parameters": parameters, "systems": {}, "once": {}}
        self._held: dict[str, Any] = held

    def forget(self, names: list[str]) -> None:
        """These are measured anew."""
        for name in names:
            self._held["systems"].pop(name, None)
            self._held["once"].pop(name, None)

    def add(self, name: str, run: dict[str, Any]) -> None:
        """One more round of a system."""
        row = self._held["systems"].setdefault(name, {"session": self._session, "runs": []})
        row["runs"].append(run)
        self._save()

    def fail(self, name: str, why: str) -> None:
        """A system that gave no figure."""
        row = self._held["systems"].setdefault(name, {"session": self._session, "runs": []})
        row["error"] = why
        self._save()

    def once(self, name: str, figures: dict[str, Any]) -> None:
        """Figures that are measured once."""
        self._held["once"][name] = {"session": self._session, **figures}
        self._save()

    def medians(self) -> dict[str, dict[str, float]]:
        """Medians of every system that has rounds and did not fail."""
        return {
            name: {
                figure: median(run[figure] for run in row["runs"])
                for figure in FIGURES
                if all(run.get(figure) is not None for run in row["runs"])
            }
            | {"rounds": len(row["runs"])}
            for name, row in self._held["systems"].items()
            if row["runs"] and "error" not in row
        }

    def errors(self) -> dict[str, str]:
        """Why a system gave no figure."""
        rows = {**self._held["systems"], **self._held["once"]}
        return {name: row["error"] for name, row in rows.items() if "error" in row}

    def singles(self) -> dict[str, Any]:
        """Figures measured once."""
        return {name: row for name, row in self._held["once"].items() if "error" not in row}

    def earlier(self) -> list[str]:
        """Rows that another call measured: ratios over them are not of one run."""
        rows = {**self._held["systems"], **self._held["once"]}
        return sorted(name for name, row in rows.items() if row["session"] != self._session)

    def document(self) -> dict[str, Any]:
        """All of it, for machines."""
        return {**self._held, "medians": self.medians()}

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._held, indent=1))
        partial.rename(self._path)


def machine() -> dict[str, Any]:
    """What it was measured on."""
    model = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    server = shutil.which("redis-server")
    said = (
        subprocess.run([server, "--version"], capture_output=True, text=True, check=False).stdout
        if server
        else ""
    )
    versions = {
        name: metadata.version(name)
        for name in ("confluent-kafka", "redis", "numpy", "pydantic", "orjson")
    }
    return {
        "processor": model[0] if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "python": platform.python_version(),
        "redis": next(
            (word[2:] for word in said.split() if word.startswith("v=")), "the wheel's Valkey"
        ),
        "load_before": os.getloadavg()[0],
        "packages": versions,
    }
