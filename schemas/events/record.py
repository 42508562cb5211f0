"""Taking an event back. Sent on the topic of the agency that told the event."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from schemas.envelope import Data, Event


class RetractedData(Data):
    """Which event did not happen: its id, type and time as they were sent, under the same `source`."""

    id: str = Field(min_length=1, max_length=128)
    type: str = Field(max_length=64)
    occurred: AwareDatetime = Field(description="The original event's `time`.")


class Retracted(Event):
    """An event of this source did not happen, or not to this person."""

    type: Literal["record.retracted.v1"]
    data: RetractedData
