"""Logs: one canonical line a batch, JSON where nobody watches, never a payload or an identifier."""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path

import structlog

REASON_CHARACTERS_MAX = 500
FRAMES_MAX = 5
"""Innermost places of an error that are named."""


def configure(level: str = "info") -> None:
    """Send structured lines to stderr: pretty on a terminal, JSON elsewhere."""
    pretty = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def described(error: BaseException) -> dict[str, str]:
    """An error for a log line: its sentence where the sentence is ours, else only its kind and where it was raised.

    Sentences of libraries quote what they choke on: a field of a message, a command with its values.
    """
    ours = {cls.__module__.partition(".")[0] for cls in type(error).__mro__}
    if ours & {"ehps", "streams", "deploy"}:
        return {"error": type(error).__name__, "reason": str(error)[:REASON_CHARACTERS_MAX]}
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    places = (f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return {"error": type(error).__name__, "raised": " < ".join(reversed(list(places)))}


def logger() -> structlog.stdlib.BoundLogger:
    """The process's logger."""
    bound: structlog.stdlib.BoundLogger = structlog.get_logger()
    return bound
