"""Events told by health services."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.envelope import Data, Event


class EmergencyData(Data):
    """Data of `health.emergency`."""

    reason: Literal["injury", "illness", "mental_health", "other"]


class Emergency(Event):
    """An emergency attendance."""

    type: Literal["health.emergency.v1"]
    data: EmergencyData


class CpisAccessData(Data):
    """Data of `health.cpis_access`."""

    setting: str | None = Field(default=None, max_length=64)


class CpisAccess(Event):
    """A child protection flag looked up in unscheduled care (CP-IS)."""

    type: Literal["health.cpis_access.v1"]
    data: CpisAccessData


class WasNotBroughtData(Data):
    """Data of `health.was_not_brought`."""

    service: str | None = Field(default=None, max_length=64)


class WasNotBrought(Event):
    """A child was not brought to an appointment."""

    type: Literal["health.was_not_brought.v1"]
    data: WasNotBroughtData


class VisitorReviewData(Data):
    """Data of `health.visitor_review`."""

    review: Literal["antenatal", "new_birth", "6_8_week", "12_month", "2_year"]
    outcome: Literal["completed", "missed", "declined"]


class VisitorReview(Event):
    """A mandated health-visitor review (Healthy Child Programme)."""

    type: Literal["health.visitor_review.v1"]
    data: VisitorReviewData


class MentalHealthData(Data):
    """Data of `health.mental_health`."""

    who: Literal["parent", "child"]
    kind: Literal["crisis", "referral", "self_harm"]


class MentalHealth(Event):
    """A mental-health crisis, referral or self-harm."""

    type: Literal["health.mental_health.v1"]
    data: MentalHealthData


class SubstanceData(Data):
    """Data of `health.substance`."""

    who: Literal["parent", "child"]


class Substance(Event):
    """A referral for substance misuse."""

    type: Literal["health.substance.v1"]
    data: SubstanceData


class ParentalIllness(Event):
    """A parent is seriously ill."""

    type: Literal["health.parental_illness.v1"]
    data: Data


class HealthContactData(Data):
    """Data of `health.contact`."""

    child_seen: bool


class HealthContact(Event):
    """A routine contact."""

    type: Literal["health.contact.v1"]
    data: HealthContactData
