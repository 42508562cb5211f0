"""School days and school years of the simulated authority: the calendar that ships with EHPS."""

from __future__ import annotations

from datetime import date
from functools import cache
from importlib import resources

import yaml

from ehps.calendar import SchoolCalendar, date_to_day, day_to_date, load_calendar


@cache
def calendar() -> SchoolCalendar:
    """The packaged calendar, so that marks fall on the days on which the kernel expects pupils."""
    text = (resources.files("ehps") / "content" / "calendar-england.yaml").read_text()
    return load_calendar(yaml.safe_load(text))[0]


def is_school_day(day: date) -> bool:
    """Whether schools of the simulated authority are open on a day."""
    return calendar().is_school_day(date_to_day(day))


def require_covered(first: date, last: date) -> None:
    """Refuse a world without schools.

    Raises:
        ValueError: the calendar does not reach from `first` to `last`.
    """
    known = calendar()
    if not known.first_day <= date_to_day(first) <= date_to_day(last) <= known.last_day:
        span = f"{day_to_date(known.first_day)} to {day_to_date(known.last_day)}"
        raise ValueError(f"the school calendar reaches from {span}; got {first} to {last}")


def school_entry(birth: date) -> date:
    """The 1 September on which a child starts reception: the one after the fourth birthday."""
    return date(birth.year + (4 if birth.month <= 8 else 5), 9, 1)
