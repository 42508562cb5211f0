"""Reads a census header: is it a census, of which authority, and up to which day can it speak."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from streams.importers.authorities import Authority, authority_of
from streams.importers.census_values import CHILDREN_ACT, LONDON, WrongValue, read_date
from streams.importers.census_xml import Node, NotACensus
from streams.importers.report import ImportReport, Place

_COLLECTION: Final = "CIN"
_CODE = re.compile(r"[A-Za-z0-9]{1,8}\Z", re.ASCII)
_LEA = re.compile(r"\d{3}\Z", re.ASCII)
_YEAR = re.compile(r"(19|20)\d{2}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What a header says.

    Attributes:
        lea: the authority's three-digit number, or empty.
        lea_line: its line in the file.
        authority: the authority of that number, if known.
        horizon: last day the file can speak of.
    """

    lea: str
    lea_line: int
    authority: Authority | None
    horizon: date


def read_header(node: Node | None, report: ImportReport, today: date) -> FileHeader:
    """Returns what the header says, warning in the report where its parts disagree.

    Args:
        node: the header element; None when the file has none.
        report: filled with the header's values.
        today: no event can be later, whatever the header says.

    Raises:
        NotACensus: if it is the header of another collection.
    """
    report.saw("header")
    if node is None:
        report.reject("header", "missing", "Header", Place(1, 0), "the file has no header")
        return FileHeader("", 1, None, today)
    _check_collection(node, report)
    reading = _HeaderReading(node, report)
    last_days = [today, *reading.last_days()]
    report.took("header")
    report.horizon = min(last_days).isoformat()
    lea = _leaf(node, "LEA")
    number = lea.text if _LEA.match(lea.text) else ""
    return FileHeader(number, lea.line, authority_of(number), min(last_days))


def _leaf(node: Node, name: str) -> Node:
    found = node.leaves(name.lower())
    return found[0] if found else Node(name.lower(), name, node.line)


def _check_collection(header: Node, report: ImportReport) -> None:
    collection = _leaf(header, "Collection")
    if not collection.text:
        place = Place(collection.line, 0)
        message = "the header does not say which collection it is of; read as a CIN census"
        report.warn("header", "missing", collection.shown, place, message)
    elif collection.text.upper() != _COLLECTION:
        met = f' ("{collection.text}")' if _CODE.match(collection.text) else ""
        msg = (
            f"This file is of another collection{met}, not of the Children in Need census (CIN): "
            f"see line {collection.line}."
        )
        raise NotACensus(msg)


class _HeaderReading:
    """The dates of one header, compared with each other."""

    def __init__(self, header: Node, report: ImportReport) -> None:
        self._header = header
        self._report = report

    def last_days(self) -> list[date]:
        """Returns the days after which the file cannot know anything: reference date, made on."""
        year = self._year()
        reference = self._day("ReferenceDate")
        made_on = self._made_on()
        if reference is not None:
            self._report.reference_date = reference.isoformat()
            self._compare(reference, year, made_on)
        elif year is not None:
            reference = date(year, 3, 31)
        if made_on is not None:
            self._report.made_on = made_on.isoformat()
        return [day for day in (reference, made_on) if day is not None]

    def _warn(self, name: str, code: str, message: str) -> None:
        node = _leaf(self._header, name)
        self._report.warn("header", code, node.shown, Place(node.line, 0), message)

    def _year(self) -> int | None:
        text = _leaf(self._header, "Year").text
        if not _YEAR.match(text):
            self._warn("Year", "wrong_year", "the year is missing or not a year")
            return None
        self._report.year = text
        return int(text)

    def _day(self, name: str) -> date | None:
        try:
            return self._plausible(read_date(_leaf(self._header, name).text))
        except WrongValue as wrong:
            self._warn(name, wrong.code, wrong.message)
            return None

    def _made_on(self) -> date | None:
        text = _leaf(self._header, "DateTime").text
        try:
            at = datetime.fromisoformat(text)
            return self._plausible((at.astimezone(LONDON) if at.tzinfo else at).date())
        except (ValueError, OverflowError):
            self._warn("DateTime", "wrong_date", "the file does not say when it was made")
            return None

    @staticmethod
    def _plausible(day: date) -> date:
        if day < CHILDREN_ACT:
            msg = "impossible date: before there was a census"
            raise WrongValue(msg, code="impossible_date")
        return day

    def _compare(self, reference: date, year: int | None, made_on: date | None) -> None:
        if (reference.month, reference.day) != (3, 31):
            message = "the reference date is not a 31 March"
            self._warn("ReferenceDate", "wrong_reference_date", message)
        if year is not None and reference.year != year:
            message = f"the year ({year}) and the reference date ({reference}) disagree"
            self._warn("Year", "year_disagrees", message)
        if made_on is not None and made_on < reference:
            message = (
                "the file was made before its reference date; nothing later than that is taken"
            )
            self._warn("DateTime", "made_early", message)
