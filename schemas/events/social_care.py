"""Events told by children's social care."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.codes import (
    AssessmentFactor,
    CategoryOfAbuse,
    ClosureReason,
    ContactOutcome,
    Disability,
    LegalStatus,
    PrimaryNeed,
    ReferralSource,
)
from schemas.envelope import Data, Event


class ContactData(Data):
    """Data of `social-care.contact`."""

    source: ReferralSource
    outcome: ContactOutcome


class Contact(Event):
    """A contact and what became of it."""

    type: Literal["social-care.contact.v1"]
    data: ContactData


class ReferralData(Data):
    """Data of `social-care.referral`."""

    source: ReferralSource
    need: PrimaryNeed
    no_further_action: bool


class Referral(Event):
    """A referral."""

    type: Literal["social-care.referral.v1"]
    data: ReferralData


class AssessmentData(Data):
    """Data of `social-care.assessment`."""

    factors: tuple[AssessmentFactor, ...] = Field(max_length=50)
    child_seen: bool | None = None


class Assessment(Event):
    """An assessment authorised, with its factors (Children Act 1989, section 17)."""

    type: Literal["social-care.assessment.v1"]
    data: AssessmentData


class Section47(Event):
    """A section 47 enquiry starts."""

    type: Literal["social-care.section47.v1"]
    data: Data


class Conference(Event):
    """An initial child protection conference."""

    type: Literal["social-care.conference.v1"]
    data: Data


class PlanStartedData(Data):
    """Data of `social-care.plan_started`."""

    plan: Literal["child_in_need", "child_protection"]
    category: CategoryOfAbuse | None = None


class PlanStarted(Event):
    """A plan starts."""

    type: Literal["social-care.plan_started.v1"]
    data: PlanStartedData


class PlanEndedData(Data):
    """Data of `social-care.plan_ended`."""

    plan: Literal["child_in_need", "child_protection"]


class PlanEnded(Event):
    """A plan ends."""

    type: Literal["social-care.plan_ended.v1"]
    data: PlanEndedData


class LookedAfterData(Data):
    """Data of `social-care.looked_after`."""

    status: Literal["started", "ended"]
    legal_status: LegalStatus | None = None


class LookedAfter(Event):
    """A child starts or ceases to be looked after."""

    type: Literal["social-care.looked_after.v1"]
    data: LookedAfterData


class ClosureData(Data):
    """Data of `social-care.closure`."""

    reason: ClosureReason


class Closure(Event):
    """A case is closed; RC9 is a step-down to early help."""

    type: Literal["social-care.closure.v1"]
    data: ClosureData


class DisabilityRecordedData(Data):
    """Data of `social-care.disability`."""

    codes: tuple[Disability, ...] = Field(min_length=1, max_length=13)


class DisabilityRecorded(Event):
    """A child's disability."""

    type: Literal["social-care.disability.v1"]
    data: DisabilityRecordedData


class VisitData(Data):
    """Data of `social-care.visit`."""

    child_seen: bool


class Visit(Event):
    """A social worker's visit."""

    type: Literal["social-care.visit.v1"]
    data: VisitData
