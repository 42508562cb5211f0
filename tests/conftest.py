"""Options of the seeded simulation."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--seed N` repeats one run; `--seeds N` asks for more of them."""
    parser.addoption("--seed", type=int, default=None, help="simulate this one seed")
    parser.addoption("--first", type=int, default=0, help="simulate from this seed on")
    parser.addoption("--seeds", type=int, default=None, help="simulate so many seeds")
