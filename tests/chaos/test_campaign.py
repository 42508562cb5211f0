"""A short round of the campaign: `make chaos ROUNDS=200` is the long one."""

import random
from pathlib import Path

import pytest

from deploy import real
from tests.chaos.campaign import Plan, campaign

ROUNDS = 4


@pytest.mark.timeout(400)
def test_after_every_round_of_faults_nothing_is_lost_added_or_changed(tmp_path: Path) -> None:
    possible, reason = real.available()
    if not possible:
        pytest.skip(reason)
    seed = random.SystemRandom().randrange(10_000)
    told: list[str] = [f"make chaos ROUNDS={ROUNDS} SEED={seed}"]

    report = campaign(Plan(ROUNDS, seed), tmp_path, told.append).as_dict()

    assert report["ok"], [*told, report]
    assert (report["losses"], report["extras"], report["differing"]) == (0, 0, 0)
    assert report["faults"] > 0
