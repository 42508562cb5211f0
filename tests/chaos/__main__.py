"""`make chaos ROUNDS=200`: a seeded campaign of faults on a real Kafka and Redis; one JSON object at the end."""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from deploy import real
from tests.chaos.campaign import Plan, campaign
from tests.chaos.faults import FAULTS, OF_A_CLUSTER


def main() -> int:
    """Run it; 0 where nothing was lost, added or changed, 1 where something was, 2 where it cannot run."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--families", type=int, default=600, help="of each simulated authority")
    parser.add_argument("--faults", type=int, default=3, help="most faults in a round")
    parser.add_argument(
        "--cluster", action="store_true", help="Redis is a cluster of three masters"
    )
    known = sorted(FAULTS | OF_A_CLUSTER)
    parser.add_argument("--only", action="append", default=[], choices=known)
    parser.add_argument("--folder", type=Path, help="kept afterwards; a temporary one by default")
    options = parser.parse_args()
    possible, reason = real.available()
    if not possible:
        print(f"The campaign needs a real Kafka: {reason}.", file=sys.stderr)
        return 2
    plan = Plan(
        options.rounds,
        options.seed,
        families=options.families,
        faults=options.faults,
        only=tuple(options.only),
        cluster=options.cluster,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and workers go too
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f}  {line}", file=sys.stderr, flush=True)

    if options.folder is not None:
        report = campaign(plan, options.folder, say)
    else:
        with tempfile.TemporaryDirectory(prefix="ehps-chaos-") as folder:
            report = campaign(plan, Path(folder), say)
    print(json.dumps(report.as_dict()))
    return 0 if report.as_dict()["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
