"""Events told by revenues and benefits."""

from __future__ import annotations

from typing import Literal

from schemas.envelope import Data, Event


class Sanction(Event):
    """A benefit sanction."""

    type: Literal["benefits.sanction.v1"]
    data: Data


class CouncilTaxArrearsData(Data):
    """Data of `benefits.arrears`."""

    kind: Literal["council_tax"]


class CouncilTaxArrears(Event):
    """Council-tax arrears."""

    type: Literal["benefits.arrears.v1"]
    data: CouncilTaxArrearsData
