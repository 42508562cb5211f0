"""Who belongs to which family: topic `ehps.links.v1`, keyed by subject, the greatest `recordedtime` wins."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.envelope import Data, Event

FamilyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class PersonLinkedData(Data):
    """The family, and what scoring needs to know of the person."""

    family: FamilyName
    role: Literal["child", "adult", "household"]
    born: str | None = Field(
        default=None,
        pattern=r"^(19|20)[0-9]{2}-(0[1-9]|1[0-2])$",
        description="Month of birth, expected month if unborn.",
    )
    confidence: float = Field(default=1.0, ge=0, le=1)


class PersonLinked(Event):
    """A person (or household reference) belongs to a family."""

    type: Literal["link.person.v1"]
    data: PersonLinkedData


class LinkRemovedData(Data):
    """The family that the person does not belong to."""

    family: FamilyName


class LinkRemoved(Event):
    """A person does not belong to a family after all."""

    type: Literal["link.removed.v1"]
    data: LinkRemovedData


LINK_TYPES: dict[str, type[Event]] = {
    "link.person.v1": PersonLinked,
    "link.removed.v1": LinkRemoved,
}


def authority_of(key: str) -> str:
    """The authority's ONS code in a family's key."""
    return key[:9]


def family_key(la: str, family: str) -> str:
    """The family's key on the log, in alerts and in states: unique over authorities."""
    return f"{la}:{family}"
