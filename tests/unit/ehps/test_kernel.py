"""The vectorised kernel equals its plain-Python definition, to the bit, however rows are batched."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
from families import LA, LIBRARY, START
from hypothesis import given, settings
from hypothesis import strategies as st

from ehps import reference
from ehps.catalogue import KINDS
from ehps.compiled import compile_content
from ehps.content import STATES, TAGS, Combinations
from ehps.facts import BIRTH, FACT, Facts
from ehps.kernel import ATTENDANCE, features, pack_rows
from ehps.library import Content
from ehps.reference import key_order

NOW = int(START.timestamp()) + 86_400 * 3
DAY = 86_400


def in_force() -> Content:
    control = LIBRARY.default_control(LA, START)
    return LIBRARY.resolve(control.kernel, control.release, control.rules, control.policy)


CONTENT = in_force()
COMPILED = compile_content(CONTENT)

CODES = st.sampled_from(
    [kind.code for kind in KINDS] + [15] * 20 + [1, 1, 4, 4, 16, 16, 16, 75, 75]
)


@st.composite
def fact_sets(draw: st.DrawFn) -> Facts:
    size = draw(st.integers(0, 60))
    facts = np.zeros(size, FACT)
    for index in range(size):
        ago = draw(st.one_of(st.integers(-2, 60), st.integers(-2, 760)))
        facts[index]["id"] = index
        facts[index]["occurred"] = NOW - ago * DAY + draw(st.integers(-40_000, 40_000))
        facts[index]["kind"] = draw(CODES)
        facts[index]["person"] = draw(st.integers(1, 3))
        facts[index]["incident"] = draw(st.sampled_from([0, 0, 0, 7, 8]))
        facts[index]["value"] = draw(st.integers(0, 3))
        facts[index]["flags"] = draw(st.sampled_from([0, 0, 0, 0, 1]))
    return facts[key_order(facts)]


def born(days: list[int]) -> bytes:
    return np.array(days, BIRTH).tobytes()


ON_ROLL = next(kind.code for kind in KINDS if kind.spell == "on_roll" and kind.edge == "start")
SHARES = st.sampled_from([0.0, 0.05, 0.1, 0.15, 0.35, 0.45, 0.5, 0.55, 1.0])
"""Shares of sessions missed, most of them near a line."""


@st.composite
def pupils(draw: st.DrawFn) -> Facts:
    """One or two children on roll, marked every day: of late they miss another share of sessions than before."""
    rows: list[tuple[int, int, int, int]] = []
    for person in range(1, draw(st.integers(1, 2)) + 1):
        on_roll = draw(st.one_of(st.integers(1, 240), st.integers(130, 240)))
        turn = draw(st.sampled_from([14, 28, 29, 42, 84, 98, 112, 133]))
        shares, dice = (draw(SHARES), draw(SHARES)), Random(draw(st.integers(0, 2**32)))
        rows.append((NOW - on_roll * DAY, ON_ROLL, person, 0))
        for ago in range(-8, 200):
            first, second = (dice.random() < shares[ago >= turn] for _ in "12")
            rows.append((NOW - ago * DAY, ATTENDANCE, person, first | second << 1))
    facts = np.zeros(len(rows), FACT)
    facts["id"] = np.arange(len(rows))
    for name, column in zip(
        ("occurred", "kind", "person", "value"), zip(*rows, strict=True), strict=True
    ):
        facts[name] = column
    return facts[key_order(facts)]


KIND_NAMES = st.lists(st.sampled_from([kind.name for kind in KINDS]), min_size=1, max_size=4)
DAYS = st.integers(1, 730)
THRESHOLDS = st.sampled_from([(1, 1), (1, 1), (2, 1), (3, 1), (1, 2), (2, 2)])


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, object]:
    form = draw(st.sampled_from(["any", "any", "none", "silent", "holds"]))
    if form == "holds":
        return {form: draw(st.lists(st.sampled_from(STATES), min_size=1, max_size=2))}
    names = draw(st.one_of(KIND_NAMES, st.sampled_from([[f"#{tag}"] for tag in sorted(TAGS)])))
    at_least, agencies = draw(THRESHOLDS) if form == "any" else (1, 1)
    return {form: names, "days": draw(DAYS), "at_least": at_least, "agencies": agencies}


@st.composite
def rule_files(draw: st.DrawFn) -> Combinations:
    rules = draw(st.lists(st.lists(conditions(), min_size=1, max_size=4), max_size=6))
    return Combinations.model_validate(
        {
            "name": "drawn",
            "fresh_days": draw(st.integers(1, 365)),
            "cool_down_days": 0,
            "rules": [
                {
                    "name": f"R{number}",
                    "title": "t",
                    "response": "r",
                    "clock": {"days": 1},
                    "all": conditions,
                }
                for number, conditions in enumerate(rules)
            ],
        }
    )


BIRTHS = st.lists(st.integers(NOW // DAY - 7000, NOW // DAY + 100), max_size=3)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(fact_sets(), BIRTHS, st.integers(-5, 40)), min_size=1, max_size=4),
    st.integers(0, 90),
)
def test_the_kernel_equals_its_plain_definition_on_every_row(
    families: list[tuple[Facts, list[int], int]], listened: int
) -> None:
    since = NOW // DAY - listened
    moments = [NOW + days * DAY for _, _, days in families]
    row = features(
        COMPILED,
        pack_rows([f for f, _, _ in families], moments, [born(b) for _, b, _ in families], since),
    )

    for index, (facts, births, _) in enumerate(families):
        answer = reference.score(CONTENT, facts, moments[index], births, since)
        got = row.rows()[index]
        assert got is not None
        for name in reference.Answer._fields:
            assert getattr(got, name) == getattr(answer, name)


@settings(max_examples=200, deadline=None)
@given(st.lists(pupils(), min_size=1, max_size=3), st.integers(-4, 8))
def test_attendance_is_told_as_its_plain_definition_tells_it(
    families: list[Facts], later: int
) -> None:
    moment = NOW + later * DAY
    found = features(COMPILED, pack_rows(families, [moment] * len(families), [b""] * len(families)))

    for index, facts in enumerate(families):
        assert int(found.states[index]) == reference.score(CONTENT, facts, moment, [], 0).states


@settings(max_examples=120, deadline=None)
@given(st.lists(fact_sets(), min_size=1, max_size=3), rule_files(), st.integers(0, 400))
def test_any_rule_file_matches_as_its_plain_definition_says(
    families: list[Facts], file: Combinations, listened: int
) -> None:
    content, since = replace(CONTENT, rules=file), NOW // DAY - listened
    packed = pack_rows(families, [NOW] * len(families), [b""] * len(families), since)
    found = features(compile_content(content), packed)

    for index, facts in enumerate(families):
        answer = reference.score(content, facts, NOW, [], since)
        assert (found.rules[index], found.pending[index]) == (answer.rules, answer.pending)


@settings(max_examples=100, deadline=None)
@given(st.lists(fact_sets(), min_size=2, max_size=5), st.integers(1, 4))
def test_rows_do_not_depend_on_their_batch(families: list[Facts], cut: int) -> None:
    def rows(parts: list[Facts]) -> list[bytes]:
        row = features(COMPILED, pack_rows(parts, [NOW] * len(parts), [b""] * len(parts)))
        return [row.contributions[index].tobytes() for index in range(len(parts))]

    assert rows(families) == rows(families[:cut]) + (rows(families[cut:]) if families[cut:] else [])


@settings(max_examples=100, deadline=None)
@given(fact_sets())
def test_contributions_add_up_to_the_score_exactly(facts: Facts) -> None:
    row = features(COMPILED, pack_rows([facts], [NOW], [b""]))

    assert int(row.contributions[0].sum()) == int(row.score[0])
