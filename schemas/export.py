"""The contracts for those who do not use Python: JSON Schema 2020-12 for each type and version, and AsyncAPI 3.0."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel

from schemas.control import ControlMessage
from schemas.decisions import Decision
from schemas.events import EVENT_TYPES
from schemas.links import LINK_TYPES
from schemas.outputs import Alert, DeadLetter, Score
from schemas.topics import (
    ALERTS,
    ALERTS_SHADOW,
    CONTROL,
    DECISIONS,
    LINKS,
    SCORES,
    TOPICS,
    Topic,
    agency_topic,
    source_of,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_OTHERS: dict[str, type[BaseModel]] = {
    "decision.made.v1": Decision,
    "control.v1": ControlMessage,
    "alert.v1": Alert,
    "score.v1": Score,
    "dead-letter.v1": DeadLetter,
}
MODELS: dict[str, type[BaseModel]] = {**EVENT_TYPES, **LINK_TYPES, **_OTHERS}
"""Every message by type and version."""


def schema_of(name: str) -> dict[str, Any]:
    """JSON Schema of one message type, such as police.notification.v1."""
    mode: Any = (
        "serialization" if name in ("alert.v1", "score.v1", "dead-letter.v1") else "validation"
    )
    return {
        "$schema": DIALECT,
        "$id": f"urn:ehps:schema:{name}",
        **MODELS[name].model_json_schema(mode=mode),
    }


def path_of(name: str) -> str:
    """Where a type's schema lives: police.notification.v1 -> police.notification/1.json."""
    match = re.fullmatch(r"(.+)\.v(\d+)", name)
    if match is None:
        raise ValueError(f"{name} does not end in a version")
    return f"{match[1]}/{match[2]}.json"


def files() -> Iterator[tuple[str, bytes]]:
    """Every exported file: path below `schemas/json`, and its bytes."""
    for name in sorted(MODELS):
        yield path_of(name), _pretty(schema_of(name))
    yield "asyncapi.json", _pretty(asyncapi())


def write_schemas(directory: Path) -> list[Path]:
    """Write every file below `directory`; returns the paths written."""
    written = []
    for name, content in files():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written.append(path)
    return written


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document: each topic an agency or front door uses, with its messages."""
    channels = {topic.name: _channel(topic) for topic in TOPICS if messages_of(topic)}
    operations = {
        f"{'send' if role in topic.writers else 'receive'}-{topic.name}-{role}": {
            "action": "send" if role in topic.writers else "receive",
            "channel": {"$ref": f"#/channels/{topic.name.replace('/', '~1')}"},
            "summary": f"{role} {'writes' if role in topic.writers else 'reads'} {topic.name}",
        }
        for topic in TOPICS
        if topic.name in channels
        for role in (*topic.writers, *topic.readers)
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "EHPS",
            "version": "1.0.0",
            "description": "Early Help Profiling System: topics and messages.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": {name: _message(name) for name in sorted(MODELS)}},
    }


def messages_of(topic: Topic) -> list[str]:
    """Types that travel on a topic."""
    fixed = {
        LINKS: sorted(LINK_TYPES),
        DECISIONS: ["decision.made.v1"],
        CONTROL: ["control.v1"],
        ALERTS: ["alert.v1"],
        ALERTS_SHADOW: ["alert.v1"],
        SCORES: ["score.v1"],
    }
    if topic.name in fixed:
        return fixed[topic.name]
    if topic.name.startswith("agency."):
        return sorted(
            n
            for n in EVENT_TYPES
            if n.startswith("record.") or agency_topic(n.split(".")[0]) == topic.name
        )
    return []


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"Key: {topic.key}. Value: {topic.value}. Kind of sender: {source_of(topic.name)}.",
        "messages": {
            name: {"$ref": f"#/components/messages/{name}"} for name in messages_of(topic)
        },
        "bindings": {"kafka": {"topic": topic.name, "bindingVersion": "0.5.0"}},
    }


def _message(name: str) -> dict[str, Any]:
    model = MODELS[name]
    summary = (model.__doc__ or "").strip().split("\n")[0]
    payload = {
        "schemaFormat": "application/schema+json;version=draft-2020-12",
        "schema": {"$ref": path_of(name)},
    }
    return {"name": name, "summary": summary, "contentType": "application/json", "payload": payload}


def _pretty(document: dict[str, Any]) -> bytes:
    return orjson.dumps(
        document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    )
