"""Options of the seeded simulation, and how far properties are searched."""

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every run: a suite that fails by chance is believed by nobody. New ones are looked for with
# `make test ARGS="--hypothesis-profile explore"`. A slow machine is no error of a test.
settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "explore", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--seed N` repeats one run; `--seeds N` asks for more of them."""
    parser.addoption("--seed", type=int, default=None, help="simulate this one seed")
    parser.addoption("--first", type=int, default=0, help="simulate from this seed on")
    parser.addoption("--seeds", type=int, default=None, help="simulate so many seeds")
