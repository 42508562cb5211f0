"""Every kind of fact, as data: the one place that says what an event contributes.

To add a kind: its event model in `schemas/events`, one `Kind` here, its points in the release. A kind's `code` is
stored in every state for two years, so codes are never reused or renumbered. Headings SF1-SF10 are the outcomes of
the Supporting Families framework (October 2022).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache, cached_property
from typing import Any, Literal

from schemas.codes import ABSENT_CODES


class Horizon(IntEnum):
    """How long a fact counts, how long it is kept, and which bound it shares."""

    EVENTS = 0
    ATTENDANCE = 1
    SPELLS = 2


COUNTED_DAYS = (730, 182, 730)
"""Days after which a fact of each horizon class no longer counts."""

KEPT_DAYS = (730, 182, 1 << 30)
"""Days after which it is forgotten. Starts and ends of spells are kept: whether a spell is open is known
from them however long ago it began, and taking a later one back must bring the earlier one to light."""

FACTS_MAX = 512
"""Newest facts a family keeps of each horizon class: 32 bytes each, so at most 32 KiB a family."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of fact.

    Args:
        code: 1-255, stable for ever.
        name: what releases, rules and explanations call it.
        event: the event type that tells it.
        where: data field -> the values that make it this kind; empty matches every event of the type.
        label: plain words for an alert.
        heading: Supporting Families heading 1-10, or None.
        rank: of the facts that share an incident only the greatest rank counts.
        slot: facts of one event that stand side by side have different slots; kinds that exclude each other share one.
        daily: one fact per person and day: the key is made from both instead of the event's id.
        spell, edge: the fact starts or ends a spell (early help, child in need, plan, looked after, on roll).
        value: name of the function that fills the fact's value byte.
    """

    code: int
    name: str
    event: str
    label: str
    heading: int | None = None
    rank: int = 0
    where: Mapping[str, frozenset[str]] = field(default_factory=dict)
    slot: int = 0
    daily: bool = False
    tags: frozenset[str] = frozenset()
    spell: str | None = None
    edge: Literal["start", "end"] | None = None
    value: str | None = None

    @cached_property
    def source(self) -> str:
        """The agency kind that tells it: the first segment of its event type."""
        return self.event.split(".", 1)[0]


def absent_sessions(data: Mapping[str, Any]) -> int:
    """Bits of the sessions missed that day: 1 morning, 2 afternoon (School attendance codes, August 2024)."""
    return (data["am"] in ABSENT_CODES) | (data["pm"] in ABSENT_CODES) << 1


def referring_agency(data: Mapping[str, Any]) -> int:
    """Bit of the agency group behind a contact, from the first character of the CIN referral source."""
    return 1 << min(int(str(data["source"])[0]) - 1, 7)


VALUES = {"absent_sessions": absent_sessions, "referring_agency": referring_agency}


def _when(**fields: str) -> dict[str, frozenset[str]]:
    return {name: frozenset(values.split()) for name, values in fields.items()}


def _tags(names: str) -> frozenset[str]:
    return frozenset(names.split())


_PARENT_FACTORS = {
    "domestic_abuse": "3A 3B 3C",
    "parental_mental_health": "4B",
    "substance": "1B 2B",
}

# fmt: off
KINDS: tuple[Kind, ...] = (
    Kind(code=1, name="police.notification.green", event="police.notification.v1", where=_when(grade="green"),
         label="Police notification graded green", heading=6, rank=30, tags=_tags("harm police_green")),
    Kind(code=2, name="police.notification.amber", event="police.notification.v1", where=_when(grade="amber"),
         label="Police notification graded amber", heading=6, rank=50, tags=_tags("harm amber_grade")),
    Kind(code=3, name="police.notification.red", event="police.notification.v1", where=_when(grade="red"),
         label="Police notification graded red", heading=6, rank=80, tags=_tags("harm amber_grade")),
    Kind(code=4, name="police.encompass", event="police.encompass.v1", label="Domestic abuse incident (Operation Encompass)",
         heading=8, rank=60, tags=_tags("harm domestic_abuse amber_grade")),
    Kind(code=5, name="police.marac", event="police.marac.v1", where=_when(risk="high"),
         label="Domestic abuse assessed as high risk (MARAC)", heading=8, rank=90,
         tags=_tags("harm domestic_abuse amber_grade")),
    Kind(code=6, name="police.marac.standard", event="police.marac.v1", where=_when(risk="standard medium"),
         label="Domestic abuse assessed below high risk", heading=8, rank=55, tags=_tags("harm domestic_abuse")),
    Kind(code=7, name="police.missing", event="police.missing.v1", label="Missing episode", heading=6, rank=55,
         tags=_tags("harm missing amber_grade")),
    Kind(code=8, name="police.exploitation", event="police.exploitation.v1",
         label="Exploitation concern or NRM referral", heading=6, rank=95, tags=_tags("harm exploitation amber_grade")),
    Kind(code=9, name="police.protection", event="police.protection.v1",
         label="Taken into police protection (Children Act 1989 s46)", heading=6, rank=100, tags=_tags("harm amber_grade")),
    Kind(code=10, name="police.arrest.parent", event="police.arrest.v1", where=_when(who="parent"),
         label="Parent arrested", heading=7, rank=40),
    Kind(code=11, name="police.arrest.child", event="police.arrest.v1", where=_when(who="child"),
         label="Child arrested", heading=7, rank=40, tags=_tags("youth_justice")),
    Kind(code=15, name="education.attendance", event="education.attendance.v1", label="School sessions missed", heading=1,
         daily=True, value="absent_sessions"),
    Kind(code=16, name="education.on_roll", event="education.enrolment.v1", where=_when(status="on_roll"),
         label="On the roll of a school", spell="on_roll", edge="start"),
    Kind(code=17, name="education.off_roll", event="education.enrolment.v1", where=_when(status="off_roll"),
         label="Taken off the roll of a school", spell="on_roll", edge="end", tags=_tags("moved")),
    Kind(code=18, name="education.suspension", event="education.suspension.v1", label="Suspended from school",
         heading=1, rank=35, tags=_tags("suspension")),
    Kind(code=19, name="education.exclusion", event="education.exclusion.v1", label="Permanently excluded from school",
         heading=1, rank=70, tags=_tags("suspension")),
    Kind(code=20, name="education.missing", event="education.missing_education.v1", where=_when(status="missing"),
         label="Child missing education", heading=1, rank=55, spell="out_of_school", edge="start"),
    Kind(code=21, name="education.found", event="education.missing_education.v1", where=_when(status="found"),
         label="Back in education", spell="out_of_school", edge="end"),
    Kind(code=22, name="education.home", event="education.home_education.v1", where=_when(status="started"),
         label="Elective home education", spell="home_educated", edge="start"),
    Kind(code=23, name="education.home_ended", event="education.home_education.v1", where=_when(status="ended"),
         label="Elective home education ended", spell="home_educated", edge="end"),
    Kind(code=24, name="education.young_carer", event="education.young_carer.v1", label="Young carer",
         heading=5, tags=_tags("young_carer")),
    Kind(code=30, name="health.emergency.injury", event="health.emergency.v1", where=_when(reason="injury"),
         label="Emergency attendance with an injury", heading=3, rank=35, tags=_tags("harm emergency child_seen")),
    Kind(code=31, name="health.emergency.other", event="health.emergency.v1",
         where=_when(reason="illness mental_health other"), label="Emergency attendance", rank=20,
         tags=_tags("emergency child_seen")),
    Kind(code=32, name="health.cpis_access", event="health.cpis_access.v1",
         label="Child protection flag looked up in unscheduled care (CP-IS)", heading=3, rank=30, tags=_tags("emergency")),
    Kind(code=33, name="health.was_not_brought", event="health.was_not_brought.v1", label="Was not brought to a health appointment",
         heading=3, rank=25),
    Kind(code=34, name="health.review_missed", event="health.visitor_review.v1", where=_when(outcome="missed declined"),
         label="Health-visitor review missed", heading=2, rank=25, tags=_tags("review_missed")),
    Kind(code=35, name="health.review_completed", event="health.visitor_review.v1", where=_when(outcome="completed"),
         label="Health-visitor review completed", tags=_tags("child_seen protective")),
    Kind(code=36, name="health.parent_crisis", event="health.mental_health.v1",
         where=_when(who="parent", kind="crisis"), label="Parent in a mental-health crisis", heading=3, rank=45,
         tags=_tags("parental_mental_health parental_illness amber_grade")),
    Kind(code=37, name="health.parent_mental_health", event="health.mental_health.v1",
         where=_when(who="parent", kind="referral self_harm"), label="Parent referred to mental-health services", rank=25,
         tags=_tags("parental_mental_health parental_illness")),
    Kind(code=38, name="health.child_mental_health", event="health.mental_health.v1", where=_when(who="child"),
         label="Child self-harm or referral to CAMHS", heading=3, rank=45, tags=_tags("self_harm")),
    Kind(code=39, name="health.parent_substance", event="health.substance.v1", where=_when(who="parent"),
         label="Parent referred for substance misuse", heading=4, rank=45, tags=_tags("substance amber_grade")),
    Kind(code=40, name="health.child_substance", event="health.substance.v1", where=_when(who="child"),
         label="Child referred for substance misuse", heading=4, rank=40),
    Kind(code=41, name="health.parental_illness", event="health.parental_illness.v1", label="Parent seriously ill",
         rank=20, tags=_tags("parental_illness")),
    Kind(code=42, name="health.child_seen", event="health.contact.v1", where=_when(child_seen="true"),
         label="Child seen by a health professional", tags=_tags("child_seen protective")),
    Kind(code=43, name="health.contact", event="health.contact.v1", where=_when(child_seen="false"),
         label="Health contact without the child"),
    Kind(code=50, name="housing.arrears", event="housing.arrears.v1", label="Rent arrears", heading=10, rank=15,
         tags=_tags("money")),
    Kind(code=51, name="housing.notice", event="housing.notice.v1", label="Eviction notice", heading=9, rank=30,
         tags=_tags("home_at_risk")),
    Kind(code=52, name="housing.homeless", event="housing.homeless.v1", label="Homelessness duty accepted", heading=9, rank=40,
         tags=_tags("home_at_risk")),
    Kind(code=53, name="housing.temporary_move", event="housing.temporary_move.v1",
         label="Moved to or within temporary accommodation", heading=9, rank=40, tags=_tags("home_at_risk moved")),
    Kind(code=54, name="housing.move", event="housing.move.v1", label="Moved home", tags=_tags("moved")),
    Kind(code=55, name="benefits.sanction", event="benefits.sanction.v1", label="Benefit sanction", heading=10, rank=15,
         tags=_tags("money")),
    Kind(code=56, name="benefits.arrears", event="benefits.arrears.v1", label="Council-tax arrears", heading=10, rank=15,
         tags=_tags("money")),
    Kind(code=60, name="youth_justice.outcome", event="youth-justice.outcome.v1", label="Youth justice outcome or order",
         heading=7, rank=40, tags=_tags("youth_justice")),
    Kind(code=65, name="early_help.started", event="early-help.started.v1", label="Early help started",
         spell="early_help", edge="start"),
    Kind(code=66, name="early_help.ended_met", event="early-help.ended.v1",
         where=_when(reason="outcomes_met step_up moved"), label="Early help ended", spell="early_help", edge="end",
         tags=_tags("closed_to_early_help protective")),
    Kind(code=67, name="early_help.ended_unmet", event="early-help.ended.v1", where=_when(reason="unmet disengaged"),
         label="Early help ended with needs unmet", heading=5, spell="early_help", edge="end", rank=20,
         tags=_tags("closed_to_early_help")),
    Kind(code=68, name="early_help.goals_met", event="early-help.progress.v1", where=_when(goals_met="true"),
         label="Early-help goals met", tags=_tags("positive protective")),
    Kind(code=69, name="early_help.goals_not_met", event="early-help.progress.v1", where=_when(goals_met="false"),
         label="Early-help goals not yet met"),
    Kind(code=75, name="social_care.contact.nfa", event="social-care.contact.v1",
         where=_when(outcome="no_further_action information_and_advice"),
         label="Contact ended with no further action", heading=5, rank=20, value="referring_agency", tags=_tags("nfa_contact")),
    Kind(code=76, name="social_care.contact", event="social-care.contact.v1",
         where=_when(outcome="early_help_referral child_in_need_referral"), label="Contact taken forward", rank=10,
         value="referring_agency"),
    Kind(code=77, name="social_care.referral", event="social-care.referral.v1", where=_when(no_further_action="false"),
         label="Referral to children's social care", heading=5, rank=40, spell="child_in_need", edge="start"),
    Kind(code=78, name="social_care.referral.nfa", event="social-care.referral.v1", where=_when(no_further_action="true"),
         label="Referral ended with no further action", heading=5, rank=20, value="referring_agency",
         tags=_tags("nfa_contact")),
    Kind(code=79, name="social_care.assessment.domestic_abuse", event="social-care.assessment.v1", slot=0,
         where=_when(factors=_PARENT_FACTORS["domestic_abuse"]), label="Assessment found domestic abuse",
         tags=_tags("domestic_abuse")),
    Kind(code=80, name="social_care.assessment.parental_mental_health", event="social-care.assessment.v1", slot=1,
         where=_when(factors=_PARENT_FACTORS["parental_mental_health"]), label="Assessment found parental mental ill-health",
         tags=_tags("parental_mental_health parental_illness")),
    Kind(code=81, name="social_care.assessment.substance", event="social-care.assessment.v1", slot=2,
         where=_when(factors=_PARENT_FACTORS["substance"]), label="Assessment found parental alcohol or drug misuse",
         tags=_tags("substance")),
    Kind(code=82, name="social_care.assessment.exploitation", event="social-care.assessment.v1", slot=3,
         where=_when(factors="11A 12A 13A 24A"), label="Assessment found exploitation, trafficking or gangs",
         tags=_tags("exploitation")),
    Kind(code=83, name="social_care.assessment.young_carer", event="social-care.assessment.v1", slot=4,
         where=_when(factors="7A"), label="Assessment found a young carer", tags=_tags("young_carer")),
    Kind(code=84, name="social_care.assessment", event="social-care.assessment.v1", slot=5,
         label="Social-work assessment completed", tags=_tags("child_seen")),
    Kind(code=85, name="social_care.section47", event="social-care.section47.v1", label="Section 47 enquiry started",
         tags=_tags("statutory")),
    Kind(code=86, name="social_care.conference", event="social-care.conference.v1",
         label="Initial child protection conference", tags=_tags("statutory")),
    Kind(code=87, name="social_care.plan.child_in_need", event="social-care.plan_started.v1",
         where=_when(plan="child_in_need"), label="Child in need plan started", spell="child_in_need", edge="start"),
    Kind(code=88, name="social_care.plan.child_protection", event="social-care.plan_started.v1",
         where=_when(plan="child_protection"), label="Child protection plan started", spell="child_protection", edge="start",
         tags=_tags("statutory")),
    Kind(code=89, name="social_care.plan_ended.child_in_need", event="social-care.plan_ended.v1",
         where=_when(plan="child_in_need"), label="Child in need plan ended", spell="child_in_need", edge="end"),
    Kind(code=90, name="social_care.plan_ended.child_protection", event="social-care.plan_ended.v1",
         where=_when(plan="child_protection"), label="Child protection plan ended", spell="child_protection", edge="end",
         tags=_tags("plan_ended")),
    Kind(code=91, name="social_care.looked_after", event="social-care.looked_after.v1", where=_when(status="started"),
         label="Started to be looked after", spell="looked_after", edge="start", tags=_tags("statutory")),
    Kind(code=92, name="social_care.looked_after_ended", event="social-care.looked_after.v1", where=_when(status="ended"),
         label="Ceased to be looked after", spell="looked_after", edge="end"),
    Kind(code=93, name="social_care.closed_to_early_help", event="social-care.closure.v1", where=_when(reason="RC9"),
         label="Closed after assessment, referred to early help", spell="child_in_need", edge="end",
         tags=_tags("closed_to_early_help")),
    Kind(code=94, name="social_care.closed", event="social-care.closure.v1",
         where=_when(reason="RC1 RC2 RC3 RC4 RC5 RC6 RC7 RC8"), label="Closed to children's social care",
         spell="child_in_need", edge="end"),
    Kind(code=95, name="social_care.disability", event="social-care.disability.v1", label="Child's disability recorded"),
    Kind(code=96, name="social_care.child_seen", event="social-care.visit.v1", where=_when(child_seen="true"),
         label="Child seen by a social worker", tags=_tags("child_seen protective")),
    Kind(code=97, name="social_care.visit", event="social-care.visit.v1", where=_when(child_seen="false"),
         label="Visit without seeing the child"),
)
# fmt: on

CONDITIONS = {
    250: ("condition.absence_rise", "Absence up by ten points on the child's own level", 1),
    251: ("condition.severe_absence", "Missing half of school or more", 1),
}
"""Conditions computed from attendance at the moment: code -> (name, label, heading). They carry points while they hold."""

HEADINGS_CODE = 255
"""The contribution for several active headings; it belongs to no kind of event."""

TIERS = ("none", "early_help", "child_in_need", "child_protection", "looked_after")
"""The statutory ladder, lowest first; each name but the first is also a spell."""

BY_CODE = {kind.code: kind for kind in KINDS}
_SPELL_SLOTS = {(kind.event, kind.slot) for kind in KINDS if kind.spell}
BY_NAME = {kind.name: kind for kind in KINDS}


def horizon_of(kind: Kind) -> Horizon:
    """Its class. Kinds that exclude each other share one, so that versions of a fact are forgotten together."""
    if (kind.event, kind.slot) in _SPELL_SLOTS:
        return Horizon.SPELLS
    return Horizon.ATTENDANCE if kind.daily else Horizon.EVENTS


@cache
def slots_of(event_type: str) -> tuple[tuple[Kind, ...], ...]:
    """The kinds an event type can tell, grouped by slot; empty for a type that tells no fact."""
    slots: dict[int, list[Kind]] = {}
    for kind in KINDS:
        if kind.event == event_type:
            slots.setdefault(kind.slot, []).append(kind)
    return tuple(tuple(slots[slot]) for slot in sorted(slots))


def matches(kind: Kind, data: Mapping[str, Any]) -> bool:
    """Whether an event's data makes it this kind: every named field holds, or lists, one of the named values."""
    for name, values in kind.where.items():
        held = data.get(name)
        texts = map(_text, held) if isinstance(held, (list, tuple)) else (_text(held),)
        if values.isdisjoint(texts):
            return False
    return True


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def catalogue_hash() -> str:
    """SHA-256 over every entry: a release names the catalogue that it was made for."""
    text = "\n".join(
        f"{k.code}|{k.name}|{k.event}|{sorted((n, sorted(v)) for n, v in k.where.items())}|{k.heading}|{k.rank}|{k.slot}"
        f"|{k.daily}|{sorted(k.tags)}|{k.spell}|{k.edge}|{k.value}"
        for k in KINDS
    )
    return hashlib.sha256(text.encode()).hexdigest()
