"""Everything that is measured round after round, as a table."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import ROOT, Bench, Run

BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
STREAMS = Path(__file__).parent / "peers" / "kafka_streams"


@dataclass(frozen=True)
class System:
    """One row of the table."""

    label: str
    group: str
    run: Callable[[Bench, str], Run]


def python_peer(module: str, size: str, *words: str) -> Callable[[Bench, str], Run]:
    """A peer in the benchmarks' own environment."""
    command = [str(BENCH_PYTHON), "-m", f"benchmarks.peers.{module}", *words]
    return lambda bench, run: bench.peer(run, command, size)


def java_peer(guarantee: str, size: str) -> Callable[[Bench, str], Run]:
    """Kafka Streams."""

    def run_it(bench: Bench, run: str) -> Run:
        target = STREAMS / "target"
        if not (target / "kafka-streams-peer-1.jar").exists():
            subprocess.run(
                ["mvn", "-q", "-B", "-f", str(STREAMS / "pom.xml"), "package"],
                check=True,
                timeout=600,
            )
        classes = f"{target / 'kafka-streams-peer-1.jar'}:{target / 'lib'}/*"
        return bench.peer(run, ["java", "-Xmx1g", "-cp", classes, "Peer", guarantee], size)

    return run_it


SYSTEMS: dict[str, System] = {
    "faust-redis": System(
        "Faust agent, Redis per event", "peer", python_peer("faust_redis", "slow", "worker")
    ),
    "faust-table": System(
        "Faust agent, table", "peer", python_peer("faust_table", "slow", "worker")
    ),
    "bytewax": System("Bytewax, recovery", "peer", python_peer("bytewax_flow", "main")),
    "quix": System("Quix Streams", "peer", python_peer("quix", "main")),
    "kstreams-alo": System(
        "Kafka Streams (Java), at least once", "peer", java_peer("at_least_once", "main")
    ),
    "kstreams-eos": System(
        "Kafka Streams (Java), exactly once", "peer", java_peer("exactly_once_v2", "main")
    ),
    "ehps-onehop": System("EHPS, one hop in one worker", "ehps", Bench.one_hop),
    "ehps-scorer": System("EHPS scorer worker", "ehps", Bench.scorer),
    "ehps-rebuild": System("EHPS rebuild, in memory", "ehps", Bench.rebuild),
    "ehps-two": System(
        "EHPS, two scorer workers", "ehps", lambda bench, run: bench.scorer(run, workers=2)
    ),
    "limit-states": System(
        "limit: consume + compact form + states",
        "limit",
        lambda bench, run: bench.limit(run, "states"),
    ),
    "limit-features": System(
        "limit: consume + states + EHPS's features",
        "limit",
        lambda bench, run: bench.limit(run, "features"),
    ),
    "ehps-intake": System("EHPS intake worker", "ehps", Bench.intake),
    "ehps-path": System("EHPS intake and scorer together", "ehps", Bench.path),
    "limit-pydantic": System(
        "limit: consume + pydantic", "limit", lambda bench, run: bench.limit(run, "pydantic")
    ),
    "limit-relay": System(
        "limit: consume + pydantic + produce",
        "limit",
        lambda bench, run: bench.limit(run, "relay"),
    ),
    "limit-orjson": System(
        "limit: consume + orjson", "limit", lambda bench, run: bench.limit(run, "orjson")
    ),
    "limit-consume": System(
        "limit: consume only", "limit", lambda bench, run: bench.limit(run, "consume")
    ),
}
"""Those that share what the log holds stand together, so that it is filled once a round."""

MANY: dict[str, System] = {
    "bytewax-many": System("Bytewax, many families", "peer", python_peer("bytewax_flow", "many")),
    "quix-many": System("Quix Streams, many families", "peer", python_peer("quix", "many")),
    "kstreams-alo-many": System(
        "Kafka Streams, many families", "peer", java_peer("at_least_once", "many")
    ),
    "ehps-scorer-many": System(
        "EHPS scorer, many families", "ehps", lambda bench, run: bench.scorer(run, size="many")
    ),
}
"""Measured once."""

SYSTEMS |= MANY
