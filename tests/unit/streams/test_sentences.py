"""Alerts as sentences."""

from __future__ import annotations

import pytest

from streams.follow import sentence


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (
            "Exploitation concern or NRM referral",
            "Mostly exploitation concern or NRM referral (4 points).",
        ),
        ("CAMHS referral", "Mostly CAMHS referral (4 points)."),
        ("Child protection flag (CP-IS)", "Mostly child protection flag (CP-IS) (4 points)."),
    ],
)
def test_an_abbreviation_keeps_its_capitals_inside_a_sentence(label: str, said: str) -> None:
    alert = {
        "family": "E06000023:f-1",
        "state": "raised",
        "at": "2026-03-02T09:00:00Z",
        "headline": "Step up to green.",
        "contributions": [{"label": label, "units": 4, "points": 4}],
    }
    assert sentence(alert).splitlines()[1].strip() == said
