"""Authorities that the look-ups do not name: refused only where the log does not name them either.

Redis may have gone back to before an authority was set up, and call itself whole. But before an authority's first event
can be sent its first heartbeat is on the log, so that the state of a partition, and the log after it, tell for certain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ehps.advance import Needs
from ehps.authority import beat_of
from ehps.errors import InvariantBroken
from ehps.log import HEAD_BYTES, RecordKind
from ehps.state import Partition
from schemas.topics import LOG
from streams.errors import BrokerUnavailable, LookupsLost
from streams.logwriter import EHPS
from streams.ports import Lookups, States, Topics
from streams.segments import Record

PARTITION = 0
"""Any would do: every partition of the log has the heartbeats of all authorities."""


def end_of(topics: Topics) -> int:
    """Where the log's partition ends now.

    Raises:
        BrokerUnavailable: the broker, just started, does not know it.
    """
    marks = topics.watermarks(LOG).get(PARTITION)
    if marks is None:
        raise BrokerUnavailable(f"the broker does not know {LOG} now")
    return marks[1]


def beats(topics: Topics, start: int, end: int) -> Iterator[tuple[str, Record]]:
    """Authority and record of every heartbeat between two offsets of the log's partition."""
    for record in topics.read(LOG, PARTITION, start, end):
        compact = dict(record.headers).get(EHPS, b"\0")
        if compact[0] == RecordKind.HEARTBEAT:
            yield compact[1:HEAD_BYTES].decode(), record


class Unknown:
    """Asks state and log. That takes a while, and is for those alone that would be refused."""

    def __init__(self, registry: Lookups, states: States, topics: Topics) -> None:
        self._registry, self._states, self._topics = registry, states, topics
        self._named: set[str] = set()
        self._read_to = 0
        """Everybody with a heartbeat before this offset is among `_named`."""

    def require(self, authorities: Collection[str]) -> None:
        """Return if none of these was ever set up.

        Raises:
            LookupsLost: one was. If Redis does not know it yet, all are looked for on the log again, within a sweep.
        """
        if not authorities:
            return
        self._read_on()
        known = self._named & set(authorities)
        if known:
            if known - self._registry.authorities().keys():
                self._registry.doubt()
            raise LookupsLost("an authority is on the log that Redis did not know")

    def _read_on(self) -> None:
        """The state names who has a heartbeat up to its offset, the log who has one after it."""
        snapshot = self._states.read({PARTITION: Needs([], [])})[PARTITION]
        try:
            held, offset = Partition.decode(snapshot.partition).authorities, snapshot.offset
        except InvariantBroken:  # scorers of another version, amid an upgrade: the log tells all
            held, offset = {}, 0
        self._named |= {la for la, told in held.items() if told.started is not None}
        start, end = max(offset, self._read_to), end_of(self._topics)
        if start < end:
            after = beats(self._topics, start, end)
            self._named |= {la for la, record in after if beat_of(record.value or b"").time}
        self._read_to = max(start, end)
