"""Events told by youth justice services."""

from __future__ import annotations

from typing import Literal

from schemas.envelope import Data, Event


class OutcomeData(Data):
    """Data of `youth-justice.outcome`."""

    kind: Literal[
        "community_resolution",
        "youth_caution",
        "conditional_caution",
        "out_of_court",
        "order",
        "custody",
    ]


class Outcome(Event):
    """An outcome or order."""

    type: Literal["youth-justice.outcome.v1"]
    data: OutcomeData
