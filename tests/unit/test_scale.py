"""The plan for England follows from measured figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from docs import scale
from docs.scale import PLACES, Measured, Need, Place

MEASURED = Measured(25_000, 30_000, 50_000, 60, 30, 10, 150, 15, 15, 1000)
AUTHORITY, _, ENGLAND = PLACES


def test_england_s_bursts_keep_a_tenth_of_a_core_busy() -> None:
    need = Need(ENGLAND, MEASURED)

    assert round(ENGLAND.burst) == 333
    assert round(need.busy_cores, 3) == 0.033
    assert need.workers == (2, 2)


def test_an_authority_s_states_fit_in_a_small_redis_and_england_s_do_not() -> None:
    assert Need(AUTHORITY, MEASURED).redis_gib < 1
    assert Need(ENGLAND, MEASURED).redis_gib > 20


def test_a_slower_rebuild_asks_for_more_partitions_so_that_a_night_is_enough() -> None:
    slow = replace(MEASURED, rebuild_rate=1_000)
    need = Need(ENGLAND, slow)

    assert Need(ENGLAND, MEASURED).partitions == scale.PARTITIONS_MIN
    assert need.rebuild_core_h / need.partitions <= scale.REBUILD_H
    assert need.partitions.bit_count() == 1


def test_workers_grow_with_what_they_serve() -> None:
    crowded = Need(Place("a continent", 200), MEASURED)

    assert crowded.workers[0] * MEASURED.intake_rate >= scale.SPARE * crowded.place.burst
    assert crowded.partitions >= 4 * crowded.workers[1]


def test_the_page_waits_for_a_run_that_measured_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "FIGURES", tmp_path / "performance.json")
    assert scale.recorded() is None
    run = dict.fromkeys(
        (
            "events_per_s",
            "system_us",
            "kafka_us",
            "redis_us",
            "log_bytes",
            "alert_bytes",
            "score_bytes",
        ),
        20.0,
    )
    names = ("ehps-intake", "ehps-scorer", "ehps-rebuild")
    document = {"medians": dict.fromkeys(names, run), "once": {"states": {"mean": 900}}}
    scale.FIGURES.write_text(json.dumps(document))

    assert scale.recorded() == Measured(20, 20, 50_000, 40, 40, 40, 20, 20, 20, 900)
    assert len(list(scale.plans()[1])) == 11
