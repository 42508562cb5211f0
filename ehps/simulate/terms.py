"""School days of the simulated authority: English terms by rule, so that any year works."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

MONDAY = 0


def _first_monday(year: int, month: int, day: int) -> date:
    """The first Monday on or after a date."""
    moment = date(year, month, day)
    return moment + timedelta(days=(MONDAY - moment.weekday()) % 7)


@cache
def holidays(year: int) -> tuple[tuple[date, date], ...]:
    """Closed spells that begin in a calendar year, as (first, last) days.

    The usual English pattern: two weeks at Christmas and Easter, a week in February, May and
    October, six in summer.
    """
    week = timedelta(days=6)
    february, may, october = (
        _first_monday(year, 2, 12),
        _first_monday(year, 5, 25),
        _first_monday(year, 10, 24),
    )
    easter, early_may = _first_monday(year, 4, 1), _first_monday(year, 5, 1)
    christmas = _first_monday(year, 12, 19)
    return (
        (february, february + week),
        (easter, easter + timedelta(days=13)),
        (early_may, early_may),
        (may, may + week),
        (date(year, 7, 22), date(year, 9, 2)),
        (october, october + week),
        (christmas, christmas + timedelta(days=13)),
    )


@cache
def is_school_day(day: date) -> bool:
    """Whether schools of the simulated authority are open on a day."""
    if day.weekday() > 4 or (day.month, day.day) == (1, 1):
        return False
    spells = holidays(day.year) + holidays(day.year - 1)
    return not any(first <= day <= last for first, last in spells)


def school_entry(birth: date) -> date:
    """The 1 September on which a child starts reception: the one after the fourth birthday."""
    return date(birth.year + (4 if birth.month <= 8 else 5), 9, 1)
