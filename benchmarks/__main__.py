"""Speed against peers and limits: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import time
import traceback
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import authority, growth, latency
from benchmarks.bench import Bench
from benchmarks.budgets import judge
from benchmarks.plan import PLANS, Plan
from benchmarks.report import budget_rows, details, plain, table, write_docs
from benchmarks.results import Results, machine
from benchmarks.stage import Stage
from benchmarks.systems import MANY, SYSTEMS
from deploy.real import available

FOLDER = Path(".bench")
ONCE = ("latency", "growth", "states")


def main() -> int:
    """Measure, print, write; 0 when every system gave a figure."""
    given = _arguments()
    possible, reason = available()
    if not possible:
        sys.stderr.write(f"benchmarks need a real Kafka: {reason}\n")
        return 2
    plan = _plan(given)
    names = _names(given.only)
    results = Results(
        FOLDER / f"results-{given.size}.json", _parameters(plan), time.strftime("%Y-%m-%dT%H:%M:%S")
    )
    results.forget(names)
    about = machine()
    try:
        _measure(plan, names, results)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; what was measured is kept\n")
    verdicts = list(judge(results.medians(), results.singles()))
    print("\n" + plain(table(results)) + "\n\n" + plain(budget_rows(verdicts)) + "\n")
    print("\n".join(details(results.singles())))
    for name, why in results.errors().items():
        print(f"{name} gave no figure: {why}")
    if results.earlier():
        print(f"Measured by another call, so not of one run: {', '.join(results.earlier())}.")
    if given.size != "quick" and not given.no_docs:
        write_docs(results, verdicts, about, _command())
    return int(bool(results.errors()))


def _measure(plan: Plan, names: list[str], results: Results) -> None:
    # What an earlier call left of logs and states.
    shutil.rmtree(FOLDER / "stage", ignore_errors=True)
    with Stage(FOLDER / "stage") as stage:
        bench = Bench(stage, plan.sizes())
        failed: set[str] = set()
        for number in range(plan.rounds):
            for name in names:
                if name in SYSTEMS and name not in failed and (name not in MANY or number == 0):
                    _round(bench, results, name, failed, f"round {number + 1} of {plan.rounds}")
        for name in names:
            if name in ONCE:
                _once(plan, stage, bench, results, name)


def _round(bench: Bench, results: Results, name: str, failed: set[str], which: str) -> None:
    began = time.monotonic()
    try:
        run = bench.run(name, SYSTEMS[name].run)
    except Exception as error:  # noqa: BLE001  (one system's failure must not end the others' run)
        failed.add(name)
        results.fail(name, f"{type(error).__name__}: {error}"[:400])
        _say(f"{which}  {name}: FAILED, {error}")
        return
    results.add(name, run)
    took = time.monotonic() - began
    _say(
        f"{which}  {name}: {run['events_per_s']:,.0f} events/s, {run['system_us']:.1f} µs an event "
        f"({took:.0f} s in all)"
    )


def _once(plan: Plan, stage: Stage, bench: Bench, results: Results, name: str) -> None:
    _say(f"once  {name}")
    try:
        if name == "latency":
            figures: dict[str, Any] = latency.measure(stage, bench.product, plan.rate, plan.seconds)
        elif name == "growth":
            figures = growth.measure(bench.product, bench.states_limit, plan.growth, _say)
        else:
            figures = authority.sizes(
                stage.redis, plan.authority_families, plan.authority_weeks, _say
            )
    except Exception as error:  # noqa: BLE001  (as above)
        traceback.print_exc(limit=-3)
        figures = {"error": f"{type(error).__name__}: {error}"[:400]}
    results.once(name, figures)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick",
        dest="size",
        action="store_const",
        const="quick",
        help="small sizes, one round; writes no docs",
    )
    size.add_argument(
        "--full",
        dest="size",
        action="store_const",
        const="full",
        help="ten million events and five rounds; hours",
    )
    parser.set_defaults(size="usual")
    parser.add_argument(
        "--only",
        help=f"comma separated, of: {', '.join((*SYSTEMS, *ONCE))}; other rows are kept as they were",
    )
    parser.add_argument("--rounds", type=int, help="rounds, of which medians are taken")
    parser.add_argument("--events", type=int, help="events of the main workload")
    parser.add_argument("--families", type=int, help="families of the main workload")
    parser.add_argument("--seed", type=int, help="of the workload")
    parser.add_argument("--no-docs", action="store_true", help="print only")
    return parser.parse_args()


def _plan(given: argparse.Namespace) -> Plan:
    asked = {name: getattr(given, name) for name in ("rounds", "events", "families", "seed")}
    return replace(
        PLANS[given.size], **{name: value for name, value in asked.items() if value is not None}
    )


def _names(only: str | None) -> list[str]:
    known = (*SYSTEMS, *ONCE)
    names = only.split(",") if only else list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return names


def _parameters(plan: Plan) -> dict[str, Any]:
    """Sizes, and a digest of what makes events and peers' job: rows of another job are not to be compared."""
    here = Path(__file__).parent
    sources = [here / "kinds.py", here / "workload.py", here / "peers" / "job.py"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    return {**asdict(plan), "workload": digest}


def _command() -> str:
    return " ".join(
        ["make bench", *([f'ARGS="{" ".join(sys.argv[1:])}"'] if len(sys.argv) > 1 else [])]
    )


if __name__ == "__main__":
    raise SystemExit(main())
