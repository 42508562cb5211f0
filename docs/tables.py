"""Tables of the documentation that the code knows best; `make docs` writes them between their marks.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; a test fails where one has drifted.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from docs import scale
from ehps.catalogue import CONDITIONS, KINDS
from ehps.content import Points, Release
from ehps.library import Library
from schemas.envelope import Event
from schemas.events import EVENT_TYPES
from schemas.export import schema_of
from schemas.links import LINK_TYPES
from schemas.topics import FOREVER, TOPICS, Topic
from streams.config import Settings

FOLDER = Path(__file__).parent
_MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_VALUES_MAX = 5
"""Values listed in a cell; a longer code list is named."""


def topics() -> str:
    """Every topic with its key, value, who may write and read, and how long it is kept."""
    rows = (
        (
            f"`{topic.name}`",
            topic.key,
            topic.value,
            ", ".join(topic.writers),
            ", ".join(topic.readers),
            _kept(topic),
        )
        for topic in TOPICS
    )
    return _table(("topic", "key", "value", "written by", "read by", "kept"), rows)


def _kept(topic: Topic) -> str:
    if topic.cleanup == "compact":
        return "newest a key"
    return (
        "for ever"
        if topic.retention_ms == FOREVER
        else f"{topic.retention_ms // 604_800_000} weeks"
    )


def events() -> str:
    """Every type that an agency or the registry of links sends, with the fields of its `data`."""
    types = {**EVENT_TYPES, **LINK_TYPES}
    return _table(
        ("type", "what it says", "data (required in bold)"),
        ((f"`{name}`", _said(model), _data_fields(name)) for name, model in types.items()),
    )


def _said(model: type[Event]) -> str:
    return (inspect.getdoc(model) or "").split("\n", 1)[0].rstrip(".")


def _data_fields(name: str) -> str:
    schema = schema_of(name)
    data = _resolved(schema, schema["properties"]["data"])
    required = data.get("required", ())
    fields = (
        (f"**{field}**" if field in required else field, _values(schema, spec))
        for field, spec in data.get("properties", {}).items()
    )
    return "; ".join(f"{field} {values}".strip() for field, values in fields) or "none"


def _values(schema: dict[str, Any], spec: dict[str, Any]) -> str:
    """What a field may hold, in a few words."""
    kinds = [kind for kind in spec.get("anyOf", (spec,)) if kind.get("type") != "null"]
    kind = _resolved(schema, kinds[0])
    if kind.get("type") == "array":
        return f"list of {_values(schema, kind['items'])}"
    if "enum" in kind:
        few = len(kind["enum"]) <= _VALUES_MAX
        return f"({', '.join(kind['enum'])})" if few else kind.get("title", "code")
    words = {"boolean": "(true, false)", "number": "number", "string": kind.get("format", "text")}
    return words.get(kind["type"], kind["type"])


def _resolved(schema: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    name = spec.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = schema["$defs"][name] if name else spec
    return found


def points() -> str:
    """Every kind of fact, and what the starter release gives for it."""
    release = Library.packaged().named("release", "starter-1").content
    assert isinstance(release, Release)  # noqa: S101  (by kind, for the type checker)
    kinds = [(kind.name, kind.label, kind.heading, kind.rank) for kind in KINDS]
    kinds += [(name, label, heading, 0) for name, label, heading in CONDITIONS.values()]
    return _table(
        ("kind", "what people read", "heading", "points", "half-life", "at most", "rank"),
        (
            (
                f"`{name}`",
                label,
                f"SF{heading}" if heading else "",
                *_points(release.points.get(name)),
                rank or "",
            )
            for name, label, heading, rank in kinds
        ),
    )


def _points(row: Points | None) -> tuple[str, str, str]:
    if row is None:
        return "", "", ""
    return f"{row.points:g}", f"{row.half_life} days", f"{row.cap or 2 * row.points:g}"


def settings() -> str:
    """Every setting of a process."""
    return _table(
        ("variable", "default", "what it is"),
        (
            (f"`EHPS_{name.upper()}`", _default(field.default), field.description)
            for name, field in Settings.model_fields.items()
        ),
    )


def _default(value: object) -> str:
    return (
        "none" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"
    )


TABLES: dict[str, Callable[[], str]] = {
    "topics": topics,
    "events": events,
    "points": points,
    "settings": settings,
    "scale": lambda: _table(*scale.plans()),
    "scale_figures": lambda: _table(*scale.figures()),
}


def filled(text: str) -> str:
    """A page with its tables as the code has them."""
    return _MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", text)


def _table(columns: tuple[str, ...], rows: Iterable[Iterable[object]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    for page in sorted(FOLDER.glob("*.md")):
        page.write_text(filled(page.read_text()))
