"""Imports a Children in Need census: a year's children as events and links, and a report.

The census is the file every English authority already makes once a year, so it is the shortest
way to a history. What becomes of it:

* Every time is 09:00 London time on the day given; steps of one day follow at whole minutes after,
  in the order referral, section 47, conference, assessment, plan end, plan start, closure.
* `time` and `recordedtime` are that same moment. An assessment counts at its authorisation, because
  its facts are known only then; one not yet authorised is left for a later file.
* A child is a family of one: the census does not say who lives with whom. A child whose first event
  is older than its birth gets two links, the second (at birth) with the month of birth.
* Event ids are made from the pseudonym, the type and the dates, not from places in the file: next
  year's file gives the same episode the same ids, and a second import changes nothing.
* A file is taken as a whole or not at all; inside a whole file, one bad value costs only its fact.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, NamedTuple, Self

from streams.importers.authorities import Authority
from streams.importers.census_child import ChildFacts, ChildReader, Fact
from streams.importers.census_header import FileHeader, read_header
from streams.importers.census_identity import Identity
from streams.importers.census_values import moment
from streams.importers.census_xml import (
    ChildNode,
    Header,
    ImportRefused,
    NotACensus,
    StrayText,
    read_parts,
)
from streams.importers.pseudonym import check_key, family_pseudonym, local_id, person_pseudonym
from streams.importers.report import ImportReport, Place
from streams.importers.spool import Rank, Spool

__all__ = [
    "AuthorityDiffers",
    "AuthorityNeeded",
    "CensusImport",
    "ImportRefused",
    "NotACensus",
    "read_census",
]

_LA = re.compile(r"[EWSN]\d{8}\Z", re.ASCII)
_ID_DIGITS: Final = 32


class AuthorityNeeded(ImportRefused):
    """The file does not say which authority it is from, in a way that can be understood."""


class AuthorityDiffers(ImportRefused):
    """The file names another authority than the one that it was to be imported for."""


class CensusImport:
    """An imported census: its report, links and events. Close it to drop its temporary files.

    Read one of `links`, `events` and `messages` to its end before starting another.
    """

    def __init__(self, report: ImportReport, spool: Spool) -> None:
        self.report = report
        self._spool = spool

    @property
    def la(self) -> str:
        """The authority's ONS code."""
        return self.report.la

    def links(self) -> Iterator[dict[str, Any]]:
        """Yields link.person.v1 messages, by recordedtime, then id."""
        return self._spool.read(Rank.LINK)

    def events(self) -> Iterator[dict[str, Any]]:
        """Yields social-care events, by recordedtime, then id."""
        return self._spool.read(Rank.EVENT)

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yields both by recordedtime; at the same moment links first, then by id."""
        return self._spool.read()

    def close(self) -> None:
        """Drops all messages; the report stays."""
        self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_census(
    source: str | Path | IO[bytes],
    *,
    key: bytes,
    la: str | None = None,
    other_authority: bool = False,
    today: date | None = None,
) -> CensusImport:
    """Reads one census file, in memory that does not grow with the number of events.

    Args:
        source: a path, or a file opened in binary mode.
        key: secret key of the pseudonyms, at least 16 bytes; the same one for every file.
        la: ONS code of the authority; needed only when the file's own number is not known.
        other_authority: take the file for `la` although it names another authority.
        today: last possible day of any event; by default today in UTC.

    Returns:
        The import, with its report complete.

    Raises:
        NotACensus: if the file is not one whole census; nothing was taken.
        AuthorityNeeded: if the file's authority is not known and la is not given.
        AuthorityDiffers: if the file names another one than la, unless other_authority.
        ImportRefused: if the file cannot be opened, or la is not an ONS code.
        WeakKeyError: if the key is too short.
    """
    check_key(key)
    if la is not None and not _LA.match(la):
        msg = "The authority is given by its ONS code: a letter and eight digits, like E06000023."
        raise ImportRefused(msg)
    started = time.perf_counter()
    name = Path(source).name if isinstance(source, str | Path) else "census"
    with ExitStack() as stack:
        spool = Spool()
        stack.callback(spool.close)
        if isinstance(source, str | Path):
            stream: IO[bytes] = stack.enter_context(_opened(Path(source)))
        else:
            stream = source
        wanted = _Wanted(la, other_authority, today or datetime.now(UTC).date())
        census = _Census(ImportReport(name), spool, key, wanted)
        census.read(stream)
        census.report.seconds = time.perf_counter() - started
        stack.pop_all()
        if stream is not source:
            stream.close()
    return CensusImport(census.report, spool)


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        msg = f"The file {path.name} cannot be opened: {error.strerror}."
        raise ImportRefused(msg) from error


class _Wanted(NamedTuple):
    """What the caller said of a file: its authority, whether it may differ, and the last day."""

    la: str | None
    other_authority: bool
    today: date


class _Census:
    """The reading of one file: its header, then child after child into the spool."""

    def __init__(self, report: ImportReport, spool: Spool, key: bytes, wanted: _Wanted) -> None:
        self.report = report
        self._spool = spool
        self._key = key
        self._wanted = wanted
        self._namespace = ""
        self._reader: ChildReader | None = None

    def read(self, stream: IO[bytes]) -> None:
        """Reads the whole file.

        Raises:
            NotACensus: see read_census.
            AuthorityNeeded: see read_census.
        """
        for part in read_parts(stream):
            if isinstance(part, Header):
                self._begin(read_header(part.node, self.report, self._wanted.today))
            elif isinstance(part, ChildNode):
                self._take(part)
            elif isinstance(part, StrayText):
                message = "text outside any child, passed over"
                self.report.warn("header", "stray_text", "", Place(part.line, 0), message)
        if not self.report.tallies["child"].seen:
            message = "the file holds no child"
            self.report.warn("child", "no_children", "Children", Place(1, 0), message)

    def _begin(self, header: FileHeader) -> None:
        known, la = header.authority, self._wanted.la or ""
        if known is None and not la:
            raise AuthorityNeeded(_unknown(header))
        if known is not None and la not in {"", known.ons}:
            if not self._wanted.other_authority:
                raise AuthorityDiffers(_differing(header, known, la))
            message = "the file is of another authority than the one it is imported for"
            place = Place(header.lea_line, 0)
            self.report.warn("header", "other_authority", "LEA", place, message)
        la = la or (known.ons if known else "")
        self.report.la, self.report.lea = la, header.lea
        self.report.authority = known.name if known is not None and la == known.ons else ""
        self._namespace = header.lea or la
        self._reader = ChildReader(self.report, header.horizon)

    def _take(self, child: ChildNode) -> None:
        if self._reader is None:  # the XML reader always yields the header first
            return
        read = self._reader.read(child)
        if read is None:
            return
        identity = local_id(self._namespace, read.identity.la_child_id)
        person = person_pseudonym(self._key, identity)
        place = Place(child.node.line, child.number)
        if not read.facts:
            message = "nothing about this child could be taken"
            self.report.reject("child", "nothing_taken", "Child", place, message)
            return
        self.report.took("child")
        for link in self._links(person, family_pseudonym(self._key, identity), read):
            self._add(Rank.LINK, link)
            self.report.links += 1
        self._add_events(person, read.facts)

    def _links(self, person: str, family: str, read: ChildFacts) -> Iterator[dict[str, Any]]:
        """Yields the child's link as first known and, if it was unborn then, as known at birth."""
        first = min(fact.day for fact in read.facts)
        identity = read.identity
        known = [(first, _month(identity, first))]
        if identity.born is not None and identity.born > first:
            known.append((identity.born, _month(identity, identity.born)))
        for day, month in known:
            data = {"family": family, "role": "child", "confidence": 1.0}
            if month is not None:
                data["born"] = month
            parts = (person, family, day.isoformat(), month or "")
            yield self._message("link.person.v1", person, moment(day), parts, data)

    def _add_events(self, person: str, facts: list[Fact]) -> None:
        same: Counter[tuple[str, tuple[str, ...]]] = Counter()
        for fact in facts:
            # Two facts alike in type and dates are told apart by their order, from 0.
            number = same[fact.type, fact.dates]
            same[fact.type, fact.dates] += 1
            parts = (person, *fact.dates, str(number))
            at = moment(fact.day, fact.minute)
            self._add(Rank.EVENT, self._message(fact.type, person, at, parts, fact.data))
            self._count(fact)

    def _count(self, fact: Fact) -> None:
        report, day = self.report, fact.day.isoformat()
        report.events[fact.type] += 1
        report.first = min(report.first or day, day)
        report.last = max(report.last, day)

    def _add(self, rank: int, message: dict[str, Any]) -> None:
        recorded = datetime.fromisoformat(message["recordedtime"])
        self._spool.add(int(recorded.timestamp()), rank, message)

    def _message(
        self, kind: str, person: str, at: datetime, parts: tuple[str, ...], data: dict[str, Any]
    ) -> dict[str, Any]:
        digest = hashlib.sha256("|".join((kind, *parts)).encode()).hexdigest()
        stamp = f"{at:%Y-%m-%dT%H:%M:%SZ}"
        return {
            "specversion": "1.0",
            "id": f"cin-{digest[:_ID_DIGITS]}",
            "source": f"urn:ehps:cin-census:{self.report.la}",
            "type": kind,
            "subject": person,
            "time": stamp,
            "recordedtime": stamp,
            "la": self.report.la,
            "datacontenttype": "application/json",
            "data": data,
        }


def _unknown(header: FileHeader) -> str:
    said = {
        True: f"The authority number of the file, {header.lea}, is not among those known here.",
        False: "The file has no authority number of three digits (LEA in its header).",
    }[bool(header.lea)]
    return f"{said} Say which authority it is from, by its ONS code, like --la E06000023."


def _differing(header: FileHeader, known: Authority, la: str) -> str:
    return (
        f"The file is of {known.name} ({known.ons}; see line {header.lea_line}), not of {la}: leave "
        "--la out, or say --other-authority if the file is wrong."
    )


def _month(identity: Identity, on: date) -> str | None:
    """Returns the month of birth as known on a day: the expected one while unborn, if given."""
    unborn = identity.born is None or identity.born > on
    day = (identity.expected or identity.born) if unborn else identity.born
    return f"{day:%Y-%m}" if day is not None else None
