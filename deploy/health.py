"""`python -m deploy.health`: whether this container's worker is alive and ready (exit 0) or not (exit 1).

It asks the worker's own pages, so it tells of the process that runs and not of one that could.
"""

import os
import sys
import urllib.error
import urllib.request

_TIMEOUT_S = 4.0
_PAGES = ("/healthz", "/ready")


def problem(port: int) -> str | None:
    """What is wrong, or None.

    Args:
        port: of the worker's pages, on this machine.
    """
    for page in _PAGES:
        address = f"http://127.0.0.1:{port}{page}"
        try:
            with urllib.request.urlopen(address, timeout=_TIMEOUT_S):
                continue
        except urllib.error.HTTPError as exc:
            return exc.read().decode("utf-8", "replace").strip()
        except OSError as exc:
            return f"{address} does not answer: {exc}"
    return None


def main() -> int:
    """Ask the pages at EHPS_METRICS_PORT."""
    port = os.environ.get("EHPS_METRICS_PORT", "")
    found = problem(int(port)) if port.isdigit() else "EHPS_METRICS_PORT is not set"
    if found is not None:
        print(found, file=sys.stderr)
    return 0 if found is None else 1


if __name__ == "__main__":
    sys.exit(main())
