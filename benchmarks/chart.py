"""Events a second of each system as a bar chart: SVG, a logarithmic scale, legible on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape

from benchmarks.systems import MANY, SYSTEMS

WIDTH, LABEL, ROW, TOP, BAR = 860, 290, 26, 64, 16
ROOM = 70
"""Space right of the longest bar for its figure."""
COLOURS = {"peer": "#8a93a6", "ehps": "#0b6e63", "limit": "#c9a227"}
NAMES = {"peer": "peers", "ehps": "EHPS", "limit": "limits"}


def chart(medians: Mapping[str, Mapping[str, float]]) -> str:
    """The chart of every system that has a figure, slowest first."""
    rates = {
        name: found["events_per_s"]
        for name, found in medians.items()
        if name in SYSTEMS and name not in MANY
    }
    order = sorted(rates, key=lambda name: rates[name])
    height = TOP + ROW * len(order) + 40
    low = 10 ** math.floor(math.log10(min(rates.values(), default=1000)))
    high = 10 ** math.ceil(math.log10(max(rates.values(), default=10_000) + 1))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">',
        "<title>Events a second in one worker, logarithmic scale</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
        '<text x="20" y="28" font-size="16" font-weight="600" fill="#1d2433">'
        "Events a second in one worker (logarithmic scale)</text>",
        *_legend(),
        *_grid(low, high, height),
    ]
    for number, name in enumerate(order):
        y = TOP + ROW * number
        length = _x(rates[name], low, high) - LABEL
        system = SYSTEMS[name]
        parts += [
            f'<text x="{LABEL - 10}" y="{y + 13}" text-anchor="end" fill="#1d2433">{escape(system.label)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{COLOURS[system.group]}"/>',
            f'<text x="{LABEL + length + 6:.1f}" y="{y + 13}" fill="#1d2433">{rates[name]:,.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def _legend() -> list[str]:
    parts = []
    for number, (group, colour) in enumerate(COLOURS.items()):
        x = LABEL + 90 * number
        parts.append(f'<rect x="{x}" y="40" width="11" height="11" fill="{colour}"/>')
        parts.append(f'<text x="{x + 17}" y="50" fill="#1d2433">{NAMES[group]}</text>')
    return parts


def _grid(low: float, high: float, height: int) -> list[str]:
    parts, value = [], low
    while value <= high:
        x = _x(value, low, high)
        parts.append(
            f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{height - 32}" stroke="#e3e6ec"/>'
        )
        parts.append(
            f'<text x="{x:.1f}" y="{height - 14}" text-anchor="middle" fill="#5b6475">{value:,.0f}</text>'
        )
        value *= 10
    return parts


def _x(value: float, low: float, high: float) -> float:
    return LABEL + (WIDTH - LABEL - ROOM) * math.log(value / low) / math.log(high / low)
