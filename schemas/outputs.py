"""What leaves EHPS: alerts, scores and, as documents about rejected messages, dead letters."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.decisions import FAMILY_KEY_PATTERN
from schemas.envelope import AuthorityCode

Band = Literal["blue", "green", "amber", "red"]
Tier = Literal["none", "early_help", "child_in_need", "child_protection", "looked_after"]
LOG_TIME = (
    "Log time: it moves with the authority's heartbeats, one a minute, "
    "so it may be up to a minute earlier than the event's own time."
)


class _Output(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Position(_Output):
    """Where the log stood: the greatest position a family is the newest word."""

    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    sequence: int = Field(ge=0)


class FactView(_Output):
    """A dated fact: when it occurred, when the agency recorded it, when EHPS knew."""

    kind: str
    label: str
    occurred: AwareDatetime
    recorded: AwareDatetime
    known: AwareDatetime = Field(description=LOG_TIME)
    person: str | None


class Contribution(_Output):
    """One part of the score; the units of all parts add up to the score exactly."""

    kind: str
    label: str
    heading: str | None
    units: int
    points: float
    facts_total: int
    facts: tuple[FactView, ...]


class PersonView(_Output):
    """A member of the family, by pseudonym."""

    subject: str
    role: Literal["child", "adult", "household"]
    age: int | None


class LastDecision(_Output):
    """What a professional last decided for the family."""

    id: str
    at: AwareDatetime
    alert_id: str
    action: str


class Alert(_Output):
    """An alert, or its end. Fields below `at` stand only where the state is raised."""

    alert_id: str = Field(
        pattern=r"^[0-9a-f]{32}$",
        description="The same alert sent twice has the same id and bytes.",
    )
    kind: Literal["step_up", "step_down", "combination"]
    state: Literal["raised", "superseded", "withdrawn"]
    family: str = Field(pattern=FAMILY_KEY_PATTERN)
    la: AuthorityCode
    grade: Literal["green", "amber", "red"] | None
    rule: str = Field(description='"band", "step-down" or the name of a combination.')
    headline: str
    raised_at: AwareDatetime = Field(description=LOG_TIME)
    superseded_by: str | None
    cause: Literal["record", "timer", "release", "retraction"]
    stage: Literal["shadow", "pilot", "live"]
    release: str
    rules: str
    policy: str
    release_name: str
    position: Position
    at: AwareDatetime | None = Field(
        default=None, description=f"When a superseded or withdrawn alert ended. {LOG_TIME}"
    )
    response: str | None = None
    route: str | None = None
    due: AwareDatetime | None = None
    band: Band | None = None
    score_units: int | None = Field(default=None, description="Score in units of 1/`unit` points.")
    unit: int | None = None
    contributions: tuple[Contribution, ...] = ()
    combinations: tuple[str, ...] = ()
    new_facts: tuple[FactView, ...] = ()
    protective: tuple[FactView, ...] = ()
    people: tuple[PersonView, ...] = ()
    open_tier: Tier | None = None
    last_decision: LastDecision | None = None
    sources_heard: tuple[str, ...] = ()
    sources_silent: tuple[str, ...] = ()
    insufficient_data: bool = False
    bound_reached: bool = False
    link_confidence: float | None = Field(default=None, ge=0, le=1)
    notes: tuple[str, ...] = ()
    withheld: bool = False


class Score(_Output):
    """A family's new score. Null with an `error` where the family could not be scored."""

    family: str = Field(pattern=FAMILY_KEY_PATTERN)
    la: AuthorityCode
    at: AwareDatetime = Field(description=LOG_TIME)
    score_units: int | None
    band: Band | None
    insufficient_data: bool
    position: Position
    error: str | None = None


class DeadLetter(_Output):
    """A rejected message as a document. On its topic the record holds the original bytes, and this in its headers."""

    code: str
    field: str
    observed: str
    hint: str
    topic: str
    partition: int
    offset: int
    stage: str
    failed_at: AwareDatetime
    size: int
