"""However the log is cut, shared out or interrupted, states and alerts are the same, byte for byte."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from deploy.real import RealRedis
from streams.config import Settings
from tests.integration.product import LOG_PARTITIONS, Product, run_ehps, wait_for

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("real_stack")]
WORLD = {
    "--families": "220",
    "--weeks": "16",
    "--seed": "5",
    "--malformed": "0.01",
    "--start": "2024-09-02",
}
PAST = "E08000012"
"""An authority whose past is told: another than the live one of the stack."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a small authority's messages."""
    file = tmp_path_factory.mktemp("world") / "events.ndjson"
    words = [word for pair in WORLD.items() for word in pair]
    done = run_ehps("simulate", *words, "--la", PAST, "--out", str(file))
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture(scope="module")
def told(real_product: Product, world: Path) -> Product:
    """The world told as history while the first scorer is killed in mid-stream and two more share its work."""
    with (
        real_product.worker("scorer", EHPS_BATCH_RECORDS="7"),
        real_product.worker("scorer", EHPS_BATCH_RECORDS="61") as doomed,
    ):
        before = _offsets(real_product.settings.redis)
        killed: list[int] = []

        def kill_in_mid_stream() -> bool:
            moved = sum(_offsets(real_product.settings.redis)) - sum(before)
            if not killed and moved > 200:
                for pid in (doomed.pid, _up_scorer(real_product)):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            return bool(killed)

        with _publishing(real_product, world) as ended:
            wait_for("the scorers to be in mid-stream", kill_in_mid_stream)
            wait_for("publishing to end", ended)
        real_product.settle()
    return real_product


def test_killed_and_shared_scorers_say_what_the_replay_says(told: Product) -> None:
    replayed = told.ehps("replay", "--verify")
    assert (replayed["replay_differences"], replayed["differences"]) == (0, [])
    assert replayed["states"]["raised"] > 5, "the world was too quiet to prove anything"


def test_nothing_is_unaccounted_for_after_a_kill(told: Product) -> None:
    account = told.ehps("reconcile")
    assert account["problems"] == []
    assert (account["unaccounted"], account["waiting"], account["twice"]) == (0, 0, 0)
    assert account["duplicate"] > 0


def test_three_fresh_scorers_with_other_batches_come_to_the_same_states(
    told: Product, tmp_path: Path
) -> None:
    with RealRedis(tmp_path / "redis") as other:
        again: Any = {"EHPS_REDIS": other.url, "EHPS_GROUP_PREFIX": "again", "wait": False}
        with (
            told.worker("scorer", EHPS_BATCH_RECORDS="3", **again),
            told.worker("scorer", EHPS_BATCH_RECORDS="13", **again),
            told.worker("scorer", EHPS_BATCH_RECORDS="5000", **again),
        ):
            urls = (other.url, told.settings.redis)
            # The log may grow all the while: other tests' authorities of the same product may be live.
            wait_for("the log to be scored again", lambda: _same(map(_offsets, urls)))
            found, wanted = wait_for("states at one offset", lambda: _at_one_offset(*urls))
        assert _differences(found, wanted) == {}
    # They said everything a second time: every repeat is identical.
    assert told.ehps("replay", "--verify")["replay_differences"] == 0


def test_publishing_the_same_files_twice_changes_nothing(told: Product, world: Path) -> None:
    families = _states(told.settings.redis, "f:")
    alerts = {a["alert_id"]: a for a in told.documents("ehps.alerts.v1")}
    said = told.ehps("publish", "--history", str(world), code=1)  # 1: some lines are refused
    told.settle()
    assert said["sent"] > 1000
    assert _states(told.settings.redis, "f:") == families
    assert {a["alert_id"]: a for a in told.documents("ehps.alerts.v1")} == alerts


@contextmanager
def _publishing(product: Product, world: Path) -> Iterator[Callable[[], bool]]:
    """Publish in another process; yields whether it has ended."""
    command = [sys.executable, "-m", "streams.cli", "publish", "--history", str(world), "--json"]
    environment = {**os.environ, **product.environment}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield lambda: process.poll() is not None
        said, noted = process.communicate()
    assert process.returncode == 1, (said, noted)  # some lines are refused
    assert json.loads(said)["sent"] > 1000


def _up_scorer(product: Product) -> int:
    """Process of the scorer that `ehps up` tends."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        here = f"EHPS_DATA_DIR={product.data_dir}".encode() in environment
        ours = f"EHPS_BATCH_RECORDS={Settings().batch_records}".encode() in environment
        if here and ours and words[2:5] == [b"streams.cli", b"worker", b"scorer"]:
            return int(folder.name)
    raise AssertionError("no scorer of `ehps up` runs")


def _offsets(url: str) -> list[int]:
    with Redis.from_url(url) as client:
        return [int(client.get(f"{{ehps:{p}}}:offset") or 0) for p in range(LOG_PARTITIONS)]


def _same(found: Iterable[Any]) -> bool:
    first, *others = found
    return all(other == first for other in others)


def _at_one_offset(*urls: str) -> list[dict[bytes, bytes]] | None:
    """The states of each, if the log did not grow while they were read."""
    before, states, after = ([read(url) for url in urls] for read in (_offsets, _states, _offsets))
    return states if _same(before + after) else None


def _differences(found: dict[bytes, bytes], wanted: dict[bytes, bytes]) -> dict[bytes, Any]:
    """Of each key that is not the same in both: what they hold."""
    keys = found.keys() | wanted.keys()
    held = {key: (found.get(key), wanted.get(key)) for key in sorted(keys)}
    return {key: both for key, both in held.items() if both[0] != both[1]}


def _states(url: str, part: str = "") -> dict[bytes, bytes]:
    """Every value that scorers keep: states, offsets, guards, but for the name of the group that sealed them."""
    with Redis.from_url(url) as client:
        keys = [
            key for key in client.scan_iter(f"{{ehps:[0-9]*}}:{part}*") if b":timers" not in key
        ]
        timers = list(client.scan_iter("{ehps:[0-9]*}:timers:*")) if not part else []
        values = [re.sub(rb'"group":"[^"]*"', b"", value) for value in client.mget(keys)]
        found = dict(zip(keys, values, strict=True))
        return found | {key: repr(client.zrange(key, 0, -1, withscores=True)) for key in timers}
