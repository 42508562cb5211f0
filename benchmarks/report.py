"""The table on the terminal, and what goes into docs/: JSON, a chart, the figures of the page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.budgets import Verdict
from benchmarks.chart import chart
from benchmarks.results import Results
from benchmarks.systems import SYSTEMS

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- figures: written by `make bench` -->", "<!-- end of figures -->"
BASE = "quix"


def table(results: Results) -> list[list[str]]:
    """Rows: system, events/s, ratio to Quix, processor time an event, of the broker, of Redis, memory."""
    medians, errors = results.medians(), results.errors()
    base = medians.get(BASE, {}).get("events_per_s")
    rows = [
        [
            "system, one worker",
            "events/s",
            f"x {SYSTEMS[BASE].label}",
            "CPU µs/event",
            "broker",
            "Redis",
            "MiB",
        ]
    ]
    for name, system in SYSTEMS.items():
        if name in medians:
            found = medians[name]
            ratio = f"{found['events_per_s'] / base:.2f}" if base else ""
            cpu = [f"{found[figure]:.1f}" for figure in ("system_us", "kafka_us", "redis_us")]
            rows.append(
                [
                    system.label,
                    f"{found['events_per_s']:,.0f}",
                    ratio,
                    *cpu,
                    f"{found['peak_mib']:.0f}",
                ]
            )
        elif name in errors:
            rows.append([system.label, f"no figure: {errors[name]}", "", "", "", "", ""])
    return rows


def budget_rows(verdicts: Iterable[Verdict]) -> list[list[str]]:
    """Rows: what, asked for, measured, met, and what a worker reaches that does less."""
    rows = [["budget", "asked", "measured", "met", "limit here", "with EHPS's features"]]
    for verdict in verdicts:
        asked = f"{'at most' if verdict.most else 'at least'} {verdict.bound:g} {verdict.unit}"
        value = "not measured" if verdict.value is None else _amount(verdict.value, verdict.unit)
        met = {True: "yes", False: "NO", None: "-"}[verdict.met]
        limit = _reached(verdict, verdict.limit, "out of reach")
        features = _reached(verdict, verdict.with_features, "not with these features")
        rows.append([verdict.what, asked, value, met, limit, features])
    return rows


def _reached(verdict: Verdict, value: float | None, beyond: str) -> str:
    if value is None:
        return ""
    return _amount(value, verdict.unit) + ("" if verdict.within(value) else f", {beyond}")


def _amount(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def details(once: Mapping[str, Any]) -> list[str]:
    """What stands behind the single figures, in a sentence each."""
    lines = []
    if "latency" in once:
        found = once["latency"]
        for name, told in (
            ("alerts", "to"),
            ("scores", "to"),
            ("bare", "through two hops that think of nothing, to"),
            ("features", "through two hops that validate and work out EHPS's features, to"),
        ):
            took = found[name]
            if took["count"]:
                lines.append(
                    f"Latency at {found['rate']:,} events/s for {found['seconds']} s, "
                    f"{told} {took['count']:,} {name if name in ('alerts', 'scores') else 'records'}: "
                    f"median {took['p50_ms']:.1f} ms, 99 of 100 {took['p99_ms']:.1f}, "
                    f"999 of 1,000 {took['p999_ms']:.1f}."
                )
    if "growth" in once:
        for name, case in once["growth"].items():
            if isinstance(case, dict):
                lines.append(
                    f"Growth, {name}: {case['families']:,} families after {case['events_before']:,} events of "
                    f"the base, states of {case['state_bytes_mean']:,} bytes on average: "
                    f"{case['cpu_us']:.1f} µs an event, {case['cpu_us_with_redis']:.1f} with Redis"
                    f" (its limit {case['limit_us_with_redis']:.1f})."
                )
    if "states" in once:
        found = once["states"]
        lines.append(
            f"States of {found['states']:,} simulated families after {found['weeks']} weeks: "
            f"median {found['median']:,} bytes, 99 of 100 {found['p99']:,}, greatest {found['max']:,}."
        )
    return lines


def plain(rows: list[list[str]]) -> str:
    """Rows as aligned text."""
    widths = [
        max(len(row[column]) for row in rows if len(row[column]) < 60 or not column)
        for column in range(len(rows[0]))
    ]
    lines = []
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def markdown(rows: list[list[str]]) -> str:
    """Rows as a table of the page."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]])


def write_docs(
    results: Results, verdicts: list[Verdict], about: dict[str, Any], command: str
) -> None:
    """docs/performance.json, .svg, and the figures within docs/performance.md."""
    document = results.document() | {
        "command": command,
        "one_run": not results.earlier(),
        "machine": about,
        "budgets": [verdict._asdict() | {"met": verdict.met} for verdict in verdicts],
    }
    DOCS.mkdir(exist_ok=True)
    (DOCS / "performance.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    (DOCS / "performance.svg").write_text(chart(results.medians()))
    page = DOCS / "performance.md"
    head, _, rest = page.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(
        f"{head}{BEGIN}\n\n{_figures(results, verdicts, about, command)}\n\n{END}{tail}"
    )


def _figures(results: Results, verdicts: list[Verdict], about: dict[str, Any], command: str) -> str:
    sizes = results.document()["parameters"]
    parts = [
        f"`{command}` on {about['cores']} cores ({about['processor']}), {about['memory_gib']} GiB, "
        f"Python {about['python']}, Redis {about['redis']}; {sizes['events']:,} events, "
        f"{sizes['families']:,} families, medians of {sizes['rounds']}.",
        "![Events a second of each system](performance.svg)",
        markdown(budget_rows(verdicts)),
        markdown(table(results)),
        "\n".join(f"- {line}" for line in details(results.singles())),
        "All of it, every round: [performance.json](performance.json).",
    ]
    if results.earlier():
        parts.insert(
            1, f"Measured by another call, so not of one run: {', '.join(results.earlier())}."
        )
    return "\n\n".join(part for part in parts if part)
