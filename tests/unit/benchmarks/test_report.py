"""The benchmarks' verdicts and what is written of them."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # our own file

from benchmarks.budgets import BUDGETS, judge
from benchmarks.chart import chart
from benchmarks.report import BEGIN, DOCS, END, budget_rows, markdown, plain, table
from benchmarks.results import Results
from benchmarks.systems import SYSTEMS

RUN = {
    "events_per_s": 1000.0,
    "system_us": 10.0,
    "kafka_us": 1.0,
    "redis_us": 1.0,
    "peak_mib": 50.0,
    "started_s": 1.0,
}


def results(tmp_path, **rates):
    found = Results(tmp_path / "results.json", {"events": 1}, "now")
    for name, rate in rates.items():
        found.add(name.replace("_", "-"), {**RUN, "events_per_s": rate})
    return found


def test_a_budget_is_met_missed_or_not_measured(tmp_path):
    found = results(tmp_path, quix=100.0, bytewax=200.0, ehps_scorer=1000.0, ehps_onehop=500.0)
    verdicts = {verdict.what: verdict for verdict in judge(found.medians(), found.singles())}
    assert len(verdicts) == len(BUDGETS)
    assert verdicts["scorer worker, against the best Python peer"].met is True
    assert verdicts["one hop in one EHPS worker, against the best Python peer"].met is False
    assert verdicts["scorer worker, against a Faust agent with a table"].met is None


def test_a_budget_beyond_the_limit_is_said_to_be_out_of_reach(tmp_path):
    rates = {"quix": 100.0, "bytewax": 200.0, "ehps_scorer": 300.0, "limit_states": 900.0}
    found = results(tmp_path, **rates, limit_features=500.0)
    rows = {row[0]: row for row in budget_rows(judge(found.medians(), found.singles()))}
    row = rows["scorer worker, against the best Python peer"]
    reached = ["4.5 x, out of reach", "2.5 x, not with these features"]
    assert row[1:] == ["at least 5 x", "1.5 x", "NO", *reached]
    again = results(tmp_path / "again", quix=100.0, bytewax=200.0, limit_states=1000.0)
    rows = {row[0]: row for row in budget_rows(judge(again.medians(), again.singles()))}
    assert rows["scorer worker, against the best Python peer"][4:] == ["5 x", ""]


def test_medians_are_over_rounds_and_a_failed_system_has_a_reason_instead(tmp_path):
    found = results(tmp_path, quix=100.0)
    found.add("quix", {**RUN, "events_per_s": 300.0})
    found.add("quix", {**RUN, "events_per_s": 120.0})
    found.fail("bytewax", "it ended")
    assert found.medians()["quix"]["events_per_s"] == 120.0
    rows = {row[0]: row for row in table(found)}
    assert rows["Bytewax, recovery"][1] == "no figure: it ended"
    assert rows["Quix Streams"][2] == "1.00"


def test_rows_survive_a_new_call_and_are_marked_as_of_another_run(tmp_path):
    results(tmp_path, quix=100.0, bytewax=200.0)
    again = Results(tmp_path / "results.json", {"events": 1}, "later")
    again.forget(["quix"])
    again.add("quix", RUN)
    assert again.earlier() == ["bytewax"]
    assert Results(tmp_path / "results.json", {"events": 2}, "later").medians() == {}


def test_the_tables_and_the_chart_can_be_read(tmp_path):
    found = results(tmp_path, **dict.fromkeys((name.replace("-", "_") for name in SYSTEMS), 2000.0))
    verdicts = list(judge(found.medians(), found.singles()))
    assert "EHPS scorer worker" in plain(table(found))
    assert markdown(budget_rows(verdicts)).count("\n") == len(BUDGETS) + 1
    root = ET.fromstring(chart(found.medians()))  # noqa: S314
    assert any("Quix Streams" in (text.text or "") for text in root.iter())


def test_the_page_has_the_place_where_figures_go():
    page = (DOCS / "performance.md").read_text()
    assert page.index(BEGIN) < page.index(END)
