"""The Department for Education's three-digit authority numbers and their ONS codes.

The table holds the 153 English authorities in being since April 2023. A number that is not in it
(an authority since abolished, or a made-up one) has to be told to the importer by hand.
"""

from __future__ import annotations

import csv
import functools
from importlib import resources
from typing import NamedTuple


class Authority(NamedTuple):
    """One authority: DfE number, ONS code and name."""

    lea: str
    ons: str
    name: str


@functools.cache
def authorities() -> dict[str, Authority]:
    """Returns every known authority by its three-digit DfE number."""
    table = resources.files(__package__).joinpath("authorities.csv")
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return {row["lea"]: Authority(**row) for row in rows}


def authority_of(lea: str) -> Authority | None:
    """Returns the authority with this DfE number, or None when the number is not known."""
    return authorities().get(lea)
