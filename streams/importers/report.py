"""What an import saw, took and refused, module by module, without any identifier or date."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

MODULES: Final = {
    "header": "Header",
    "child": "Children",
    "referral": "Referrals",
    "assessment": "Assessments",
    "factors": "Assessment factors",
    "cin_plan": "Child in need plans",
    "section47": "Section 47 enquiries",
    "conference": "Initial conferences",
    "child_protection_plan": "Child protection plans",
    "closure": "Closures",
    "disability": "Disabilities",
    "pre_proceedings": "Pre-proceedings",
}
"""Modules in the order of the report, with their names in plain English."""

PLACES_PER_FINDING = 20
"""Places listed for one kind of finding; further ones are counted only, to bound the report."""

MAX_FINDINGS = 500
"""Kinds of finding kept apart; a hostile file could otherwise make up new ones without end."""


FindingKey = tuple[str, str, str, str]
"""Module, code, element and message."""


class Severity(StrEnum):
    """REJECTED: not taken. WARNING: taken, but look at it."""

    REJECTED = "rejected"
    WARNING = "warning"


@dataclass(frozen=True)
class Place:
    """Where in the file: line (from 1) and the child's number in file order (0: not in a child)."""

    line: int
    child: int


@dataclass
class Finding:
    """One kind of trouble in one element, with how often and where it occurred."""

    module: str
    code: str
    element: str
    severity: Severity
    message: str
    count: int = 0
    places: list[Place] = field(default_factory=list)

    def key(self) -> FindingKey:
        """Returns what makes two findings one kind."""
        return (self.module, self.code, self.element, self.message)

    def where(self) -> str:
        """Returns the places as a phrase, e.g. `line 12 (child 1), line 40 (child 3)`."""
        shown = [
            f"line {place.line}" + (f" (child {place.child})" if place.child else "")
            for place in self.places[:3]
        ]
        more = self.count - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")


@dataclass
class Tally:
    """Counts of one module: seen = taken + rejected + unused, in dated facts or codes."""

    seen: int = 0
    taken: int = 0
    rejected: int = 0
    unused: int = 0


@dataclass
class ImportReport:
    """The account of one imported file. Counters are filled while the file is read."""

    file: str
    la: str = ""
    lea: str = ""
    authority: str = ""
    year: str = ""
    reference_date: str = ""
    made_on: str = ""
    horizon: str = ""
    links: int = 0
    events: Counter[str] = field(default_factory=Counter)
    first: str = ""
    last: str = ""
    seconds: float = 0.0
    tallies: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in MODULES})
    findings: dict[FindingKey, Finding] = field(default_factory=dict)
    unknown_elements: Counter[str] = field(default_factory=Counter)

    def saw(self, module: str, count: int = 1) -> None:
        """Counts facts met in a module."""
        self.tallies[module].seen += count

    def took(self, module: str, count: int = 1) -> None:
        """Counts facts taken from a module."""
        self.tallies[module].taken += count

    def left(self, module: str, count: int = 1) -> None:
        """Counts facts that are in order but that the import has no use for (yet)."""
        self.tallies[module].unused += count

    def reject(self, module: str, code: str, element: str, place: Place, message: str) -> None:
        """Counts one fact that was not taken, and says why."""
        self.tallies[module].rejected += 1
        self._add(Finding(module, code, element, Severity.REJECTED, message), place)

    def warn(self, module: str, code: str, element: str, place: Place, message: str) -> None:
        """Records something to look at that did not stop anything from being taken."""
        self._add(Finding(module, code, element, Severity.WARNING, message), place)

    def _add(self, new: Finding, place: Place) -> None:
        if new.key() not in self.findings and len(self.findings) >= MAX_FINDINGS:
            rest = "further kinds of finding, not listed"
            new = Finding(new.module, "more", "", new.severity, rest)
        finding = self.findings.setdefault(new.key(), new)
        finding.count += 1
        if len(finding.places) < PLACES_PER_FINDING:
            finding.places.append(place)

    @property
    def rejected(self) -> int:
        """How many facts were refused, over all modules."""
        return sum(tally.rejected for tally in self.tallies.values())

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as JSON-able values."""
        return {
            "file": self.file,
            "la": self.la,
            "lea": self.lea,
            "authority": self.authority,
            "year": self.year,
            "reference_date": self.reference_date,
            "made_on": self.made_on,
            "horizon": self.horizon,
            "links": self.links,
            "events": dict(sorted(self.events.items())),
            "first": self.first,
            "last": self.last,
            "seconds": round(self.seconds, 3),
            "modules": {name: vars(tally).copy() for name, tally in self.tallies.items()},
            "findings": [self._finding_dict(finding) for finding in self._in_order()],
            "unknown_elements": dict(sorted(self.unknown_elements.items())),
        }

    def _in_order(self) -> list[Finding]:
        order = {name: number for number, name in enumerate(MODULES)}
        return sorted(self.findings.values(), key=lambda found: (order[found.module], -found.count))

    @staticmethod
    def _finding_dict(finding: Finding) -> dict[str, Any]:
        return {
            "module": finding.module,
            "code": finding.code,
            "element": finding.element,
            "severity": finding.severity.value,
            "message": finding.message,
            "count": finding.count,
            "places": [vars(place).copy() for place in finding.places],
        }

    def lines(self) -> list[str]:
        """Returns the report as lines of plain English for a terminal."""
        return [*self._summary_lines(), "", *self._table_lines(), *self._finding_lines()]

    def _summary_lines(self) -> list[str]:
        children = self.tallies["child"]
        authority = f"{self.authority} ({self.la})" if self.authority else self.la
        lines = [
            f"{self.file}: Children in Need census {self.year or 'of unknown year'}, {authority}",
            f"{children.seen} children seen, {children.taken} taken; "
            f"events: {sum(self.events.values())}, links: {self.links}; "
            f"{self.rejected} facts not taken.",
        ]
        if self.first:
            lines.append(f"Events run from {self.first} to {self.last}.")
        if self.seconds > 0:
            speed = children.seen / self.seconds
            lines.append(f"Read in {self.seconds:.1f} s ({speed:,.0f} children a second).")
        return lines

    def _table_lines(self) -> list[str]:
        rows = [f"{'Module':<24}{'seen':>8}{'taken':>8}{'rejected':>10}{'not used':>10}"]
        rows += [
            f"{MODULES[name]:<24}{tally.seen:>8}{tally.taken:>8}"
            f"{tally.rejected:>10}{tally.unused:>10}"
            for name, tally in self.tallies.items()
        ]
        return rows

    def _finding_lines(self) -> list[str]:
        lines: list[str] = []
        for severity, title in (
            (Severity.REJECTED, "Not taken:"),
            (Severity.WARNING, "Worth a look:"),
        ):
            found = [item for item in self._in_order() if item.severity is severity]
            if found:
                lines += ["", title]
            lines += [
                f"  {item.count} x {item.element or MODULES[item.module]}: {item.message} "
                f"[{item.where()}]"
                for item in found
            ]
        if self.unknown_elements:
            names = ", ".join(sorted(self.unknown_elements))
            lines += ["", f"Elements this importer does not know and passed over: {names}."]
        return lines
