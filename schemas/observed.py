"""What was seen in place of what was wanted, in words that do not give it away."""

from __future__ import annotations

import re


def kind_of(value: object) -> str:
    """What kind of value it is, in words that do not give it away."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return _kind_of_text(value)
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)} fields"
    return type(value).__name__


def _kind_of_text(value: str) -> str:
    digits = value.replace(" ", "").replace("-", "")
    if len(digits) == 10 and digits.isascii() and digits.isdigit():
        return "10 digits, " + ("a valid NHS number" if _nhs(digits) else "like an NHS number")
    if re.fullmatch(r"[A-Z]\d{11}[A-Z0-9]", digits):
        return "text like a unique pupil number"
    if re.fullmatch(r"[^\W\d_]+([ '\-][^\W\d_]+)+", value):
        return "text like a name"
    return f"text of {len(value)} characters"


def _nhs(digits: str) -> bool:
    """Modulus-11 check of an NHS number (NHS Data Dictionary)."""
    check = (
        11
        - sum(int(d) * weight for d, weight in zip(digits[:9], range(10, 1, -1), strict=True)) % 11
    )
    return check % 11 == int(digits[9])
