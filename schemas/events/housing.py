"""Events told by housing services and landlords."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.envelope import Data, Event


class ArrearsData(Data):
    """Data of `housing.arrears`."""

    weeks: float | None = Field(default=None, ge=0, le=1000)


class Arrears(Event):
    """Rent arrears."""

    type: Literal["housing.arrears.v1"]
    data: ArrearsData


class NoticeData(Data):
    """Data of `housing.notice`."""

    kind: Literal["section_8", "section_21", "possession_order", "eviction_warrant"]


class Notice(Event):
    """A step towards eviction."""

    type: Literal["housing.notice.v1"]
    data: NoticeData


class HomelessData(Data):
    """Data of `housing.homeless`."""

    duty: Literal["prevention", "relief", "main"]


class Homeless(Event):
    """A homelessness duty accepted (Housing Act 1996, part 7)."""

    type: Literal["housing.homeless.v1"]
    data: HomelessData


class TemporaryMove(Event):
    """A move to or within temporary accommodation."""

    type: Literal["housing.temporary_move.v1"]
    data: Data


class Move(Event):
    """A move of home."""

    type: Literal["housing.move.v1"]
    data: Data
