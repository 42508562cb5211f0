"""A short campaign of faults on real parts; `make chaos ROUNDS=200` runs the long one."""

from pathlib import Path

import pytest

from deploy import real
from tests.chaos.campaign import Plan, campaign

POSSIBLE, REASON = real.available()
pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(not POSSIBLE, reason=REASON)]
SCRIPT = (
    ("kill_every_worker", "flush_redis"),
    ("put_redis_back", "rebalance", "kill_a_worker"),
    ("wrong_clock", "kill_redis"),
)


def test_whatever_is_done_to_real_parts_nothing_is_lost_added_or_changed(tmp_path: Path) -> None:
    plan = Plan(len(SCRIPT), seed=5, families=150, days=6, day_s=0.3, script=SCRIPT)
    report = campaign(plan, tmp_path, print).as_dict()
    assert report["wrong"] == []
    assert report["ok"]
    assert report["records"] > 500
