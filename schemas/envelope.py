"""The envelope of every message that an agency sends: CloudEvents 1.0 with three extensions of ours."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import TzInfo

SUBJECT_PATTERN = r"^(person|household)-[0-9a-f]{32}$"
LA_PATTERN = r"^[EWSN][0-9]{8}$"

SENT_UTC = TzInfo(0)
"""The zone of validated times that were sent in UTC. Moments of one and the same zone are compared in an eighth of the
time, since neither has to be asked how far from UTC it is."""

Subject = Annotated[
    str,
    Field(
        pattern=SUBJECT_PATTERN,
        description=(
            "Pseudonym of a person or household: person- or household- and the first 32 hex digits of "
            "HMAC-SHA256 over the identifier, with the key agreed for the authority. Never a name, "
            "NHS number, UPN or address."
        ),
    ),
]
AuthorityCode = Annotated[
    str, Field(pattern=LA_PATTERN, description="ONS code of the authority, such as E06000023.")
]


class Data(BaseModel):
    """What happened. Unknown fields are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Event(BaseModel):
    """CloudEvents 1.0 (structured JSON). `id` and `source` name an event for ever. Unknown attributes are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    specversion: Literal["1.0"]
    id: str = Field(min_length=1, max_length=128)
    source: str = Field(min_length=1, max_length=256, description="URI of the sending system.")
    type: str = Field(max_length=64)
    subject: Subject
    time: AwareDatetime = Field(description="When it happened.")
    recordedtime: AwareDatetime = Field(
        description="When the agency's system knew. The greatest wins among versions."
    )
    la: AuthorityCode
    datacontenttype: Literal["application/json"] | None = None
    dataschema: str | None = Field(default=None, max_length=256)
    correctionof: AwareDatetime | None = Field(
        default=None,
        description=("In a correction that moves the date: the `time` that the event had before."),
    )
    incident: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description=(
            "Reference shared by agencies that tell of one incident; the incident counts once."
        ),
    )
    data: Any
