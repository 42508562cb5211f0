"""Controls, heartbeats and coverage: what is in force in an authority, its time, and who has been heard."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ehps.calendar import SchoolCalendar, local_day_of
from ehps.errors import InvariantBroken
from ehps.library import Content, Library
from ehps.state import Authority

COVERAGE_DAYS = 730
"""Days for which one bit a source is kept."""
CONTROLS_SEEN_MAX = 64
"""Ids of controls remembered, to tell a writer's retry from a new control."""


def take_control(authority: Authority, control: dict[str, Any], effective: int) -> bool:
    """Note a control; it takes effect at log time `effective`. False: it was taken before."""
    if control["id"] in authority.seen:
        return False
    authority.seen = [*authority.seen, control["id"]][-CONTROLS_SEEN_MAX:]
    authority.waiting = sorted(
        [*authority.waiting, {**control, "effective_s": effective}], key=lambda c: c["effective_s"]
    )
    return True


def advance_time(authority: Authority, moment: int) -> bool:
    """Move log time forward and put due controls in force. False: the clock did not move."""
    if moment <= authority.time:
        return False
    authority.time = moment
    if authority.started is None:
        authority.started = local_day_of(moment)
    while authority.waiting and authority.waiting[0]["effective_s"] <= moment:
        authority.control = authority.waiting.pop(0)
    return True


def in_force(authority: Authority, library: Library) -> Content:
    """The content in force.

    Raises:
        InvariantBroken: no control is in force; nothing may be scored.
        ContentMissing: this process lacks what the control names.
    """
    control = authority.control
    if control is None:
        raise InvariantBroken(
            "no control is in force in an authority that has records: write its first control"
        )
    return library.resolve(
        control["kernel"], control["release"], control["rules"], control["policy"]
    )


def hear(authority: Authority, signs: dict[str, int], content: Content) -> None:
    """Take in the sources' last signs of life and set today's coverage bit for each source heard."""
    day = local_day_of(authority.time)
    for source, sign in signs.items():
        authority.sources[source] = max(sign, authority.sources.get(source, 0))
    for source in authority.sources:
        held_day, bits = authority.heard.get(source, (day, "0"))
        mask = int(bits, 16) << (day - held_day) & (1 << COVERAGE_DAYS) - 1
        mask |= int(is_heard(authority, source, day, content))
        authority.heard[source] = (day, f"{mask:x}")


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
    masks = [_bits(authority, source, day) for source in sources]
    return [
        day - ago for ago in range(days - 1, -1, -1) if not all(mask >> ago & 1 for mask in masks)
    ]


def _bits(authority: Authority, source: str, day: int) -> int:
    held_day, bits = authority.heard.get(source, (day, "0"))
    mask = int(bits, 16)
    return mask << (day - held_day) if day >= held_day else mask >> (held_day - day)


def coverage(authority: Authority, sources: Collection[str], day: int, days: int) -> float:
    """Share of the window's days on which every one of the sources was heard, 0-1."""
    heard = (1 << days) - 1
    for source in sources:
        heard &= _bits(authority, source, day)
    return heard.bit_count() / days


def silent(authority: Authority, sources: Collection[str], day: int, content: Content) -> list[str]:
    """Those of the sources that are silent on `day`, in order of name."""
    return sorted(source for source in sources if not is_heard(authority, source, day, content))
