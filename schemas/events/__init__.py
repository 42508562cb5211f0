"""Every event type, one module for each kind of sending agency."""

from __future__ import annotations

from schemas.envelope import Event
from schemas.events import (
    benefits,
    early_help,
    education,
    health,
    housing,
    police,
    record,
    social_care,
    youth_justice,
)

SOURCES = (
    "police",
    "education",
    "health",
    "housing",
    "benefits",
    "youth-justice",
    "early-help",
    "social-care",
)
"""Kinds of sending agency: the first segment of an event's type, and the middle of its topic's name."""


def type_of(model: type[Event]) -> str:
    """The `type` that a model stands for, version included."""
    return str(model.model_fields["type"].annotation.__args__[0])  # type: ignore[union-attr]


EVENT_TYPES: dict[str, type[Event]] = {
    type_of(model): model
    for module in (
        police,
        education,
        health,
        housing,
        benefits,
        youth_justice,
        early_help,
        social_care,
        record,
    )
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, Event) and model is not Event
}

__all__ = ["EVENT_TYPES", "SOURCES", "type_of"]
