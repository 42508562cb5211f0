"""Reads who a census child is: identifier, birth or expected birth, and what looks wrong there.

Name, UPN, ethnicity and sex never leave this module: the scorer has no use for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

from streams.importers.census_values import (
    MAX_AGE_YEARS,
    PREGNANCY_MONTHS,
    Window,
    WrongValue,
    months_before,
    read_code,
    read_date,
)
from streams.importers.census_xml import ChildNode, Node
from streams.importers.report import ImportReport, Place

UNKNOWN_UPN: Final = ("UN1", "UN2", "UN3", "UN4", "UN5", "UN6", "UN7")
GENDER: Final = ("0", "1", "2", "9")
SEX: Final = ("M", "F", "U")

_UPN = re.compile(r"[A-Za-z]\d{11}[A-Za-z0-9]\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Identity:
    """One child.

    Attributes:
        la_child_id: the authority's own identifier; only ever used to make a pseudonym.
        born: date of birth, if known and possible.
        expected: expected date of birth of an unborn child, if known and possible.
        window: the days on which something can have happened to this child.
    """

    la_child_id: str
    born: date | None
    expected: date | None
    window: Window


class IdentityReader:
    """Reads the ChildIdentifiers of each child of one file."""

    def __init__(self, report: ImportReport, horizon: date) -> None:
        self._report = report
        self._horizon = horizon
        self._child = 0

    def read(self, child: ChildNode) -> Identity | None:
        """Returns who the child is, or None (counted as rejected) without an identifier."""
        self._child = child.number
        identifiers = child.node.first("childidentifiers")
        named = identifiers.first("lachildid") if identifiers else None
        if identifiers is None or named is None or not named.text:
            message = "the child has no LAchildID, so it cannot be told from others"
            place = Place((identifiers or child.node).line, self._child)
            self._report.reject("child", "missing_id", "LAchildID", place, message)
            return None
        self._check_upn(identifiers)
        self._check_list(identifiers, "gendercurrent", GENDER)
        self._check_list(identifiers, "sex", SEX)
        born = self._birth(identifiers)
        expected = self._expected(identifiers)
        if born is not None and expected is not None:
            self._warn(identifiers, "both_births", "a birth date and an expected one; birth taken")
        start = born or expected
        conceived = months_before(start, PREGNANCY_MONTHS) if start else None
        window = Window(self._horizon, conceived, self._death(identifiers, born))
        return Identity(named.text, born, expected, window)

    def _warn(self, node: Node, code: str, message: str) -> None:
        self._report.warn("child", code, node.shown, Place(node.line, self._child), message)

    def _date(self, identifiers: Node, name: str) -> tuple[Node, date] | None:
        node = identifiers.first(name)
        if node is None or not node.text:
            return None
        try:
            return node, read_date(node.text)
        except WrongValue as wrong:
            self._warn(node, wrong.code, f"{wrong.message}; taken without it")
            return None

    def _birth(self, identifiers: Node) -> date | None:
        found = self._date(identifiers, "personbirthdate")
        if found is None:
            return None
        node, born = found
        if born > self._horizon:
            self._warn(node, "impossible_date", "born after the file was made; taken without it")
            return None
        return born if self._is_young(node, born) else None

    def _expected(self, identifiers: Node) -> date | None:
        found = self._date(identifiers, "expectedpersonbirthdate")
        if found is None:
            return None
        node, expected = found
        if expected > self._horizon and months_before(expected, PREGNANCY_MONTHS) > self._horizon:
            message = f"expected more than {PREGNANCY_MONTHS} months ahead; taken without it"
            self._warn(node, "impossible_date", message)
            return None
        return expected if self._is_young(node, expected) else None

    def _is_young(self, node: Node, day: date) -> bool:
        if self._horizon.year - day.year <= MAX_AGE_YEARS + 1:
            return True
        message = f"born more than {MAX_AGE_YEARS} years before the file; taken without it"
        self._warn(node, "impossible_date", message)
        return False

    def _death(self, identifiers: Node, born: date | None) -> date | None:
        found = self._date(identifiers, "persondeathdate")
        if found is None:
            return None
        node, died = found
        if born is not None and died < born:
            message = "impossible date: death before birth; taken without it"
            self._warn(node, "death_before_birth", message)
            return None
        if died > self._horizon:
            self._warn(node, "impossible_date", "death after the file was made; taken without it")
            return None
        return died

    def _check_upn(self, identifiers: Node) -> None:
        upn, unknown = identifiers.first("upn"), identifiers.first("upnunknown")
        if upn is not None and upn.text and unknown is not None and unknown.text:
            self._warn(unknown, "both_upn", "a UPN and a reason why there is none")
        if upn is not None and upn.text and not _UPN.match(upn.text):
            self._warn(upn, "wrong_upn", "not of the form of a UPN; not used in any case")
        self._check_list(identifiers, "upnunknown", UNKNOWN_UPN)

    def _check_list(self, identifiers: Node, name: str, legal: tuple[str, ...]) -> None:
        node = identifiers.first(name)
        if node is None or not node.text:
            return
        try:
            read_code(node.text, legal)
        except WrongValue as wrong:
            self._warn(node, wrong.code, f"{wrong.message}; not used in any case")
