"""Turns one child of a census into dated facts, refusing what is impossible and saying why.

A fact is refused alone: the rest of the child is taken. Codes that have an official "unknown"
(referral source 10, primary need N0) take it when the file's own code is missing or not legal,
because the referral itself did happen; every such case is reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, TypeVar

from schemas.codes import (
    AssessmentFactor,
    CategoryOfAbuse,
    ClosureReason,
    Disability,
    PrimaryNeed,
    ReferralSource,
)
from streams.importers.census_elements import CONTAINERS, KNOWN
from streams.importers.census_identity import Identity, IdentityReader
from streams.importers.census_values import Window, WrongValue, read_code, read_date, read_yes_no
from streams.importers.census_xml import ChildNode, Node
from streams.importers.pseudonym import normalise
from streams.importers.report import ImportReport, Place

T = TypeVar("T")

# Minutes after nine, so that the steps of one day keep the order in which they follow each other.
REFERRAL, SECTION47, CONFERENCE, ASSESSMENT, PLAN_ENDED, PLAN_STARTED = range(6)
PLAN_ENDED_SAME_DAY, CLOSURE, DISABILITY = range(6, 9)

_PLAN_ELEMENTS: Final = {
    "cin_plan": ("CINPlanStartDate", "CINPlanEndDate"),
    "child_protection_plan": ("CPPstartDate", "CPPendDate"),
}
_MAX_UNKNOWN = 50
_ELEMENT_NAME = re.compile(r"[A-Za-z_][\w.-]{0,39}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happened on one day.

    Attributes:
        type: event type, e.g. `social-care.referral.v1`.
        day: the day on which it happened and became known to the authority.
        minute: place in the order of that day's steps.
        data: the event's data.
        dates: the dates that tell this fact from others of its type, as in the file.
        line: line of the file, for the report.
    """

    type: str
    day: date
    minute: int
    data: dict[str, Any]
    dates: tuple[str, ...]
    line: int


@dataclass(slots=True)
class ChildFacts:
    """One child: who, and what happened."""

    identity: Identity
    facts: list[Fact] = field(default_factory=list)


class ChildReader:
    """Reads the children of one file, writing what it refuses into the file's report."""

    def __init__(self, report: ImportReport, horizon: date) -> None:
        self._report = report
        self._identities = IdentityReader(report, horizon)
        self._child = 0
        self._window = Window(horizon)
        self._seen: set[str] = set()

    def read(self, child: ChildNode) -> ChildFacts | None:
        """Returns the facts of one child, or None when the child cannot be told from others."""
        self._child = child.number
        self._report.saw("child")
        if child.cut:
            message = "too many elements for one child"
            self._report.reject("child", "too_large", "Child", self._at(child.node), message)
            return None
        self._look_over(child.node)
        identity = self._identities.read(child)
        if identity is None or self._is_repeated(child.node, identity):
            return None
        self._window = identity.window
        read = ChildFacts(identity)
        for details in child.node.all("cindetails"):
            if details.children:
                read.facts += self._episode(details)
        read.facts += self._disability(child.node, read.facts)
        return read

    def _is_repeated(self, node: Node, identity: Identity) -> bool:
        name = normalise(identity.la_child_id)
        if name not in self._seen:
            self._seen.add(name)
            return False
        message = "an LAchildID that was met before in this file; only its first child is taken"
        self._report.reject("child", "repeated", node.shown, self._at(node), message)
        return True

    def _at(self, node: Node) -> Place:
        return Place(node.line, self._child)

    def _look_over(self, child: Node) -> None:
        """Reports stray text, empty modules and elements of other years' schemas."""
        inside: set[int] = set()
        for node in child.walk():
            if id(node) in inside:
                continue
            if node.name == "preproceedingsandfgdm":
                inside.update(id(below) for below in node.walk())
            if node.name not in KNOWN:
                self._unknown(node)
            elif node.children and node.text:
                place = Place(node.text_line, self._child)
                message = "text between elements, passed over"
                self._report.warn("child", "stray_text", node.shown, place, message)
            elif node.name in CONTAINERS and not node.children and not node.text:
                message = "empty module"
                self._report.warn("child", "empty_module", node.shown, self._at(node), message)

    def _unknown(self, node: Node) -> None:
        names = self._report.unknown_elements
        if _ELEMENT_NAME.match(node.shown) and (node.shown in names or len(names) < _MAX_UNKNOWN):
            names[node.shown] += 1

    def _attempt(self, module: str, node: Node, read: Callable[[str], T]) -> T | None:
        """Returns what was read from an element's text, or counts a refusal and returns None."""
        try:
            return read(node.text)
        except WrongValue as wrong:
            self._report.reject(module, wrong.code, node.shown, self._at(node), wrong.message)
            return None

    def _start(self, module: str, node: Node) -> date | None:
        """Returns the possible date of a beginning; a refusal is counted."""
        return self._attempt(module, node, lambda text: self._window.check_start(read_date(text)))

    def _bare_date(self, parent: Node, name: str) -> date | None:
        """Returns a date used for comparison only, or None when there is none to be read."""
        try:
            return read_date(_named(parent, name).text)
        except WrongValue:
            return None

    def _code(
        self, module: str, parent: Node, name: str, legal: Iterable[str], unknown: str | None
    ) -> str | None:
        """Returns a legal code, or the given stand-in with a warning."""
        node = _named(parent, name)
        try:
            return read_code(node.text, legal)
        except WrongValue as wrong:
            stand_in = f"taken as {unknown}" if unknown else "taken without it"
            message = f"{wrong.message}; {stand_in}"
            self._report.warn(module, wrong.code, node.shown, self._at(node), message)
            return unknown

    def _episode(self, details: Node) -> list[Fact]:
        opened = self._bare_date(details, "CINreferralDate")
        start = opened.isoformat() if opened else ""
        facts = [
            *self._referral(details),
            *self._section47(details, start),
            *self._conferences(details, start),
            *self._assessments(details, start),
            *self._cin_plans(details, start),
            *self._protection_plans(details, start),
            *self._closure(details, start),
        ]
        self._pre_proceedings(details)
        self._check_order(details, facts, opened)
        return facts

    def _referral(self, details: Node) -> list[Fact]:
        self._report.saw("referral")
        day = self._start("referral", _named(details, "CINreferralDate"))
        if day is None:
            return []
        data = {
            "source": self._code("referral", details, "ReferralSource", ReferralSource, "10"),
            "need": self._code("referral", details, "PrimaryNeedCode", PrimaryNeed, "N0"),
            "no_further_action": self._no_further_action(details),
        }
        self._report.took("referral")
        dates = (day.isoformat(),)
        return [Fact("social-care.referral.v1", day, REFERRAL, data, dates, details.line)]

    def _no_further_action(self, details: Node) -> bool:
        node = _named(details, "ReferralNFA")
        try:
            return read_yes_no(node.text)
        except WrongValue as wrong:
            message = f"{wrong.message}; taken as false"
            self._report.warn("referral", wrong.code, node.shown, self._at(node), message)
            return False

    def _section47(self, details: Node, start: str) -> list[Fact]:
        facts = []
        for node in details.all("section47"):
            if not node.children:
                continue
            self._report.saw("section47")
            day = self._start("section47", _named(node, "S47ActualStartDate"))
            if day is not None:
                self._report.took("section47")
                dates = (start, day.isoformat())
                kind = "social-care.section47.v1"
                facts.append(Fact(kind, day, SECTION47, {}, dates, node.line))
        return facts

    def _conferences(self, details: Node, start: str) -> list[Fact]:
        """Returns one conference a day: the episode and its enquiry may both name the same one."""
        facts: dict[date, Fact] = {}
        holders = [details, *details.all("section47")]
        for node in (node for holder in holders for node in holder.all("dateofinitialcpc")):
            self._report.saw("conference")
            day = self._start("conference", node)
            if day is None:
                continue
            if day in facts:
                self._report.left("conference")
                continue
            self._report.took("conference")
            dates = (start, day.isoformat())
            kind = "social-care.conference.v1"
            facts[day] = Fact(kind, day, CONFERENCE, {}, dates, node.line)
        return list(facts.values())

    def _assessments(self, details: Node, start: str) -> list[Fact]:
        return [
            fact
            for node in details.all("assessments")
            if node.children
            for fact in self._assessment(node, start)
        ]

    def _assessment(self, node: Node, start: str) -> list[Fact]:
        """Returns a finished assessment, at its authorisation: only then are its facts known."""
        self._report.saw("assessment")
        codes = [
            leaf
            for leaf in node.leaves("assessmentfactors", "factorsidentifiedatassessment")
            if leaf.text or leaf.name == "assessmentfactors"
        ]
        self._report.saw("factors", len(codes))
        began = self._bare_date(node, "AssessmentActualStartDate")
        authorised = _named(node, "AssessmentAuthorisationDate")
        if not authorised.text:
            message = "not authorised yet; its facts count once it is"
            self._report.left("assessment")
            self._report.left("factors", len(codes))
            self._report.warn("assessment", "unfinished", node.shown, self._at(node), message)
            return []
        day = self._ended("assessment", authorised, began)
        if day is None:
            for leaf in codes:
                message = "its assessment was not taken"
                self._report.reject("factors", "no_parent", leaf.shown, self._at(leaf), message)
            return []
        self._report.took("assessment")
        data = {"factors": self._factors(codes)}
        dates = (start, began.isoformat() if began else "", day.isoformat())
        kind = "social-care.assessment.v1"
        return [Fact(kind, day, ASSESSMENT, data, dates, node.line)]

    def _factors(self, leaves: list[Node]) -> list[str]:
        factors: list[str] = []
        for leaf in leaves:
            code = self._attempt("factors", leaf, lambda text: read_code(text, AssessmentFactor))
            if code in factors:
                self._report.left("factors")
            elif code is not None:
                self._report.took("factors")
                factors.append(code)
        return factors

    def _ended(self, module: str, end: Node, began: date | None) -> date | None:
        """Returns a possible end date that is not before its start; a refusal is counted."""
        day = self._attempt(module, end, lambda text: self._window.check(read_date(text)))
        if day is not None and began is not None and day < began:
            message = "impossible date: the end is before the start"
            self._report.reject(module, "end_before_start", end.shown, self._at(end), message)
            return None
        return day

    def _cin_plans(self, details: Node, start: str) -> list[Fact]:
        return [
            fact
            for node in details.all("cinplandates")
            if node.children
            for fact in self._plan(node, start, "cin_plan", {"plan": "child_in_need"})
        ]

    def _protection_plans(self, details: Node, start: str) -> list[Fact]:
        facts: list[Fact] = []
        for node in details.all("childprotectionplans"):
            if not node.children:
                continue
            module = "child_protection_plan"
            data = {"plan": "child_protection"}
            category = self._code(module, node, "InitialCategoryOfAbuse", CategoryOfAbuse, None)
            if category is not None:
                data["category"] = category
                self._note_latest_category(node, category)
            facts += self._plan(node, start, module, data)
        return facts

    def _note_latest_category(self, node: Node, initial: str) -> None:
        latest = node.first("latestcategoryofabuse")
        if latest is not None and latest.text and latest.text.upper() != initial:
            message = "the category changed on a day that the census does not give; first one taken"
            place = self._at(latest)
            self._report.warn("child_protection_plan", "changed", latest.shown, place, message)

    def _plan(self, node: Node, start: str, module: str, data: dict[str, Any]) -> list[Fact]:
        """Returns the start and, when there is one, the end of a plan: two facts."""
        self._report.saw(module)
        opening, end = (_named(node, name) for name in _PLAN_ELEMENTS[module])
        began = self._start(module, opening)
        facts: list[Fact] = []
        if began is not None:
            self._report.took(module)
            dates = (start, data["plan"], began.isoformat())
            kind = "social-care.plan_started.v1"
            facts.append(Fact(kind, began, PLAN_STARTED, data, dates, node.line))
        if end.text:
            facts += self._plan_end(end, start, module, began, data["plan"])
        return facts

    def _plan_end(
        self, end: Node, start: str, module: str, began: date | None, plan: str
    ) -> list[Fact]:
        self._report.saw(module)
        if began is None:
            message = "its start was not taken"
            self._report.reject(module, "no_parent", end.shown, self._at(end), message)
            return []
        day = self._ended(module, end, began)
        if day is None:
            return []
        self._report.took(module)
        minute = PLAN_ENDED_SAME_DAY if day == began else PLAN_ENDED
        dates = (start, plan, began.isoformat(), day.isoformat())
        kind = "social-care.plan_ended.v1"
        return [Fact(kind, day, minute, {"plan": plan}, dates, end.line)]

    def _closure(self, details: Node, start: str) -> list[Fact]:
        closed = _named(details, "CINclosureDate")
        why = _named(details, "ReasonForClosure")
        if not closed.text and not why.text:
            return []
        self._report.saw("closure")
        day = self._ended("closure", closed, self._bare_date(details, "CINreferralDate"))
        if day is None:
            return []
        reason = self._attempt("closure", why, lambda text: read_code(text, ClosureReason))
        if reason is None:
            return []
        self._report.took("closure")
        dates, kind = (start, day.isoformat()), "social-care.closure.v1"
        return [Fact(kind, day, CLOSURE, {"reason": reason}, dates, closed.line)]

    def _pre_proceedings(self, details: Node) -> None:
        for node in details.all("preproceedingsandfgdm"):
            if node.children:
                self._report.saw("pre_proceedings")
                self._report.left("pre_proceedings")

    def _check_order(self, details: Node, facts: list[Fact], opened: date | None) -> None:
        """Warns about steps outside the episode: each date is possible, together they are odd."""
        closed = self._bare_date(details, "CINclosureDate")
        for fact in facts:
            place = Place(fact.line, self._child)
            name = fact.type.split(".")[1].replace("_", " ")
            if opened is not None and fact.day < opened:
                message = f"{name} before the referral of its episode"
                self._report.warn("referral", "before_referral", "CINdetails", place, message)
            if closed is not None and opened is not None and fact.day > closed >= opened:
                message = f"{name} after the closure of its episode"
                self._report.warn("closure", "after_closure", "CINdetails", place, message)

    def _disability(self, child: Node, facts: list[Fact]) -> list[Fact]:
        """Returns the child's disabilities, which the census states without a date.

        They are placed at the child's first authorised assessment in the file, where an authority
        has to establish them, or else at the first fact taken: never before anything was known.
        """
        leaves = child.leaves("disability")
        self._report.saw("disability", len(leaves))
        codes: list[str] = []
        for leaf in leaves:
            code = self._attempt("disability", leaf, lambda text: read_code(text, Disability))
            if code is None:
                continue
            if code == Disability.NONE or code in codes or not facts:
                self._report.left("disability")
            else:
                self._report.took("disability")
                codes.append(code)
        if not codes:
            return []
        assessed = [fact.day for fact in facts if fact.type == "social-care.assessment.v1"]
        day = min(assessed or [fact.day for fact in facts])
        kind = "social-care.disability.v1"
        dates = (day.isoformat(), *sorted(codes))
        return [Fact(kind, day, DISABILITY, {"codes": codes}, dates, leaves[0].line)]


def _named(parent: Node, name: str) -> Node:
    """Returns the element of this official name, or an empty one at its parent's line."""
    return parent.first(name.lower()) or Node(name.lower(), name, parent.line)
