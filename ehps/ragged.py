"""Lists of unequal length, one after the other, and some of them picked out at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ehps.calendar import Ints


def picked(starts: Ints, which: Ints) -> tuple[Ints, Ints]:
    """The entries of some of the lists, one list after the other.

    Args:
        starts: list n is `starts[n]:starts[n+1]`.
        which: which lists; one may come several times.

    Returns:
        For each entry, which place of `which` it belongs to, and its index.
    """
    first = starts[which]
    size = starts[which + 1] - first
    row = np.arange(len(which)).repeat(size)
    return row, np.arange(len(row)) - (size.cumsum() - size - first).repeat(size)


class Ragged(NamedTuple):
    """List n is `values[starts[n]:starts[n+1]]`."""

    values: NDArray[Any]
    starts: Ints

    @classmethod
    def of(cls, parts: Sequence[bytes], dtype: np.dtype[Any]) -> Self:
        """From the bytes of each list."""
        starts = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=starts[1:])
        return cls(np.frombuffer(b"".join(parts), dtype), starts // dtype.itemsize)
