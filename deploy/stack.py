"""`python -m deploy.stack`: a real Kafka and Redis until Ctrl-C (what `make stack` runs)."""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from deploy.child import ServerFailed
from deploy.real import RealKafka, RealRedis

STACK_FILE = "stack.json"
LOOK_S = 0.5


def write_stack(
    data_dir: Path,
    *,
    kafka: str,
    redis: str,
    embedded: bool,
    segments: Path | None = None,
) -> Path:
    """Tell the other commands where the running stack is; the file appears whole or not at all."""
    data_dir.mkdir(parents=True, exist_ok=True)
    content: dict[str, str | bool | int] = {
        "kafka": kafka,
        "redis": redis,
        "embedded": embedded,
        "pid": os.getpid(),
    }
    if segments is not None:
        content["segments"] = str(segments.resolve())
    path = data_dir / STACK_FILE
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)
    return path


def remove_stack(data_dir: Path) -> None:
    """Remove the file if this process wrote it."""
    path = data_dir / STACK_FILE
    try:
        owner = json.loads(path.read_text()).get("pid")
    except (OSError, ValueError):
        return
    if owner == os.getpid():
        path.unlink(missing_ok=True)


def stop_on_signal() -> threading.Event:
    """An event that SIGINT and SIGTERM set from now on. Call from the main thread, before starting.

    A signal during the start so ends the stack in order as soon as it is up.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def wait(stop: threading.Event, servers: Mapping[str, RealKafka | RealRedis]) -> None:
    """Return once `stop` is set.

    Raises:
        ServerFailed: one of the servers ended by itself.
    """
    while not stop.wait(LOOK_S):
        for name, server in servers.items():
            if (how := server.ended()) is not None:
                raise ServerFailed(f"{name}: {how}")


def main(arguments: list[str] | None = None) -> int:
    """Run the stack; 0 after a signal, 1 when a server does not start or ends by itself."""
    parser = argparse.ArgumentParser(prog="python -m deploy.stack", description=__doc__)
    folder = Path(os.environ.get("EHPS_DATA_DIR", ".ehps"))
    parser.add_argument("--data-dir", type=Path, default=folder, help="default: %(default)s")
    parser.add_argument("--kafka-port", type=int, default=None, help="any free port by default")
    parser.add_argument("--redis-port", type=int, default=None, help="any free port by default")
    options = parser.parse_args(arguments)
    data_dir: Path = options.data_dir
    stop = stop_on_signal()
    try:
        with (
            RealRedis(data_dir / "redis", options.redis_port) as redis,
            RealKafka(data_dir / "kafka", options.kafka_port) as kafka,
        ):
            write_stack(data_dir, kafka=kafka.bootstrap, redis=redis.url, embedded=False)
            print(f"kafka  {kafka.bootstrap}\nredis  {redis.url}\nCtrl-C stops both", flush=True)
            wait(stop, {"Kafka": kafka, "Redis": redis})
    except ServerFailed as exc:
        print(exc, file=sys.stderr)
        return 1
    finally:
        remove_stack(data_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
