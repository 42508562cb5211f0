"""The contracts: every message that enters or leaves EHPS, the code lists, the topics."""

from schemas.control import Control, ControlMessage, Heartbeat
from schemas.decisions import Decision
from schemas.envelope import Event
from schemas.events import EVENT_TYPES, SOURCES
from schemas.links import LINK_TYPES, LinkRemoved, PersonLinked, family_key
from schemas.outputs import Alert, DeadLetter, Score
from schemas.validate import (
    Rejection,
    validate_control,
    validate_decision,
    validate_event,
    validate_link,
)

__all__ = [
    "EVENT_TYPES",
    "LINK_TYPES",
    "SOURCES",
    "Alert",
    "Control",
    "ControlMessage",
    "DeadLetter",
    "Decision",
    "Event",
    "Heartbeat",
    "LinkRemoved",
    "PersonLinked",
    "Rejection",
    "Score",
    "family_key",
    "validate_control",
    "validate_decision",
    "validate_event",
    "validate_link",
]
