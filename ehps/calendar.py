"""Days in London, school days, working hours. Arithmetic only: two machines with other time-zone files must agree."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DAY = 86_400
_EPOCH = date(1970, 1, 1)


def date_to_day(value: date) -> int:
    """Days since 1970-01-01."""
    return (value - _EPOCH).days


def day_to_date(day: int) -> date:
    """The date `day` days after 1970-01-01."""
    return _EPOCH + timedelta(days=day)


def _last_sunday(year: int, month: int) -> int:
    last = date(year, month, 31)
    return date_to_day(last - timedelta(days=(last.weekday() + 1) % 7))


# Summer Time Order 2002 (SI 2002/262): 01:00 UTC on the last Sundays of March and October. Used for earlier years too:
# facts of then are past every horizon.
_CHANGES = [
    _last_sunday(year, month) * DAY + 3600 for year in range(1970, 2107) for month in (3, 10)
]
_SUMMER_NIGHT = np.zeros(2**32 // DAY + 1, bool)
"""By day in UTC: whether its last hour is the first of the next day in London."""
for _spring, _autumn in zip(_CHANGES[::2], _CHANGES[1::2], strict=True):
    _SUMMER_NIGHT[_spring // DAY : _autumn // DAY] = True


def local_day(seconds: Ints) -> Ints:
    """Days since 1970-01-01 in London, for an array of seconds since 1970 (UTC), until 2106."""
    day = seconds // DAY
    result: Ints = day + (_SUMMER_NIGHT.take(day) & (seconds - day * DAY >= DAY - 3600))
    return result


def local_day_of(seconds: int) -> int:
    """The same for one moment."""
    return (seconds + (bisect_right(_CHANGES, seconds) & 1) * 3600) // DAY


def start_of_day(day: int) -> int:
    """Seconds since 1970 (UTC) of midnight in London at the start of `day`."""
    return day * DAY - (bisect_right(_CHANGES, day * DAY - 1) & 1) * 3600


@dataclass(frozen=True, eq=False)
class SchoolCalendar:
    """School days of an authority: weekdays within its terms, less bank holidays."""

    first_day: int
    last_day: int
    _school: NDArray[np.bool_]
    _in_term: NDArray[np.bool_]
    _through: Ints
    _quiet: Ints

    @classmethod
    def build(
        cls, terms: Iterable[tuple[date, date]], bank_holidays: Iterable[date]
    ) -> SchoolCalendar:
        """From (first, last) dates of terms and half-terms, both inclusive."""
        spans = sorted((date_to_day(a), date_to_day(b)) for a, b in terms)
        first, last = spans[0][0], spans[-1][1]
        in_term = np.zeros(last - first + 1, bool)
        for start, end in spans:
            in_term[start - first : end - first + 1] = True
        days = np.arange(first, last + 1)
        school = in_term & ((days + 3) % 7 < 5)  # 1970-01-01 was a Thursday
        closed = [date_to_day(d) - first for d in bank_holidays if first <= date_to_day(d) <= last]
        school[closed] = False
        through = np.concatenate(([0], school.cumsum()))
        return cls(first, last, school, in_term, through, first + in_term.nonzero()[0])

    def is_school_day(self, day: int) -> bool:
        """Whether schools are open."""
        return self.first_day <= day <= self.last_day and bool(self._school[day - self.first_day])

    def is_holiday(self, day: int) -> bool:
        """Whether `day` lies outside every term; weekends within a term are not holidays."""
        return not (
            self.first_day <= day <= self.last_day and bool(self._in_term[day - self.first_day])
        )

    def count_through(self, days: Ints) -> Ints:
        """School days from the calendar's first day through each day, inclusive."""
        # Not np.clip, which takes longer than all the rest where days are few.
        place = days - self.first_day + 1
        result: Ints = self._through[np.minimum(np.maximum(place, 0), len(self._school))]
        return result

    def quiet_until(self, start_day: int, days: int, *, skip_holidays: bool) -> int:
        """First day on which `days` quiet days have passed since `start_day`."""
        if not skip_holidays:
            return start_day + days
        # Past the calendar's end nothing is known of holidays: every day counts.
        first = int(self._quiet.searchsorted(start_day))
        known = len(self._quiet) - first
        if days > known:
            return max(start_day, self.last_day + 1) + days - known
        return int(self._quiet[first + days - 1]) + 1 if days else start_day


@dataclass(frozen=True)
class WorkingHours:
    """When the front door is staffed."""

    weekdays: frozenset[int]
    open_s: int
    close_s: int
    bank_holidays: frozenset[int]

    def is_working_day(self, day: int) -> bool:
        """Whether `day` is a working day."""
        return (day + 3) % 7 in self.weekdays and day not in self.bank_holidays

    def is_working(self, seconds: int) -> bool:
        """Whether the moment lies within working hours."""
        day = local_day_of(seconds)
        return self.is_working_day(day) and self._opens(day) <= seconds < self._closes(day)

    def due_after_hours(self, seconds: int, hours: int) -> int:
        """The moment at which `hours` working hours have passed."""
        left = hours * 3600
        day = local_day_of(seconds)
        while True:
            if self.is_working_day(day):
                begin = max(seconds, self._opens(day))
                room = self._closes(day) - begin
                if room >= left:
                    return begin + left
                left -= max(room, 0)
            day += 1

    def due_after_days(self, seconds: int, days: int) -> int:
        """Close of business of the `days`-th working day after the moment's own day."""
        day = local_day_of(seconds)
        while days:
            day += 1
            days -= self.is_working_day(day)
        return self._closes(day)

    def next_digest(self, seconds: int) -> int:
        """Opening of the next working day."""
        day = local_day_of(seconds) + 1
        while not self.is_working_day(day):
            day += 1
        return self._opens(day)

    def _opens(self, day: int) -> int:
        return start_of_day(day) + self.open_s

    def _closes(self, day: int) -> int:
        return start_of_day(day) + self.close_s


_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def load_calendar(data: Any) -> tuple[SchoolCalendar, WorkingHours]:
    """Both calendars from a content file's data.

    Raises:
        ValueError: naming the key and what is legal there.
    """
    if not isinstance(data, dict):
        raise ValueError("the file holds keys: terms, bank_holidays, working_hours")  # noqa: TRY004
    holidays = _dates(data, "bank_holidays")
    terms = data.get("terms")
    if not isinstance(terms, list) or not terms or not all(_is_span(term) for term in terms):
        raise ValueError("terms: a list of [first, last] dates, first not after last")
    hours = data.get("working_hours")
    if not isinstance(hours, dict) or set(hours) != {"weekdays", "open", "close"}:
        raise ValueError("working_hours: keys weekdays, open, close")
    unknown = [name for name in hours["weekdays"] if name not in _WEEKDAYS]
    if unknown:
        raise ValueError(f"working_hours.weekdays: legal: {', '.join(_WEEKDAYS)}")
    open_s, close_s = _clock(hours, "open"), _clock(hours, "close")
    if open_s >= close_s:
        raise ValueError("working_hours: open must be before close")
    weekdays = frozenset(_WEEKDAYS.index(name) for name in hours["weekdays"])
    if not weekdays:
        raise ValueError("working_hours.weekdays: at least one")
    working = WorkingHours(weekdays, open_s, close_s, frozenset(map(date_to_day, holidays)))
    return SchoolCalendar.build([(first, last) for first, last in terms], holidays), working


def _is_span(term: Any) -> bool:
    return (
        isinstance(term, list)
        and len(term) == 2
        and all(type(d) is date for d in term)
        and term[0] <= term[1]
    )


def _dates(data: dict[str, Any], key: str) -> list[date]:
    values = data.get(key)
    if not isinstance(values, list) or not all(type(d) is date for d in values):
        raise ValueError(f"{key}: a list of dates (YYYY-MM-DD)")
    return values


def _clock(hours: dict[str, Any], key: str) -> int:
    text = str(hours[key])
    try:
        hour, minute = (int(part) for part in text.split(":"))
    except ValueError:
        raise ValueError(f'working_hours.{key}: a time such as "09:00"') from None
    if not (0 <= hour < 24 and 0 <= minute < 60):
        raise ValueError(f'working_hours.{key}: a time such as "09:00"')
    return hour * 3600 + minute * 60
