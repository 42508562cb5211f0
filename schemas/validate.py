"""The edge: a message is validated here once, and what is rejected is told what to send instead.

A rejection names the kind of value observed, never the value: it may identify somebody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple, TypeVar, cast, get_args

import orjson
from pydantic import AwareDatetime, BaseModel, ValidationError

from schemas.control import ControlMessage
from schemas.decisions import Decision
from schemas.envelope import Event
from schemas.events import EVENT_TYPES
from schemas.links import LINK_TYPES
from schemas.observed import kind_of
from schemas.topics import agency_topic

MESSAGE_BYTES_MAX = 256 * 1024
"""A message is no larger: the largest assessment seen is below 4 KiB."""
AHEAD_MAX = timedelta(days=1)
"""How far a sender's clock may run ahead of ours."""
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
"""Nothing that is told happened before; near the first year, a time cannot even be put into UTC."""
NESTING_MAX = 64
"""Levels of lists and objects; what is deeper can be read, but not written again."""

RETRACTED = "record.retracted.v1"
_TOPIC_OF = {name: agency_topic(name.split(".", 1)[0]) for name in EVENT_TYPES}
_LEGAL = {
    topic: sorted(name for name, own in _TOPIC_OF.items() if own == topic or name == RETRACTED)
    for topic in _TOPIC_OF.values()
}
"""Types that may be sent to each topic."""

Headers = Sequence[tuple[str, bytes | str | None]]
ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a message was refused.

    Args:
        code: one of `CODES`.
        field: path of the field, "" for the message as a whole.
        observed: kind of value seen.
        hint: what to send instead.
    """

    code: str
    field: str
    observed: str
    hint: str


CODES = (
    "not_json",
    "too_large",
    "wrong_envelope",
    "missing_field",
    "unknown_type",
    "unknown_version",
    "unknown_code",
    "naive_time",
    "future_time",
    "too_long",
    "wrong_topic",
    "identifier_not_pseudonym",
    "wrong_value",
    "missing_original",
    "unknown_authority",
    "unknown_content",
)


def validate_event(
    topic: str, value: bytes | None, headers: Headers | None, now: datetime
) -> Event | Rejection:
    """An agency's message: the event, or why not. Never raises for any bytes.

    Args:
        topic: where it was sent.
        headers: Kafka headers; with `ce_` headers the value is the data alone (CloudEvents binary mode).
        now: the reader's clock, for times in the future.
    """
    message = _message(value, headers)
    if isinstance(message, Rejection):
        return message
    name: Any = message.document.get("type")
    model = _model(name, EVENT_TYPES, _LEGAL.get(topic))
    if isinstance(model, Rejection):
        return model
    # Before the rest: who sends it elsewhere has not to mend it here first.
    if name != RETRACTED and _TOPIC_OF[name] != topic:
        return _wrong_topic("type", name)
    event = _checked(model, message, now)
    if isinstance(event, Rejection) or name != RETRACTED:
        return event
    return _taken_back(event, topic) or event


def _taken_back(event: Event, topic: str) -> Rejection | None:
    """An agency takes back only what is its own to tell."""
    told, field = event.data.type, "data.type"
    if told not in EVENT_TYPES or told == RETRACTED:
        return Rejection("unknown_type", field, kind_of(told), "the type of the event taken back")
    return None if _TOPIC_OF[told] == topic else _wrong_topic(field, told)


def _wrong_topic(field: str, told: str) -> Rejection:
    hint = f"the same to {_TOPIC_OF[told]}"
    return Rejection("wrong_topic", field, "a type of another source", hint)


def validate_link(value: bytes | None, headers: Headers | None, now: datetime) -> Event | Rejection:
    """A message of the links topic."""
    message = _message(value, headers)
    if isinstance(message, Rejection):
        return message
    model = _model(message.document.get("type"), LINK_TYPES)
    return model if isinstance(model, Rejection) else _checked(model, message, now)


def validate_decision(
    value: bytes | None, headers: Headers | None, now: datetime
) -> Decision | Rejection:
    """A message of the decisions topic."""
    message = _message(value, headers)
    return message if isinstance(message, Rejection) else _checked(Decision, message, now)


def validate_control(value: bytes | None) -> ControlMessage | Rejection:
    """A message of the control topic."""
    message = _message(value, None)
    if isinstance(message, Rejection):
        return message
    if ("control" in message.document) == ("heartbeat" in message.document):
        return Rejection("wrong_envelope", "", "neither or both", "one of control and heartbeat")
    return _parsed(ControlMessage, message)


class _Message(NamedTuple):
    """What was sent: read, and as JSON."""

    document: dict[str, Any]
    raw: bytes


def _message(value: bytes | None, headers: Headers | None) -> _Message | Rejection:
    if not value:
        return Rejection("not_json", "", "an empty message", "a CloudEvents 1.0 event as JSON")
    binary: dict[str, bytes | str | None] = {}
    size = len(value)
    if headers:  # most messages have none
        binary = {name[3:]: text for name, text in headers if name.startswith("ce_")}
        size += sum(len(name) + len(text or b"") for name, text in binary.items())
    if size > MESSAGE_BYTES_MAX:
        return Rejection("too_large", "", f"{size} bytes", f"at most {MESSAGE_BYTES_MAX} bytes")
    try:
        document = orjson.loads(value)
    except (orjson.JSONDecodeError, RecursionError):
        return Rejection(
            "not_json", "", "bytes that are not JSON in UTF-8", "a CloudEvents 1.0 event as JSON"
        )
    if _too_deep(document, value):
        return Rejection(
            "too_large", "", f"over {NESTING_MAX} levels", f"at most {NESTING_MAX} levels"
        )
    if binary:
        document = {**{name: _text(text) for name, text in binary.items()}, "data": document}
        value = orjson.dumps(document)
    if not isinstance(document, dict):
        return Rejection(
            "wrong_envelope", "", kind_of(document), "a JSON object with CloudEvents 1.0 attributes"
        )
    return _Message(document, value)


def _too_deep(document: object, value: bytes) -> bool:
    if value.count(b"[") + value.count(b"{") <= NESTING_MAX:
        return False
    level = [document]
    for _ in range(NESTING_MAX):
        inner = [
            each.values() if isinstance(each, dict) else each
            for each in level
            if isinstance(each, (dict, list))
        ]
        level = [value for values in inner for value in values]
    return any(isinstance(each, (dict, list)) for each in level)


def _text(value: bytes | str | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _model(
    name: Any, models: Mapping[str, type[Event]], legal: Sequence[str] | None = None
) -> type[Event] | Rejection:
    """The model of a type; `legal` are those to name instead of one that is unknown."""
    if name is None:
        return Rejection(
            "missing_field", "type", "nothing", "the event's type, such as police.notification.v1"
        )
    if not isinstance(name, str):
        return Rejection(
            "wrong_value", "type", kind_of(name), "text, such as police.notification.v1"
        )
    if name in models:
        return models[name]
    base = re.sub(r"\.v\d+$", "", name)
    versions = [known for known in models if known.rsplit(".v", 1)[0] == base]
    if versions:
        return Rejection(
            "unknown_version", "type", "a version not known here", f"one of {', '.join(versions)}"
        )
    hint = f"one of {', '.join(legal or sorted(models))}"
    return Rejection("unknown_type", "type", kind_of(name), hint)


def _checked(model: type[ModelT], message: _Message, now: datetime) -> ModelT | Rejection:
    result = _parsed(model, message)
    if isinstance(result, Rejection):
        return result
    limit, document = now + AHEAD_MAX, message.document
    for name, when in _WHEN.items():
        moment: datetime | None = getattr(result, name, None)
        if moment is None:
            continue
        if _bare(document[name]):
            return Rejection("wrong_value", name, "bare digits", _MOMENT)
        # The year first: comparing moments of different zones is as dear as validating a field.
        if moment.year <= EARLIEST.year and moment < EARLIEST:
            return Rejection("wrong_value", name, "a time before 1900", when)
        if moment > limit:
            return Rejection("future_time", name, "a time more than a day ahead", when)
    data = document.get("data", ())
    for name in () if _DATES.isdisjoint(data) else _DATES.intersection(data):
        if data[name] is not None and _bare(data[name]):
            wanted = _DAY if name == "date" else _MOMENT
            return Rejection("wrong_value", f"data.{name}", "bare digits", wanted)
    return result


def _bare(written: str) -> bool:
    """Digits alone, which are taken for seconds since 1970, where a date was to be written."""
    return written[4:5] != "-"


_MOMENT = "a date-time with zone, such as 2026-01-31T09:30:00Z"
_DAY = "a date, such as 2026-01-31"
_DATES = frozenset(
    name
    for event in EVENT_TYPES.values()
    for name, field in cast(
        "type[BaseModel]", event.model_fields["data"].annotation
    ).model_fields.items()
    if {date, AwareDatetime} & {field.annotation, *get_args(field.annotation)}
)
"""Fields of events' data that are dates."""

_WHEN = {
    "time": "the time it happened, in UTC; check the sender's clock",
    "recordedtime": "the time it was recorded, in UTC; check the sender's clock",
    "correctionof": "the original event's time",
}


def _parsed(model: type[ModelT], message: _Message) -> ModelT | Rejection:
    try:
        # `model_validate_json` is this and a look at arguments that are not given here, a fifth of its time.
        # To parse the bytes again takes no longer than to hand the document over, which cannot be strict about text.
        # Strict: a number is no yes or no, nor is text a number; the schemas that senders read say so too.
        found: ModelT = model.__pydantic_validator__.validate_json(message.raw, strict=True)
    except ValidationError as error:
        return _rejection(error.errors(include_url=False, include_context=True)[0])
    except (RecursionError, OverflowError, ValueError):
        return Rejection(
            "wrong_value", "", "values out of range", "values as the schema describes them"
        )
    return found


_TIMES = {"time", "recordedtime", "correctionof", "occurred", "returned", "effective"}
_ORIGINAL = {"occurred", "correctionof", "data.occurred"}


def _rejection(error: Any) -> Rejection:
    path = ".".join(map(_shown, error["loc"]))
    kind, value = error["type"], error["input"]
    last = str(error["loc"][-1]) if error["loc"] else ""
    if kind == "missing":
        if path in _ORIGINAL or last == "occurred":
            return Rejection(
                "missing_original",
                path,
                "nothing",
                "the original event's time: without it nothing can be taken back",
            )
        return Rejection("missing_field", path, "nothing", f"the field {path}")
    if path == "subject":
        return Rejection(
            "identifier_not_pseudonym",
            path,
            kind_of(value),
            "person- (or household-) and the first 32 hex digits of HMAC-SHA256 over the identifier, "
            "with the key agreed for the authority",
        )
    if kind == "timezone_aware":
        return Rejection(
            "naive_time",
            path,
            "a date-time without zone",
            _MOMENT,
        )
    if path == "specversion":
        return Rejection("wrong_envelope", path, kind_of(value), 'specversion "1.0"')
    if kind in ("string_too_long", "too_long"):
        return Rejection(
            "too_long",
            path,
            kind_of(value),
            f"at most {error['ctx'].get('max_length')} {'items' if kind == 'too_long' else 'characters'}",
        )
    if kind in ("enum", "literal_error"):
        return Rejection("unknown_code", path, kind_of(value), f"one of {error['ctx']['expected']}")
    if kind.startswith("date_"):
        return Rejection("wrong_value", path, kind_of(value), _DAY)
    if last in _TIMES or kind.startswith("datetime"):
        return Rejection("wrong_value", path, kind_of(value), _MOMENT)
    return Rejection("wrong_value", path, kind_of(value), _wanted(error))


def _shown(part: str | int) -> str:
    """A part of a field's path: a name that a sender made up is part of what was sent, and not shown."""
    return str(part) if isinstance(part, int) or part in _FIELDS else "?"


def _fields(model: type[BaseModel]) -> Iterator[str]:
    """Names of a model's fields, and of the models in them."""
    for name, field in model.model_fields.items():
        yield name
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _fields(inner)


_MODELS: tuple[type[BaseModel], ...] = (
    *EVENT_TYPES.values(),
    *LINK_TYPES.values(),
    Decision,
    ControlMessage,
)
_FIELDS = frozenset(name for model in _MODELS for name in _fields(model))


_AFTER_SEND = {
    "text that matches": "should match",
    "text of": "should have",
    "": "should be ",
}


def _wanted(error: Any) -> str:
    """Pydantic's own words, which name limits but, for these kinds, never the value; said after "send"."""
    if error["type"] in {"model_type", "model_attributes_type", "dict_type"}:
        return "an object, in braces"
    words = re.sub("^(Input|String|Value error,) ", "", cast("str", error["msg"]))
    for ours, theirs in _AFTER_SEND.items():
        words = words.replace(theirs, ours, 1)
    return words
