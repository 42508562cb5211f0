"""Events told by the police."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from schemas.envelope import Data, Event


class PoliceNotificationData(Data):
    """Data of `police.notification`."""

    grade: Literal["red", "amber", "green"]
    child_present: bool | None = None
    domestic_abuse: bool | None = None


class PoliceNotification(Event):
    """A graded Public Protection Notice."""

    type: Literal["police.notification.v1"]
    data: PoliceNotificationData


class EncompassData(Data):
    """Data of `police.encompass`."""

    child_present: bool | None = None


class Encompass(Event):
    """A domestic-abuse incident shared with the school (Operation Encompass, Victims and Prisoners Act 2024)."""

    type: Literal["police.encompass.v1"]
    data: EncompassData


class MaracData(Data):
    """Data of `police.marac`."""

    risk: Literal["standard", "medium", "high"]


class Marac(Event):
    """A domestic-abuse risk assessment (DASH 2009); high goes to MARAC."""

    type: Literal["police.marac.v1"]
    data: MaracData


class MissingData(Data):
    """Data of `police.missing`."""

    category: Literal["M", "A"]
    returned: AwareDatetime | None = None


class Missing(Event):
    """A missing episode: M whereabouts unknown, A away without authorisation."""

    type: Literal["police.missing.v1"]
    data: MissingData


class ExploitationData(Data):
    """Data of `police.exploitation`."""

    kind: Literal["nrm", "cse", "cce"]


class Exploitation(Event):
    """An exploitation concern, or a referral to the National Referral Mechanism."""

    type: Literal["police.exploitation.v1"]
    data: ExploitationData


class PoliceProtection(Event):
    """A child taken into police protection (Children Act 1989, section 46)."""

    type: Literal["police.protection.v1"]
    data: Data


class ArrestData(Data):
    """Data of `police.arrest`."""

    who: Literal["parent", "child"]


class Arrest(Event):
    """An arrest of a parent or a child."""

    type: Literal["police.arrest.v1"]
    data: ArrestData
