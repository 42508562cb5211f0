"""The benchmarks' workload: seeded, valid, and one job for everybody."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from importlib import resources
from itertools import islice

import orjson
import pytest

from benchmarks import peers, seeds
from benchmarks.kinds import FEATURES, KINDS
from benchmarks.peers.job import CloudEvent, fold
from benchmarks.reference import Family, expected
from benchmarks.workload import CHUNK, Workload, source_in
from ehps.state import Partition
from schemas.envelope import Event
from schemas.topics import agency_topic
from schemas.validate import validate_event

SMALL = Workload(6_000, 300, seed=7)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not():
    assert list(SMALL) == list(Workload(6_000, 300, seed=7))
    assert list(SMALL) != list(Workload(6_000, 300, seed=8))


def test_a_part_of_a_stream_is_the_same_as_in_the_whole():
    whole = Workload(2 * CHUNK + 500, 300, seed=7)
    part = whole.then(500, 2 * CHUNK)
    assert list(islice(whole, 2 * CHUNK, None)) == list(part)


def test_every_event_is_valid_by_the_contracts_and_by_the_peers_and_of_one_of_forty_kinds():
    now, seen = datetime.now(UTC), Counter()
    for sent in SMALL:
        event = validate_event(agency_topic(source_in(sent.value)), sent.value, None, now)
        assert isinstance(event, Event)
        CloudEvent.model_validate_json(sent.value)
        seen[event.type] += 1
    assert len(KINDS) == len(FEATURES) == 40
    assert set(seen) <= {f"{kind.type}.v1" for kind in KINDS}


def test_events_are_of_the_stated_size_skew_and_repeats():
    sents = list(SMALL)
    assert 280 < sum(len(sent.value) for sent in sents) / len(sents) < 360
    events = Counter(sent.family for sent in sents)
    assert max(events.values()) > 4 * len(sents) / len(events)
    repeats = len(sents) - len({sent.value for sent in sents})
    assert 0.005 < repeats / len(sents) < 0.015


def test_the_peers_fold_says_of_every_event_what_the_plain_reference_says():
    states: dict[str, bytes] = {}
    families: dict[str, Family] = {}
    alerts = repeats = 0
    for sent in SMALL:
        outcome = fold(states.get(sent.family), sent.value)
        said = families.setdefault(sent.family, Family()).take(orjson.loads(sent.value))
        assert (outcome.state is None, outcome.alert is not None) == (said is None, said is True)
        if outcome.state is not None:
            states[sent.family] = outcome.state
        alerts += said is True
        repeats += said is None
    assert expected(SMALL) == (alerts, repeats)
    assert 0.005 < alerts / SMALL.events < 0.03


@pytest.mark.parametrize("peer", ["faust_table", "faust_redis", "quix", "bytewax_flow"])
def test_every_python_peer_scores_with_that_fold_and_no_other(peer):
    source = (resources.files(peers) / f"{peer}.py").read_text()
    assert "from benchmarks.peers.job import alert_of, fold" in source
    assert source.count("= fold(") == 1


def test_on_the_log_the_core_finds_the_same_repeats_and_applies_every_other_event():
    stores = seeds.fresh(SMALL)
    seeds.grow(stores, SMALL)
    counts = Counter()
    for store in stores.values():
        counts.update(Partition.decode(store.partition).counts)
    assert counts["duplicate"] == expected(SMALL).repeats
    enrolled = 2 * SMALL.families
    assert counts["applied"] + counts["duplicate"] == SMALL.events + enrolled


def test_copied_states_stay_what_they_were_under_more_names():
    stores = seeds.fresh(Workload(0, 20, seed=7))
    copies = seeds.cloned(stores, 3)
    held = sorted(state for store in stores.values() for state in store.families.values())
    many = sorted(state for store in copies.values() for state in store.families.values())
    assert many == sorted(held * 3)
    assert all(
        seeds.place_of(name, seeds.PARTITIONS) == partition
        for partition, store in copies.items()
        for name in store.families
    )
