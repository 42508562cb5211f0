"""The simulated workers are silent, and advance few records at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is cut, as with thousands of records: a cut is one more place to fail at."""
    monkeypatch.setattr("streams.scorer.FAMILIES_MAX", 3)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Workers log each batch: here there are millions."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)
