"""Events told by schools and the education service."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field

from schemas.codes import AttendanceCode, SuspensionReason
from schemas.envelope import Data, Event


class AttendanceData(Data):
    """Data of `education.attendance`."""

    date: dt.date
    am: AttendanceCode
    pm: AttendanceCode


class Attendance(Event):
    """One child's marks on one day, morning and afternoon; the latest version of the day counts."""

    type: Literal["education.attendance.v1"]
    data: AttendanceData


class EnrolmentData(Data):
    """Data of `education.enrolment`."""

    status: Literal["on_roll", "off_roll"]
    school: str | None = Field(default=None, max_length=64)


class Enrolment(Event):
    """A child goes on or off the roll of a school."""

    type: Literal["education.enrolment.v1"]
    data: EnrolmentData


class SuspensionData(Data):
    """Data of `education.suspension`."""

    reasons: tuple[SuspensionReason, ...] = Field(min_length=1, max_length=3)
    days: float | None = Field(default=None, gt=0, le=45)


class Suspension(Event):
    """A suspension, with one to three reasons."""

    type: Literal["education.suspension.v1"]
    data: SuspensionData


class ExclusionData(Data):
    """Data of `education.exclusion`."""

    reasons: tuple[SuspensionReason, ...] = Field(min_length=1, max_length=3)


class Exclusion(Event):
    """A permanent exclusion."""

    type: Literal["education.exclusion.v1"]
    data: ExclusionData


class MissingEducationData(Data):
    """Data of `education.missing_education`."""

    status: Literal["missing", "found"]


class MissingEducation(Event):
    """A child missing education, or found again."""

    type: Literal["education.missing_education.v1"]
    data: MissingEducationData


class HomeEducationData(Data):
    """Data of `education.home_education`."""

    status: Literal["started", "ended"]


class HomeEducation(Event):
    """Elective home education started or ended."""

    type: Literal["education.home_education.v1"]
    data: HomeEducationData


class YoungCarer(Event):
    """A child known to care for somebody."""

    type: Literal["education.young_carer.v1"]
    data: Data
