"""How a loop takes records from a client: it waits for the first only."""

from __future__ import annotations

import time
from typing import Any

from streams.kafka import drain


class Client:
    """Holds records that came at moments (seconds from now)."""

    def __init__(self, *moments: float) -> None:
        began = time.monotonic()
        self._comes = [began + moment for moment in moments]

    def consume(self, count: int, wait_s: float) -> list[Any]:
        ends = time.monotonic() + wait_s
        if wait_s and self._comes:
            time.sleep(max(0.0, min(self._comes[0], ends) - time.monotonic()))
        here = [at for at in self._comes if at <= time.monotonic()][:count]
        del self._comes[: len(here)]
        return here


def test_a_loop_waits_for_the_first_record_only() -> None:
    client = Client(0.01, 30.0)

    assert len(drain(client, 100, 60.0)) == 1  # type: ignore[arg-type]


def test_what_came_with_the_first_record_is_taken_with_it() -> None:
    client = Client(0.0, 0.0, 0.0, 30.0)

    assert len(drain(client, 100, 60.0)) == 3  # type: ignore[arg-type]


def test_a_loop_takes_nothing_where_nothing_came() -> None:
    assert drain(Client(), 100, 0.0) == []  # type: ignore[arg-type]


def test_no_more_is_taken_than_a_batch_holds() -> None:
    client = Client(0.0, 0.0, 0.0)

    assert len(drain(client, 2, 1.0)) == 2  # type: ignore[arg-type]
