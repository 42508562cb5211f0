"""What a professional decided on an alert: topic `ehps.decisions.v1`, keyed by family."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.envelope import AuthorityCode, Data

FAMILY_KEY_PATTERN = r"^[EWSN][0-9]{8}:[A-Za-z0-9_-]{1,64}$"


class DecisionData(Data):
    """The alert decided on, and how."""

    alert_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    action: Literal[
        "accept", "hold", "disagree", "already_known", "wrong_family", "step_down_agreed"
    ]
    reason: str | None = Field(default=None, max_length=500)


class Decision(BaseModel):
    """A decision: the envelope of an event, with the family's key in place of a person."""

    model_config = ConfigDict(frozen=True, extra="allow")

    specversion: Literal["1.0"]
    id: str = Field(min_length=1, max_length=128)
    source: str = Field(min_length=1, max_length=256)
    type: Literal["decision.made.v1"]
    family: str = Field(
        pattern=FAMILY_KEY_PATTERN, description="authority:family, as alerts name it."
    )
    time: AwareDatetime
    recordedtime: AwareDatetime
    la: AuthorityCode
    data: DecisionData
