"""Controls and heartbeats: what is in force in an authority, and what time it is there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.envelope import AuthorityCode

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Control(BaseModel):
    """Puts content, named by hash, in force in an authority from a log time on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1, max_length=128)
    la: AuthorityCode
    effective: AwareDatetime
    kernel: int = Field(ge=1)
    release: Sha256
    rules: Sha256
    policy: Sha256
    stage: Literal["shadow", "pilot", "live"]
    pilot_share: float = Field(
        default=0.5, ge=0, le=1, description="Share of families that a pilot alerts on."
    )
    pilot_id: str = Field(default="", max_length=64)


class Heartbeat(BaseModel):
    """The only clock: the authority's time, and each source's last sign of life."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    la: AuthorityCode
    time: AwareDatetime
    sources: dict[str, AwareDatetime] = Field(max_length=32)
    jump_signed_by: str | None = Field(default=None, max_length=64)


class ControlMessage(BaseModel):
    """A message of `ehps.control.v1`: one of the two."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    control: Control | None = None
    heartbeat: Heartbeat | None = None
