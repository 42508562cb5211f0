"""Controls, heartbeats and coverage: what is in force in an authority, its time, and who has been heard."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from functools import lru_cache, reduce
from operator import and_
from typing import Any, NamedTuple

import orjson

from ehps.calendar import SchoolCalendar, local_day_of
from ehps.errors import NothingInForce
from ehps.facts import epoch_seconds
from ehps.library import Content, Library
from ehps.state import Authority

COVERAGE_DAYS = 730
"""Days for which one bit a source is kept."""


class Beat(NamedTuple):
    """A heartbeat: the authority's time and each source's last sign of life, seconds since 1970."""

    time: int
    sources: dict[str, int]


@lru_cache(maxsize=4096)
def beat_of(value: bytes) -> Beat:
    """A heartbeat from its validated JSON; remembered, since who reads states asks for it before who advances."""
    document = orjson.loads(value)
    sources = {source: _seconds(sign) for source, sign in document["sources"].items()}
    return Beat(_seconds(document["time"]), sources)


def _seconds(moment: str) -> int:
    return epoch_seconds(datetime.fromisoformat(moment))


def take_control(authority: Authority, control: dict[str, Any], effective: int) -> Authority:
    """With a control that takes effect at log time `effective`, seconds.

    A register: of controls the greatest (effective, id) is in force. One that comes again, or after a later one took
    effect, changes nothing: the same authority is returned.
    """
    new = {**control, "effective_s": effective}
    if authority.control is not None and _rank(new) <= _rank(authority.control):
        return authority
    if any(_rank(new) == _rank(held) for held in authority.waiting):
        return authority
    return replace(authority, waiting=tuple(sorted([*authority.waiting, new], key=_rank)))


def _rank(control: dict[str, Any]) -> tuple[int, str]:
    return control["effective_s"], control["id"]


def advance_time(authority: Authority, moment: int) -> Authority:
    """With log time moved forward and due controls in force; the same authority if the clock did not move."""
    if moment <= authority.time:
        return authority
    due = [control for control in authority.waiting if control["effective_s"] <= moment]
    return replace(
        authority,
        time=moment,
        started=local_day_of(moment) if authority.started is None else authority.started,
        control=due[-1] if due else authority.control,
        waiting=authority.waiting[len(due) :],
    )


def in_force(authority: Authority, library: Library) -> Content:
    """The content in force.

    Raises:
        NothingInForce: no control is in force; nothing may be scored.
        ContentMissing: this process lacks what the control names.
    """
    control = authority.control
    if control is None:
        raise NothingInForce
    return library.resolve(
        control["kernel"], control["release"], control["rules"], control["policy"]
    )


def hear(authority: Authority, signs: dict[str, int], content: Content) -> Authority:
    """With the sources' last signs of life, and today's coverage bit set for each source heard."""
    day = local_day_of(authority.time)
    held = authority.sources
    sources = held | {source: max(sign, held.get(source, 0)) for source, sign in signs.items()}
    listening = replace(authority, sources=sources)
    mask = (1 << COVERAGE_DAYS) - 1
    heard = {
        source: (
            day,
            _bits(authority, source, day) & mask | is_heard(listening, source, day, content),
        )
        for source in sources
    }
    return replace(listening, heard=heard)


@lru_cache(maxsize=4096)
def is_heard(authority: Authority, source: str, day: int, content: Content) -> bool:
    """Whether the source's last sign of life is within the policy's limit; education counts school days."""
    sign = authority.sources.get(source)
    if sign is None:
        return False
    last, limit = local_day_of(sign), content.policy.heard_within_days.get(source, 7)
    return days_between(source, last, day, content.school) <= limit


def days_between(source: str, last: int, day: int, school: SchoolCalendar) -> int:
    """Days that a source has been silent: school days for education, days for the others."""
    if source != "education" or not school.first_day <= last <= day <= school.last_day:
        return day - last
    return sum(school.is_school_day(d) for d in range(last + 1, day + 1))


def missing_days(authority: Authority, sources: Collection[str], day: int, days: int) -> list[int]:
    """Days of the window (`day - days`, `day`] on which not every one of the sources was heard."""
    missing, found = ~_heard(authority, sources, day) & (1 << days) - 1, []
    while missing:
        ago = missing.bit_length() - 1
        found.append(day - ago)
        missing ^= 1 << ago
    return found


def _heard(authority: Authority, sources: Collection[str], day: int) -> int:
    """Days on which every one of the sources was heard, as bits: bit n is day - n."""
    return reduce(and_, (_bits(authority, source, day) for source in sources), -1)


def _bits(authority: Authority, source: str, day: int) -> int:
    held_day, bits = authority.heard.get(source, (day, 0))
    return bits << (day - held_day) if day >= held_day else bits >> (held_day - day)


def coverage(authority: Authority, sources: Collection[str], day: int, days: int) -> float:
    """Share of the window's days on which every one of the sources was heard, 0-1."""
    return (_heard(authority, sources, day) & (1 << days) - 1).bit_count() / days


def silent(authority: Authority, sources: Collection[str], day: int, content: Content) -> list[str]:
    """Those of the sources that are silent on `day`, in order of name."""
    return sorted(source for source in sources if not is_heard(authority, source, day, content))
