"""The forty kinds of event of the workload, as data: what is sent, how often, and what a peer scores it with.

Nothing but data: the peers' environment, which has nothing of EHPS, reads it too. Points and half-lives are those of
the starter release, or half a point for kinds that carry none there, so that every kind is one of forty features.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Kind(NamedTuple):
    """One kind of event.

    Args:
        type: its CloudEvents type, without the version.
        data: its data; the first value tells kinds of one type apart.
        share: how often, relative to the others.
        points, half_life: what a peer adds for it, and the days after which half is left.
    """

    type: str
    data: dict[str, Any]
    share: float
    points: float = 0.5
    half_life: float = 90


DATE = "<date>"
"""Stands for the day on which an event happened."""

LINE = 25.0
"""A peer alerts when a score crosses this line upwards: a little over one event in a hundred."""

KINDS = (
    Kind("education.attendance", {"am": "O", "pm": "O", "date": DATE}, 14),
    Kind("education.attendance", {"am": "I", "pm": "I", "date": DATE}, 10),
    Kind("education.attendance", {"am": "/", "pm": "O", "date": DATE}, 6),
    Kind("education.enrolment", {"status": "on_roll", "school": "urn-100417"}, 1),
    Kind("education.enrolment", {"status": "off_roll", "school": "urn-100417"}, 0.3),
    Kind("education.suspension", {"reasons": ["DB"], "days": 1.5}, 0.33, 4, 60),
    Kind("education.missing_education", {"status": "missing"}, 0.06, 9, 90),
    Kind("education.missing_education", {"status": "found"}, 0.1),
    Kind("health.contact", {"child_seen": True}, 9),
    Kind("health.contact", {"child_seen": False}, 5),
    Kind("health.emergency", {"reason": "injury"}, 1.38, 4, 60),
    Kind("health.emergency", {"reason": "illness"}, 4),
    Kind("health.was_not_brought", {"service": "audiology"}, 1.93, 3, 60),
    Kind("health.visitor_review", {"outcome": "completed", "review": "12_month"}, 3),
    Kind("health.visitor_review", {"outcome": "missed", "review": "2_year"}, 0.55, 4, 90),
    Kind("health.mental_health", {"who": "child", "kind": "referral"}, 0.39, 7, 120),
    Kind("health.mental_health", {"who": "parent", "kind": "crisis"}, 0.22, 8, 180),
    Kind("health.substance", {"who": "parent"}, 0.17, 9, 180),
    Kind("health.parental_illness", {}, 0.5),
    Kind("housing.arrears", {"weeks": 6}, 1.93, 3, 90),
    Kind("housing.notice", {"kind": "section_21"}, 0.17, 6, 90),
    Kind("housing.homeless", {"duty": "prevention"}, 0.11, 8, 120),
    Kind("housing.move", {}, 2),
    Kind("benefits.sanction", {}, 1.1, 3, 60),
    Kind("benefits.arrears", {"kind": "council_tax"}, 1.93, 3, 90),
    Kind("youth-justice.outcome", {"kind": "community_resolution"}, 0.22, 7, 120),
    Kind("early-help.started", {"self_referred": False}, 0.4),
    Kind("early-help.ended", {"reason": "outcomes_met"}, 2),
    Kind("early-help.progress", {"goals_met": True}, 4),
    Kind("police.notification", {"grade": "green", "child_present": True}, 2.2, 4, 60),
    Kind("police.notification", {"grade": "amber", "child_present": True}, 0.5, 9, 90),
    Kind("police.notification", {"grade": "red", "child_present": True}, 0.06, 18, 120),
    Kind("police.encompass", {"child_present": True}, 0.17, 10, 120),
    Kind("police.missing", {"category": "M"}, 0.22, 9, 60),
    Kind("police.arrest", {"who": "parent"}, 0.17, 8, 90),
    Kind("police.protection", {}, 0.03, 30, 180),
    Kind("social-care.contact", {"source": "2A", "outcome": "no_further_action"}, 1.1, 4, 180),
    Kind("social-care.visit", {"child_seen": True}, 6),
    Kind("social-care.referral", {"source": "6", "need": "N1", "no_further_action": False}, 0.11, 7, 180),
    Kind("social-care.closure", {"reason": "RC8"}, 2),
)  # fmt: skip


def label(event_type: str, data: dict[str, Any]) -> str:
    """What tells a kind: its type and its data's first value, where that is text or a truth."""
    first = next(iter(data.values()), "")
    if isinstance(first, bool):
        first = str(first).lower()
    return f"{event_type}|{first if isinstance(first, str) else ''}"


FEATURES = {label(f"{kind.type}.v1", kind.data): number for number, kind in enumerate(KINDS)}
"""Label of an event -> its feature, 0-39."""
