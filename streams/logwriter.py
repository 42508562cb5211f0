"""Writes records of `ehps.log.v1`. Every writer of the log goes through here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

from ehps.log import RecordKind, pack_event, pack_other, pack_retraction
from schemas.control import Control, Heartbeat
from schemas.envelope import Event
from schemas.links import authority_of
from schemas.topics import LOG
from streams.kafka import Sender

EHPS, INPUT, RECEIVED = "ehps", "ehps-input", "ehps-received"
"""Headers of a log record: its compact form, the coordinates of the input that it came from, and when the
broker received that input (ms since 1970, 8 bytes, big-endian), for the measure of latency alone."""

NO_TIME = datetime.fromtimestamp(0, UTC)


CLOCK_MS_MIN = 1_577_836_800_000
"""2020: a broker's time before it is none. The embedded one answers every record with 1.2 s after 1970."""


class LogWriter:
    """Puts records on the log; `confirm` makes sure of them."""

    def __init__(self, sender: Sender, partitions: int) -> None:
        """`partitions` of the log, which controls and heartbeats all reach."""
        self._sender, self._partitions = sender, partitions

    def event(
        self, family: str, event: Event, value: bytes, coordinates: str, received_ms: int = -1
    ) -> None:
        """An event or retraction of a member of `family` (authority:family).

        Args:
            received_ms: the broker's time of the input; -1: not known, or long ago as it was parked.
        """
        pack = pack_retraction if event.type == "record.retracted.v1" else pack_event
        self._put(family, pack(event, authority_of(family)), value, coordinates, received_ms)

    def membership(self, family: str, document: Mapping[str, object], coordinates: str) -> None:
        """Somebody joins or leaves `family`."""
        self._put(
            family,
            pack_other(RecordKind.MEMBERSHIP, authority_of(family)),
            orjson.dumps(document),
            coordinates,
        )

    def decision(self, family: str, value: bytes, coordinates: str) -> None:
        """A professional decided."""
        self._put(family, pack_other(RecordKind.DECISION, authority_of(family)), value, coordinates)

    def control(self, control: Control) -> None:
        """A control, to every partition, confirmed. A retry writes it again: its id tells."""
        self._everywhere(RecordKind.CONTROL, control)
        self._sender.confirm()

    def beat(self, *heartbeats: Heartbeat) -> None:
        """Heartbeats in this order, to every partition, confirmed."""
        for heartbeat in heartbeats:
            self._everywhere(RecordKind.HEARTBEAT, heartbeat)
        self._sender.confirm()

    def broker_time(self, la: str) -> datetime | None:
        """Ask the broker for its time, by a heartbeat of 1970, which tells an authority nothing; None: it has none.

        Only the answer to a record says what time it is there.
        """
        told = Heartbeat(la=la, time=NO_TIME, sources={})
        compact = pack_other(RecordKind.HEARTBEAT, la)
        self._sender.send(LOG, told.model_dump_json().encode(), b"", [(EHPS, compact)], 0)
        appended_ms = self._sender.confirm()
        return (
            None if appended_ms < CLOCK_MS_MIN else datetime.fromtimestamp(appended_ms / 1000, UTC)
        )

    def confirm(self) -> None:
        """Wait until everything written is with the broker."""
        self._sender.confirm()

    def _put(
        self, family: str, compact: bytes, value: bytes, coordinates: str, received_ms: int = -1
    ) -> None:
        headers = [(EHPS, compact), (INPUT, coordinates.encode())]
        if received_ms >= 0:
            headers.append((RECEIVED, received_ms.to_bytes(8, "big")))
        self._sender.send(LOG, value, family, headers)

    def _everywhere(self, kind: RecordKind, what: Control | Heartbeat) -> None:
        compact, value = pack_other(kind, what.la), what.model_dump_json().encode()
        for partition in range(self._partitions):
            self._sender.send(LOG, value, b"", [(EHPS, compact)], partition)
