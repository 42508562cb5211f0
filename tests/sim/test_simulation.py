"""The whole under seeded trouble: whatever fails, nothing is lost, nothing is invented, and everybody is back."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from tests.sim.mutants import MUTANTS, Mutant
from tests.sim.verdict import complaints
from tests.sim.world import World

SEEDS = 2000
"""Runs in `make test`: about a minute and a half of one core. More: `make sim SEEDS=5000`."""
CHUNK = 100
MUTANT_SEEDS_MAX = 800
"""Runs within which every deliberate defect must show."""
BROKEN = ("AttributeError", "NameError", "SyntaxError", "TypeError")
"""A mutant that ends so is no deliberate defect, but one that does not fit the code any more."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Seeds in chunks, so that several cores may share them."""
    if "seeds" in metafunc.fixturenames:
        option = metafunc.config.getoption
        first, count, one = option("--first"), option("--seeds") or SEEDS, option("--seed")
        whole = range(first, first + count) if one is None else range(one, one + 1)
        chunks = [whole[at : at + CHUNK] for at in range(0, len(whole), CHUNK)]
        metafunc.parametrize("seeds", chunks, ids=[f"{c.start}-{c.stop - 1}" for c in chunks])


def run(seed: int) -> World:
    """One world, at rest again."""
    world = World(seed)
    world.run()
    return world


def test_whatever_fails_the_end_is_what_the_replay_of_the_log_says(seeds: range) -> None:
    for seed in seeds:
        wrong = complaints(run(seed))
        assert not wrong, f"seed {seed}: {wrong}\nAgain: make sim SEED={seed}"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_deliberate_defect_is_caught(mutant: Mutant) -> None:
    for seed in range(MUTANT_SEEDS_MAX):
        with pytest.MonkeyPatch.context() as patch:
            mutant.patch(patch)
            world = run(seed)
        if found := complaints(world):
            assert not any(kind in one for kind in BROKEN for one in found), (
                "the mutant does not fit"
            )
            return
    pytest.fail(f"{MUTANT_SEEDS_MAX} runs did not notice: {mutant.name} ({mutant.harm})")


def test_a_seed_is_the_same_run_in_every_process() -> None:
    code = (
        "from tests.sim.test_simulation import run, digest; import structlog;"
        "structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50));"
        "print(*(digest(run(seed)) for seed in range(5)))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": salt},
            check=True,
            capture_output=True,
        ).stdout
        for salt in ("1", "2")
    }
    assert len(told) == 1


def digest(world: World) -> str:
    """Everything that was ever written."""
    return hashlib.sha256(repr(world.broker.topics).encode()).hexdigest()
