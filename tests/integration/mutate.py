"""Seeded mutations of good messages: bytes, JSON structure, values, sizes, nesting, Unicode, numbers, types, headers.

Text that a mutation invents holds `CANARY`, so that it can be recognised where it must not be.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from schemas.topics import AGENCY_TOPICS, CONTROL, DECISIONS, LINKS

GOLDEN = Path(__file__).parents[2] / "schemas" / "golden"
CANARY = "zqcanary"
BROKER_BYTES_MAX = 1_000_000
"""Kafka refuses a record above 1,048,588 bytes, its key and headers included."""
HOSTILE = (
    "\u202e" + CANARY, "\u200b" * 40 + CANARY, CANARY + "\u0000", "\ufeff" + CANARY, "\u0301" * 99 + CANARY,
    CANARY + "\U0001f4a9", "'; DROP TABLE " + CANARY, "%s%n{0}${" + CANARY + "}", "\r\n" + CANARY, "\x1b[2J" + CANARY,
    "../" + CANARY, "<script>" + CANARY, "ﷺ" + CANARY, "\uffff" + CANARY,
)  # fmt: skip
NUMBERS = (
    "0", "-0", "1e400", "-1e400", "1e-400", "9" * 400, "-" + "9" * 400, "18446744073709551616", "0.1e1", "1E+2", "-1",
    "4294967296", "2147483648", "9223372036854775808", "NaN", "Infinity",
)  # fmt: skip
TIMES = (
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00Z", "2106-02-07T06:28:16Z",
    "1969-12-31T23:59:59.999999Z", "2026-02-30T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T24:00:00Z",
    "2026-03-29T01:30:00+01:00", "-2026-01-01T00:00:00Z", "1e10", 1e18, -1, 253402300800, "20260101T000000Z",
)  # fmt: skip


class Mutated(NamedTuple):
    """A message to produce."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class Raw(str):
    """Text that stands in the JSON as it is."""

    __slots__ = ()


class Mutator:
    """Draws messages."""

    def __init__(self, seed: int, more: dict[str, list[dict[str, Any]]]) -> None:
        """`more`: further good messages by topic."""
        self._random = random.Random(seed)
        self._good = {topic: [*found, *more.get(topic, [])] for topic, found in golden().items()}

    def draw(self) -> Mutated:
        """One message: a good one, changed one to four times."""
        chance = self._random
        topic = chance.choice(sorted(self._good))
        document: Any = json.loads(json.dumps(chance.choice(self._good[topic])))
        if chance.random() < 0.8:
            document["id" if "id" in document else "x"] = f"{CANARY}-{chance.getrandbits(40)}"
        for _ in range(chance.randint(1, 3)):
            document = chance.choice(_STRUCTURE)(document, chance)
        value: bytes | None = _dump(document)
        if chance.random() < 0.3:
            value = chance.choice(_BYTES)(value or b"", chance)
        if value is not None:
            value = value[:BROKER_BYTES_MAX]
        # A compacted topic takes no record without a key: the broker refuses it by itself.
        key = chance.choice((None, b"", b"k", CANARY.encode(), b"\xff\xfe\x00", b"E06000023:f-1"))
        return Mutated(topic, key or b"k" if topic == LINKS else key, value, self._headers())

    def _headers(self) -> list[tuple[str, bytes | None]]:
        chance = self._random
        if chance.random() < 0.85:
            return []
        names = (
            "ce_id",
            "ce_type",
            "ce_subject",
            "ce_time",
            "ce_source",
            "ce_la",
            "ehps",
            "ehps-input",
            "x",
            "ce_",
        )
        values = (
            None,
            b"",
            b"\xff\xfe",
            CANARY.encode(),
            b"police.notification.v1",
            b"1.0",
            b"E06000023",
        )
        return [(chance.choice(names), chance.choice(values)) for _ in range(chance.randint(1, 12))]


def golden() -> dict[str, list[dict[str, Any]]]:
    """The committed good messages by topic."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(GOLDEN.glob("*/*.json")):
        document = json.loads(path.read_text())
        found.setdefault(_topic(path.parent.name), []).append(document)
    return found


def _topic(kind: str) -> str:
    source = kind.partition(".")[0]
    named = {"link": LINKS, "decision": DECISIONS, "control": CONTROL, "record": AGENCY_TOPICS[0]}
    return named.get(source, f"agency.{source}.v1")


def _dump(document: Any) -> bytes:
    """JSON in which `Raw` stands as it is: numbers that Python would not write."""
    marked: list[str] = []

    def plain(value: Any) -> Any:
        if isinstance(value, Raw):
            marked.append(str(value))
            return f"\0raw{len(marked) - 1}\0"
        if isinstance(value, dict):
            return {str(k): plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, list) else value

    text = json.dumps(plain(document), ensure_ascii=False)
    for number, raw in enumerate(marked):
        text = text.replace(json.dumps(f"\0raw{number}\0"), raw)
    return text.encode("utf-8", "surrogatepass")


def _places(document: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(items):
        found.append((document, key))
        if isinstance(value, (dict, list)):
            _places(value, found)
    return found


def _somewhere(document: Any, chance: random.Random) -> tuple[Any, Any]:
    places = _places(document, []) if isinstance(document, (dict, list)) else []
    return chance.choice(places) if places else ({}, "x")


def _put(make: Callable[[random.Random], Any]) -> Callable[[Any, random.Random], Any]:
    """A mutation that replaces a value somewhere."""

    def mutate(document: Any, chance: random.Random) -> Any:
        where, key = _somewhere(document, chance)
        where[key] = make(chance)
        return document

    return mutate


def _drop(document: Any, chance: random.Random) -> Any:
    where, key = _somewhere(document, chance)
    if where:
        del where[key]
    return document


def _more(document: Any, chance: random.Random) -> Any:
    where, _ = _somewhere(document, chance)
    if isinstance(where, dict):
        where[chance.choice((*HOSTILE, CANARY, "control", "heartbeat", "data", "removed"))] = CANARY
    return document


def _swap(document: Any, chance: random.Random) -> Any:
    (one, a), (two, b) = _somewhere(document, chance), _somewhere(document, chance)
    if a in one and b in two if isinstance(one, dict) and isinstance(two, dict) else False:
        one[a], two[b] = str(two[b]), one[a]
    return document


def _deep(chance: random.Random) -> Raw:
    depth = chance.choice((2, 30, 200, 900, 1100, 20_000))
    opening, closing = chance.choice((("[", "]"), ('{"a":', "}")))
    return Raw(opening * depth + "1" + closing * depth)


def _long(chance: random.Random) -> str:
    return CANARY * chance.choice((8, 16, 40, 2_000, 32_700, 130_000))


def _typed(chance: random.Random) -> Any:
    return chance.choice(
        (None, True, [], {}, 0, 1.5, "", CANARY, [CANARY], {CANARY: CANARY}, [[[]]])
    )


_STRUCTURE: tuple[Callable[[Any, random.Random], Any], ...] = (
    _drop, _more, _swap, lambda document, _: [document], lambda document, _: {"data": document},
    lambda _, chance: _typed(chance), lambda document, _: document,
    *[_put(lambda chance: chance.choice(HOSTILE))] * 2, *[_put(lambda chance: Raw(chance.choice(NUMBERS)))] * 2,
    *[_put(_typed)] * 3, *[_put(lambda chance: chance.choice(TIMES))] * 3, _put(_deep), _put(_long),
    _put(lambda _: Raw('"\\ud800' + CANARY + '"')), _put(lambda _: Raw(f'"{CANARY}","{CANARY}":"{CANARY}"')),
)  # fmt: skip


def _flip(value: bytes, chance: random.Random) -> bytes:
    changed = bytearray(value or b"x")
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _cut(value: bytes, chance: random.Random) -> bytes:
    return value[: chance.randrange(len(value) + 1)]


def _insert(value: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(value) + 1)
    return value[:at] + chance.randbytes(chance.choice((1, 7, 300))) + value[at:]


def _recode(value: bytes, chance: random.Random) -> bytes:
    return value.decode("utf-8", "replace").encode(
        chance.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7")), "replace"
    )


def _big(value: bytes, chance: random.Random) -> bytes:
    size = chance.choice((260_000, 262_144, 262_145, 999_000))
    return (
        value[:-1] + b', "y": "' + CANARY.encode() * (size // len(CANARY)) + b'"}'
        if chance.random() < 0.1
        else value
    )


_BYTES: tuple[Callable[[bytes, random.Random], bytes | None], ...] = (
    _flip, _cut, _insert, _recode, _big,
    lambda _, chance: chance.randbytes(chance.randint(0, 400)),
    lambda _value, _chance: None,
    lambda _value, _chance: b"",
    lambda value, _: value + value,
    lambda value, _: b"\x00" * 5 + value,
)  # fmt: skip
