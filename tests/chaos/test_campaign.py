"""A short campaign of faults on real parts; `make chaos ROUNDS=200` runs the long one."""

from pathlib import Path

import pytest

from deploy import real
from tests.chaos.campaign import Plan, campaign
from tests.chaos.soak import soak

POSSIBLE, REASON = real.available()
pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(not POSSIBLE, reason=REASON)]
SCRIPT = (
    ("kill_every_worker", "flush_redis"),
    ("put_redis_back", "rebalance", "kill_a_worker"),
    ("wrong_clock", "kill_redis", "fill_redis_disk"),
)
CLUSTER_SCRIPT = (("fail_over", "kill_a_worker"), ("deaf_master", "flush_redis"))


def test_whatever_is_done_to_real_parts_nothing_is_lost_added_or_changed(tmp_path: Path) -> None:
    plan = Plan(len(SCRIPT), seed=5, families=150, days=6, day_s=0.3, script=SCRIPT)
    report = campaign(plan, tmp_path, print).as_dict()
    assert report["wrong"] == []
    assert report["ok"]
    assert report["records"] > 500


def test_a_redis_cluster_that_changes_its_masters_loses_adds_and_changes_nothing(
    tmp_path: Path,
) -> None:
    plan = Plan(2, seed=6, families=150, days=6, day_s=0.3, script=CLUSTER_SCRIPT, cluster=True)
    report = campaign(plan, tmp_path, print).as_dict()
    assert report["wrong"] == []
    assert report["ok"]


def test_a_soak_of_moments_is_judged_by_what_lived_through_it(tmp_path: Path) -> None:
    report = soak(0.2, 1, tmp_path, print, families=100, calibration_days=10).as_dict()
    assert report["wrong"] == []
    assert report["messages"] > 100
    assert {"rss_intake-1", "rss_scorer-2", "bytes_a_key", "p50_ms"} == report["growth"].keys()
    assert any(row["p50_ms"] > 0 for row in report["rows"])
