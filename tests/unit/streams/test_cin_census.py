"""The Children in Need census importer: what it takes, what it refuses, and what it says."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from schemas.envelope import Event
from schemas.topics import agency_topic
from schemas.validate import validate_event, validate_link
from streams.importers import census_xml, cin_census
from streams.importers.authorities import authorities
from streams.importers.census_values import moment, months_before
from streams.importers.cin_census import (
    AuthorityDiffers,
    AuthorityNeeded,
    CensusImport,
    ImportRefused,
    NotACensus,
    read_census,
)
from streams.importers.pseudonym import WeakKeyError, family_pseudonym, local_id, person_pseudonym
from streams.importers.report import MAX_FINDINGS, ImportReport, Place
from streams.importers.spool import Rank, Spool

FIXTURES = Path(__file__).parents[2] / "fixtures" / "cin_census"
SHARED = Path(__file__).parents[4] / "shared" / "data"
KEY = b"a key for tests, 32 bytes long.."
TODAY = date(2026, 1, 1)

HEADER = """<Header><CollectionDetails><Collection>CIN</Collection><Year>2024</Year>
<ReferenceDate>2024-03-31</ReferenceDate></CollectionDetails><Source><LEA>801</LEA>
<DateTime>2024-05-20T10:00:00</DateTime></Source></Header>"""

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def read(
    source: str | Path | bytes, la: str | None = None, *, other_authority: bool = False
) -> CensusImport:
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    return read_census(opened, key=KEY, la=la, other_authority=other_authority, today=TODAY)


def assert_valid(message: dict[str, Any]) -> None:
    value = orjson.dumps(message)
    if message["type"] == "link.person.v1":
        checked = validate_link(value, None, NOW)
    else:
        checked = validate_event(agency_topic("social-care"), value, None, NOW)
    assert isinstance(checked, Event), checked


def census(children: str, header: str = HEADER) -> bytes:
    return f"<Message>{header}<Children>{children}</Children></Message>".encode()


def child(details: str, identifiers: str = "", name: str = "T1") -> str:
    return (
        f"<Child><ChildIdentifiers><LAchildID>{name}</LAchildID>{identifiers}</ChildIdentifiers>"
        f"{details}</Child>"
    )


def episode(more: str = "", day: str = "2023-06-01") -> str:
    return (
        f"<CINdetails><CINreferralDate>{day}</CINreferralDate><ReferralSource>6</ReferralSource>"
        f"<PrimaryNeedCode>N1</PrimaryNeedCode><ReferralNFA>0</ReferralNFA>{more}</CINdetails>"
    )


def found(report: ImportReport) -> dict[tuple[str, str], list[int]]:
    """The findings as {(module, code): lines}."""
    result: dict[tuple[str, str], list[int]] = {}
    for finding in report.findings.values():
        lines = [place.line for place in finding.places]
        result.setdefault((finding.module, finding.code), []).extend(lines)
    return result


def short(events: list[dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(event["time"], event["type"].split(".")[1], event["data"]) for event in events]


class TestWholeFile:
    def test_every_module_becomes_events_in_order(self) -> None:
        with read(FIXTURES / "full_2024.xml") as imported:
            first = person_pseudonym(KEY, local_id("801", "TEST-0001"))
            events = [event for event in imported.events() if event["subject"] == first]
        assert short(events) == [
            (
                "2023-06-01T08:00:00Z",
                "referral",
                {"source": "6", "need": "N1", "no_further_action": False},
            ),
            ("2023-06-02T08:01:00Z", "section47", {}),
            ("2023-06-20T08:02:00Z", "conference", {}),
            (
                "2023-06-20T08:05:00Z",
                "plan_started",
                {"plan": "child_protection", "category": "NEG"},
            ),
            ("2023-07-14T08:03:00Z", "assessment", {"factors": ["3B", "4B"]}),
            ("2023-07-14T08:08:00Z", "disability", {"codes": ["AUT", "HEAR"]}),
            ("2023-12-01T09:04:00Z", "plan_ended", {"plan": "child_protection"}),
            ("2023-12-01T09:05:00Z", "plan_started", {"plan": "child_in_need"}),
            ("2024-03-01T09:04:00Z", "plan_ended", {"plan": "child_in_need"}),
            ("2024-03-01T09:07:00Z", "closure", {"reason": "RC9"}),
            (
                "2024-03-20T09:00:00Z",
                "referral",
                {"source": "2A", "need": "N4", "no_further_action": True},
            ),
        ]

    @pytest.mark.parametrize("name", ["full_2024.xml", "next_year_2025.xml", "troubled.xml"])
    def test_every_message_fits_its_schema(self, name: str) -> None:
        with read(FIXTURES / name) as imported:
            messages = list(imported.messages())
        assert messages
        for message in messages:
            assert_valid(message)
            assert message["recordedtime"] == message["time"]
            assert message["la"] == "E06000023"

    def test_links_come_before_the_events_of_their_person(self) -> None:
        with read(FIXTURES / "full_2024.xml") as imported:
            messages = list(imported.messages())
            assert messages != list(imported.events())
        known: set[str] = set()
        for message in messages:
            if message["type"] == "link.person.v1":
                known.add(message["subject"])
            assert message["subject"] in known
        order = [message["recordedtime"] for message in messages]
        assert order == sorted(order)

    def test_each_child_is_a_family_of_one_under_pseudonyms(self) -> None:
        identity = local_id("801", " test-0001 ")
        with read(FIXTURES / "full_2024.xml") as imported:
            links = {link["subject"]: link["data"] for link in imported.links()}
        assert links[person_pseudonym(KEY, identity)] == {
            "family": family_pseudonym(KEY, identity),
            "role": "child",
            "born": "2015-03",
            "confidence": 1.0,
        }
        assert len({data["family"] for data in links.values()}) == len(links) == 2

    def test_nothing_that_identifies_leaves_the_file(self) -> None:
        with read(FIXTURES / "troubled.xml") as imported:
            text = json.dumps([*imported.messages()]) + json.dumps(imported.report.as_dict())
            text += "\n".join(imported.report.lines())
        for secret in ("SECRET", "Secret", "A000000000001", "2016-01-10"):
            assert secret not in text

    def test_another_key_gives_other_pseudonyms(self) -> None:
        with (
            read(FIXTURES / "full_2024.xml") as one,
            read_census(FIXTURES / "full_2024.xml", key=bytes(32), today=TODAY) as other,
        ):
            ours = {link["subject"] for link in one.links()}
            assert ours.isdisjoint({link["subject"] for link in other.links()})


class TestSecondFile:
    def test_reading_a_file_twice_gives_the_same_messages(self) -> None:
        with (
            read(FIXTURES / "full_2024.xml") as one,
            read((FIXTURES / "full_2024.xml").read_bytes()) as two,
        ):
            assert list(one.messages()) == list(two.messages())

    def test_next_years_file_repeats_the_ids_of_a_running_episode(self) -> None:
        with read(FIXTURES / "full_2024.xml") as one, read(FIXTURES / "next_year_2025.xml") as two:
            earlier = {event["id"]: event for event in one.events()}
            later = list(two.events())
        assert later[0] == earlier[later[0]["id"]]
        assert later[1]["id"] not in earlier
        assert later[1]["type"] == "social-care.assessment.v1"

    def test_an_unborn_child_is_linked_again_at_birth(self) -> None:
        with read(FIXTURES / "full_2024.xml") as one, read(FIXTURES / "next_year_2025.xml") as two:
            unborn = [link for link in one.links() if link["data"]["born"] == "2024-05"]
            born = list(two.links())
        assert [link["recordedtime"] for link in unborn] == ["2024-02-05T09:00:00Z"]
        assert [(link["recordedtime"], link["data"]["born"]) for link in born] == [
            ("2024-02-05T09:00:00Z", "2024-04"),
            ("2024-04-29T08:00:00Z", "2024-04"),
        ]
        assert born[1]["subject"] == unborn[0]["subject"]

    def test_ids_do_not_depend_on_the_place_in_the_file(self) -> None:
        early, late = episode(day="2023-04-04"), episode(day="2023-09-04")
        with read(census(child(early + late))) as both, read(census(child(late))) as one:
            assert {event["id"] for event in one.events()} < {
                event["id"] for event in both.events()
            }

    def test_two_episodes_alike_stay_two(self) -> None:
        with read(census(child(episode() + episode()))) as imported:
            assert len({event["id"] for event in imported.events()}) == 2


@pytest.fixture(scope="module")
def imported() -> Iterator[CensusImport]:
    with read(FIXTURES / "troubled.xml") as troubled:
        yield troubled


class TestTroubles:
    @pytest.mark.parametrize(
        ("module", "code", "lines"),
        [
            ("header", "wrong_reference_date", [6]),
            ("header", "year_disagrees", [5]),
            ("child", "stray_text", [18]),
            ("child", "both_upn", [18]),
            ("child", "unknown_code", [21]),
            ("child", "death_before_birth", [20]),
            ("child", "empty_module", [24]),
            ("child", "missing_id", [54]),
            ("child", "repeated", [58]),
            ("child", "wrong_date", [66]),
            ("referral", "impossible_date", [27]),
            ("referral", "wrong_date", [69]),
            ("closure", "unknown_code", [30]),
            ("factors", "unknown_code", [36]),
            ("cin_plan", "end_before_start", [41]),
            ("section47", "impossible_date", [44]),
            ("closure", "after_closure", [31, 39]),
        ],
    )
    def test_each_trouble_is_found_on_its_line(
        self, imported: CensusImport, module: str, code: str, lines: list[int]
    ) -> None:
        assert found(imported.report)[module, code] == lines

    def test_what_is_valid_is_taken(self, imported: CensusImport) -> None:
        assert [event["type"] for event in imported.events()] == [
            "social-care.assessment.v1",
            "social-care.plan_started.v1",
            "social-care.referral.v1",
        ]
        assert next(imported.events())["data"] == {"factors": ["1C"]}

    def test_counts_add_up_in_every_module(self, imported: CensusImport) -> None:
        for name, tally in imported.report.tallies.items():
            assert tally.seen == tally.taken + tally.rejected + tally.unused, name

    def test_an_illegal_code_is_named_with_the_legal_ones(self, imported: CensusImport) -> None:
        lines = [line for line in imported.report.lines() if '"RB"' in line]
        assert len(lines) == 1
        assert "1A 1B 1C" in lines[0]
        assert "line 36 (child 1)" in lines[0]

    def test_a_long_code_is_not_shown(self, imported: CensusImport) -> None:
        assert any("a value of 11 characters" in line for line in imported.report.lines())

    def test_elements_of_other_years_are_named_once(self, imported: CensusImport) -> None:
        assert imported.report.unknown_elements == {"AdoptedModule": 1, "AdoptedDate": 1}

    def test_an_unknown_source_and_need_take_the_official_unknown(self) -> None:
        details = (
            "<CINdetails><CINreferralDate>2023-06-01</CINreferralDate>"
            "<ReferralSource>ZZ</ReferralSource></CINdetails>"
        )
        with read(census(child(details))) as imported:
            event = next(imported.events())
        assert event["data"] == {"source": "10", "need": "N0", "no_further_action": False}
        assert {("referral", "unknown_code"), ("referral", "missing_code")} <= set(
            found(imported.report)
        )

    def test_a_protection_plan_without_a_legal_category_is_taken_without_it(self) -> None:
        plan = (
            "<ChildProtectionPlans><CPPstartDate>2023-07-01</CPPstartDate>"
            "<InitialCategoryOfAbuse>XXX</InitialCategoryOfAbuse></ChildProtectionPlans>"
        )
        with read(census(child(episode(plan)))) as imported:
            assert [event["data"] for event in imported.events()][1] == {"plan": "child_protection"}

    def test_work_does_not_begin_after_a_death(self) -> None:
        dead = "<PersonDeathDate>2023-05-01</PersonDeathDate>"
        with read(census(child(episode(), dead))) as imported:
            assert list(imported.messages()) == []
        assert "referral" in {finding.module for finding in imported.report.findings.values()}

    def test_a_plan_of_one_day_starts_before_it_ends(self) -> None:
        plan = (
            "<CINPlanDates><CINPlanStartDate>2023-07-01</CINPlanStartDate>"
            "<CINPlanEndDate>2023-07-01</CINPlanEndDate></CINPlanDates>"
        )
        with read(census(child(episode(plan)))) as imported:
            types = [event["type"].split(".")[1] for event in imported.events()]
        assert types == ["referral", "plan_started", "plan_ended"]

    def test_the_file_cannot_speak_of_days_after_it_was_made(self) -> None:
        header = HEADER.replace("2024-05-20T10", "2023-05-20T10")
        with read(census(child(episode()), header)) as imported:
            assert list(imported.events()) == []
        assert imported.report.horizon == "2023-05-20"

    def test_a_child_with_too_many_elements_is_left_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(census_xml, "MAX_NODES", 20)
        body = child(episode() * 10) + child(episode(), name="T2")
        with read(census(body)) as imported:
            assert len(list(imported.events())) == 1
        assert ("child", "too_large") in found(imported.report)


class TestForms:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [("0", False), ("1", True), ("true", True), ("FALSE", False), (" True ", True)],
    )
    def test_both_forms_of_yes_and_no(self, value: str, expected: bool) -> None:
        details = episode().replace(">0</ReferralNFA>", f">{value}</ReferralNFA>")
        with read(census(child(details))) as imported:
            assert next(imported.events())["data"]["no_further_action"] is expected

    @pytest.mark.parametrize("day", ["2023-06-01Z", "2023-06-01T00:00:00", "2023-06-01+01:00"])
    def test_dates_with_a_time_or_zone(self, day: str) -> None:
        with read(census(child(episode(day=day)))) as imported:
            assert next(imported.events())["time"] == "2023-06-01T08:00:00Z"

    @pytest.mark.parametrize(
        "data",
        [
            b"\xef\xbb\xbf" + census(child(episode())),
            b"\r\n \n" + census(child(episode())),
            census(child(episode())).replace(b"\n", b"\r\n"),
            b'<?xml version="1.0" encoding="ISO-8859-1"?>'
            + census(child(episode(), "<Note>\u00e9</Note>")).decode().encode("latin-1"),
            b'<?xml version="1.0" encoding="windows-1252"?>'
            + census(child(episode(), "<Note>\u2019</Note>")).decode().encode("cp1252"),
            census(child(episode())).decode().encode("utf-16"),
            census(child(episode()))
            .replace(b"<Message>", b'<c:Message xmlns:c="urn:x">')
            .replace(b"</Message>", b"</c:Message>"),
            census(child(episode())).replace(b"CINdetails", b"cinDETAILS"),
        ],
        ids=["bom", "blank", "crlf", "latin-1", "cp1252", "utf-16", "namespace", "case"],
    )
    def test_encodings_line_ends_prefixes_and_case(self, data: bytes) -> None:
        with read(data) as imported:
            assert len(list(imported.events())) == 1

    def test_lines_are_counted_from_the_top_of_the_file(self) -> None:
        data = b"\n\n" + census("\n" + child(episode(day="2030-01-01")))
        with read(data) as imported:
            lines = found(imported.report)["referral", "impossible_date"]
        assert lines == [data[: data.index(b"<CINreferralDate")].count(b"\n") + 1]


class TestRefusal:
    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (b"", "empty"),
            (b" \n", "empty"),
            (b"name,born\nA,B\n", "not an XML file"),
            (b"PK\x03\x04rest", "Excel"),
            (b"\x00\x01\x02", "not an XML file"),
            (b"<!DOCTYPE html><html></html>", "web page"),
            (b"<html><body>Sign in</body></html>", "web page"),
            (b"<Other/>", "outermost element is not <Message>"),
            (b"<Message/>", "neither"),
            (census("", HEADER.replace(">CIN<", ">SCH<")), '"SCH"'),
            (census(child(episode()))[:-30], "cut short or damaged"),
            (census(child(episode())).replace(b"</ReferralNFA>", b"</"), "in child 1"),
            (b'<!DOCTYPE Message [<!ENTITY a "b">]>' + census(child(episode())), "document type"),
            (b'<?xml version="1.0" encoding="klingon"?><Message/>', "encoding"),
            (census("<a>" * 40 + "</a>" * 40), "nested"),
        ],
    )
    def test_what_is_not_a_census_is_refused_in_a_sentence(self, data: bytes, says: str) -> None:
        with pytest.raises(NotACensus, match=says):
            read(data)

    def test_every_cut_of_a_file_is_refused(self) -> None:
        data = (FIXTURES / "full_2024.xml").read_bytes().rstrip()
        for length in range(0, len(data), 97):
            with pytest.raises(NotACensus):
                read(data[:length])

    def test_damaged_files_are_read_or_refused_but_never_crash(self) -> None:
        random = Random(11)
        whole = [path.read_bytes() for path in sorted(FIXTURES.glob("*.xml"))]
        dates = (b"0001-01-01", b"9999-12-31", b"", b"2024-02-30", "\u0662024-01-01".encode())
        read_ones = 0
        for _ in range(600):
            data = bytearray(random.choice(whole))
            at, end = sorted(random.choices(range(len(data)), k=2))
            if random.random() < 0.4:
                found_at = data.find(b"Date>", at) + len(b"Date>")
                data[found_at : found_at + 10] = random.choice(dates)
            elif random.random() < 0.5:
                data[at] = random.randrange(256)
            else:
                data[at:at] = data[end : end + 100]
            try:
                with read(bytes(data)) as damaged:
                    assert damaged.report.lines()
                    for name, tally in damaged.report.tallies.items():
                        assert tally.seen == tally.taken + tally.rejected + tally.unused, name
                    read_ones += 1
            except ImportRefused as refused:
                assert str(refused)  # noqa: PT017  (most damage is not refused)
        assert read_ones > 100

    def test_an_endless_comment_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(census_xml, "MAX_SILENCE_BYTES", 1 << 17)
        data = census("<!--" + "x" * (1 << 19) + "-->" + child(episode()))
        with pytest.raises(NotACensus, match="too long"):
            read(data)

    @pytest.mark.parametrize("lea", ["975", "", "80x"])
    def test_an_unknown_authority_has_to_be_named(self, lea: str) -> None:
        data = census(child(episode()), HEADER.replace(">801<", f">{lea}<"))
        with pytest.raises(AuthorityNeeded, match="--la"):
            read(data)
        with read(data, la="E06000023") as imported:
            assert imported.la == "E06000023"
            assert len(list(imported.events())) == 1

    def test_a_file_without_a_header_needs_the_authority_and_is_then_read(self) -> None:
        data = census(child(episode()), header="")
        with pytest.raises(AuthorityNeeded):
            read(data)
        with read(data, la="E06000023") as imported:
            assert len(list(imported.events())) == 1

    @pytest.mark.parametrize(
        ("lea", "said"), [("975", "number of the file, 975, is not"), ("80x", "three digits")]
    )
    def test_what_is_wrong_with_the_authority_number_is_said(self, lea: str, said: str) -> None:
        with pytest.raises(AuthorityNeeded, match=said):
            read(census("", HEADER.replace(">801<", f">{lea}<")))

    def test_another_authority_than_the_files_is_refused(self) -> None:
        with pytest.raises(AuthorityDiffers, match=r"Bristol.*not of E09000007.*--other-authority"):
            read(census(child(episode())), la="E09000007")

    def test_another_authority_than_the_files_is_warned_of_where_it_is_meant(self) -> None:
        with read(census(child(episode())), la="E09000007", other_authority=True) as imported:
            assert imported.la == "E09000007"
            assert ("header", "other_authority") in found(imported.report)

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (gzip.compress(census("")), "gzip"),
            ('<?xml version="1.0" encoding="UTF-8"?>'.encode("utf-16"), "UTF-16"),
        ],
    )
    def test_a_packed_or_wide_file_is_refused_with_what_to_do(self, data: bytes, said: str) -> None:
        with pytest.raises(NotACensus, match=said):
            read(data)

    def test_misuse_is_said_clearly(self, tmp_path: Path) -> None:
        with pytest.raises(ImportRefused, match="ONS code"):
            read(census(""), la="Bristol")
        with pytest.raises(ImportRefused, match="cannot be opened"):
            read(tmp_path / "none.xml")
        with pytest.raises(ImportRefused, match="cannot be opened"):
            read(tmp_path)
        with pytest.raises(WeakKeyError):
            read_census(io.BytesIO(census("")), key=b"short")


class TestParts:
    def test_moments_follow_summer_time(self) -> None:
        assert moment(date(2024, 1, 5)) == datetime(2024, 1, 5, 9, tzinfo=UTC)
        assert moment(date(2024, 7, 5), 3) == datetime(2024, 7, 5, 8, 3, tzinfo=UTC)

    def test_months_before_keeps_to_the_calendar(self) -> None:
        assert months_before(date(2024, 11, 30), 9) == date(2024, 2, 29)
        assert months_before(date(2024, 9, 1), 9) == date(2023, 12, 1)

    def test_the_spool_sorts_over_its_runs(self) -> None:
        spool = Spool(run_length=3)
        for number in (5, 3, 9, 1, 7, 2, 8):
            spool.add(number, Rank.EVENT, {"id": f"e{number}", "text": "a\nb\tc"})
        spool.add(9, Rank.LINK, {"id": "l"})
        expected = ["e1", "e2", "e3", "e5", "e7", "e8", "l", "e9"]
        assert [message["id"] for message in spool.read()] == expected
        assert [message["id"] for message in spool.read(Rank.LINK)] == ["l"]
        spool.close()

    def test_the_report_is_bounded(self) -> None:
        report = ImportReport("file")
        for number in range(MAX_FINDINGS + 100):
            report.warn("child", f"code{number}", "Child", Place(1, 1), "message")
        for _ in range(100):
            report.warn("child", "code0", "Child", Place(1, 1), "message")
        assert len(report.findings) == MAX_FINDINGS + 1
        assert report.findings["child", "code0", "Child", "message"].count == 101
        assert len(report.as_dict()["findings"][0]["places"]) == 20

    def test_authority_codes_are_told_apart(self) -> None:
        table = authorities()
        assert len(table) == len({row.ons for row in table.values()}) == 153
        assert table["801"].ons == "E06000023"


def test_memory_does_not_grow_with_the_number_of_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cin_census, "Spool", lambda: Spool(run_length=1000))

    def peak(children: int) -> int:
        path = tmp_path / f"{children}.xml"
        bodies = (child(episode() * 2, name=f"N{number}") for number in range(children))
        path.write_bytes(census("".join(bodies)))
        tracemalloc.start()
        with read_census(path, key=KEY, today=TODAY) as large:
            assert sum(1 for _ in large.events()) == children * 2
            high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    small, large = peak(1000), peak(4000)
    assert large < small * 1.5


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"optional example file {name} is not here")
    return path


class TestExampleFiles:
    def test_332_children(self) -> None:
        path = shared("cin_census/cin_census_2022_332_children.xml")
        with pytest.raises(AuthorityNeeded, match="975"):
            read(path)
        with read(path, la="E06000023") as imported:
            events = list(imported.events())
        report = imported.report
        assert report.tallies["child"].seen == 332
        assert report.tallies["referral"].seen == 402
        assert report.tallies["closure"].seen == 252
        assert len(events) == sum(report.events.values()) > 1000
        assert max(event["time"] for event in events) < "2022-07-22"
        for event in events:
            assert_valid(event)

    def test_2024(self) -> None:
        with read(shared("cin_census/cin_census_2024.xml")) as imported:
            types = [event["type"] for event in imported.events()]
        troubles = set(found(imported.report))
        assert "social-care.referral.v1" in types
        assert "social-care.assessment.v1" not in types
        assert {
            ("header", "year_disagrees"),
            ("child", "stray_text"),
            ("child", "empty_module"),
            ("child", "both_upn"),
        } <= troubles

    def test_header_issues(self) -> None:
        with read(shared("cin_census/cin_census_header_issues.xml")) as imported:
            assert list(imported.messages()) == []
        troubles = found(imported.report)
        assert ("header", "wrong_reference_date") in troubles
        assert len(troubles["child", "impossible_date"]) == 2

    @pytest.mark.parametrize(
        "name", ["education/school_census_termly_attendance.xml", "education/sen2_2024_mockup.xml"]
    )
    def test_other_collections_are_refused(self, name: str) -> None:
        with pytest.raises(NotACensus):
            read(shared(name))

    def test_authority_codes_agree_with_published_statistics(self) -> None:
        path = shared("social_care/dfe_cin_referrals_by_source_2014_2024.csv")
        with path.open(encoding="utf-8-sig", newline="") as rows:
            published = {
                row["old_la_code"]: row["new_la_code"]
                for row in csv.DictReader(rows)
                if row["time_period"] == "2024" and row["old_la_code"]
            }
        assert published == {row.lea: row.ons for row in authorities().values()}
