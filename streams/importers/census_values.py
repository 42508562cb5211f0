"""Reads single census values (dates, codes, yes/no) and decides which dates are possible."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

LONDON: Final = ZoneInfo("Europe/London")

START_OF_DAY: Final = time(9)
"""The census gives days without hours; an event is placed at the start of the working day."""

CHILDREN_ACT: Final = date(1991, 10, 14)
"""The Children Act 1989 came into force; no referral, plan or enquiry under it can be older."""

MAX_AGE_YEARS: Final = 25
"""Oldest age in years at which a person can still be in the census."""

PREGNANCY_MONTHS: Final = 9
"""Months before birth from which a record about an unborn child is possible."""

_YEAR_MONTHS = 12
_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})(T[0-9:.]+)?(Z|[+-]\d{2}:\d{2})?\Z", re.ASCII)
_SHOWABLE = re.compile(r"[A-Z0-9]{1,3}\Z")
_YES_NO: Final = {"true": True, "1": True, "false": False, "0": False}


class WrongValue(ValueError):
    """A value that cannot be taken: a machine code and the sentence for the report."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def read_date(text: str) -> date:
    """Returns an XML date; a time of day or zone after it is legal and ignored.

    Raises:
        WrongValue: when it is missing or no such day exists.
    """
    if not text:
        msg = "the date is missing"
        raise WrongValue(msg, code="missing_date")
    match = _DATE.match(text)
    try:
        return date.fromisoformat(match.group(1) if match else "")
    except ValueError:
        msg = "not a date; dates are written YYYY-MM-DD"
        raise WrongValue(msg, code="wrong_date") from None


def read_yes_no(text: str) -> bool:
    """Returns an XML boolean: true, false, 1 or 0, in any case.

    Raises:
        WrongValue: for anything else.
    """
    value = _YES_NO.get(text.lower())
    if value is None:
        msg = "not a yes or no; the legal values are true, false, 1 and 0"
        raise WrongValue(msg, code="wrong_value")
    return value


def read_code(text: str, legal: Iterable[str]) -> str:
    """Returns a code of an official list, in upper case.

    Raises:
        WrongValue: when it is missing or not in the list; the message names the legal codes, and
            the code met only if it is too short to be anything personal.
    """
    if not text:
        msg = "the code is missing"
        raise WrongValue(msg, code="missing_code")
    codes = tuple(legal)
    code = text.upper()
    if code in codes:
        return code
    met = f'"{code}"' if _SHOWABLE.match(code) else f"a value of {len(text)} characters"
    msg = f"{met} is not a legal code; the legal codes are {' '.join(codes)}"
    raise WrongValue(msg, code="unknown_code")


def moment(day: date, minute: int = 0) -> datetime:
    """Returns 09:00 plus some minutes, London time, on a day, as an instant in UTC.

    Args:
        day: the day the census gives.
        minute: 0-59; keeps the steps of one day in the order in which they follow each other.
    """
    at = datetime.combine(day, START_OF_DAY, tzinfo=LONDON) + timedelta(minutes=minute)
    return at.astimezone(UTC)


def months_before(day: date, months: int) -> date:
    """Returns the same day some months earlier, or the last day of that month if it is shorter."""
    year, month = divmod(day.year * _YEAR_MONTHS + day.month - 1 - months, _YEAR_MONTHS)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


@dataclass(frozen=True, slots=True)
class Window:
    """The days on which something can have happened to one child, as far as a file can know.

    Attributes:
        horizon: last day the file can speak of: the earliest of its reference date, the day it
            was made, and today.
        conceived: nine months before the child's birth or expected birth; None when unknown.
        died: the day of the child's death, if known; work can end after it, but not begin.
    """

    horizon: date
    conceived: date | None = None
    died: date | None = None

    def check_start(self, day: date) -> date:
        """Returns the day on which work with the child began.

        Raises:
            WrongValue: with code impossible_date, when it lies outside the window or after death.
        """
        if self.died is not None and day > self.died:
            msg = "impossible date: after the child's death"
            raise WrongValue(msg, code="impossible_date")
        return self.check(day)

    def check(self, day: date) -> date:
        """Returns the day.

        Raises:
            WrongValue: with code impossible_date, when it lies outside the window.
        """
        if day > self.horizon:
            msg = f"impossible date: after {self.horizon}, the last day the file can speak of"
            raise WrongValue(msg, code="impossible_date")
        if day < CHILDREN_ACT:
            msg = "impossible date: before the Children Act 1989 was in force (14 October 1991)"
            raise WrongValue(msg, code="impossible_date")
        if self.conceived is not None and day < self.conceived:
            msg = f"impossible date: more than {PREGNANCY_MONTHS} months before the child's birth"
            raise WrongValue(msg, code="impossible_date")
        return day
