"""Keyed pseudonyms: the same person gets the same name in every file, under one secret key.

HMAC-SHA256 rather than a plain hash, because an authority's identifiers are short enough to be
tried one by one; without the key that search is of no use.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata

from streams.errors import StreamsError

MIN_KEY_BYTES = 16
_DIGITS = 32


class WeakKeyError(StreamsError):
    """The pseudonym key is too short to keep identifiers secret."""


def check_key(key: bytes) -> bytes:
    """Returns the key.

    Raises:
        WeakKeyError: if it is shorter than MIN_KEY_BYTES.
    """
    if len(key) < MIN_KEY_BYTES:
        msg = f"The pseudonym key has {len(key)} bytes; give it at least {MIN_KEY_BYTES}."
        raise WeakKeyError(msg)
    return key


def normalise(identifier: str) -> str:
    """Returns the one spelling of an identifier: NFKC, no spaces around it, upper case."""
    return unicodedata.normalize("NFKC", identifier).strip().upper()


def local_id(lea: str, la_child_id: str) -> str:
    """Returns the text that stands for a child of one authority: kind, DfE number, identifier."""
    return f"LAchildID|{lea}|{normalise(la_child_id)}"


def person_pseudonym(key: bytes, identity: str) -> str:
    """Returns `person-` and the first 32 hexadecimal digits of the keyed hash of an identity."""
    return f"person-{_digest(key, identity)}"


def family_pseudonym(key: bytes, identity: str) -> str:
    """Returns a family id that shows nothing of, and does not equal, its member's pseudonym."""
    return f"f-{_digest(key, f'family|{identity}')}"


def _digest(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:_DIGITS]
