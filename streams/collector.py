"""Python's garbage collector, for processes that make thousands of objects a batch and let go of them at its end."""

from __future__ import annotations

import gc

OBJECTS = 50_000
"""New objects between two looks of the collector: with Python's 700 it takes a quarter of a busy process."""


def spare() -> None:
    """What starting made stays, and a batch's objects die with it: neither is worth looking through."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS, 20, 20)
