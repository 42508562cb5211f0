"""Guards the log: states continue only on the log that they were made from."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from confluent_kafka import Message

from ehps.log import HEAD_BYTES, LogRecord
from schemas.topics import LOG
from streams.errors import LogMismatch
from streams.logwriter import EHPS
from streams.ports import Topics


class LogGuard:
    """Knows the log by its topic's id and, a partition, by a digest of the record that was applied last."""

    def __init__(self, topics: Topics, topic_id: str, group: str = "") -> None:
        """`topic_id`: the broker's own, which a topic made anew does not share; `group`: whose scorers seal."""
        self._topics, self._topic_id, self._group = topics, topic_id, group

    def seal(self, last: LogRecord) -> bytes:
        """What to keep with the states after `last` was applied."""
        digest = _digest(last.compact, last.value)
        return orjson.dumps({"topic_id": self._topic_id, "digest": digest, "group": self._group})

    def check(self, partition: int, offset: int, seal: dict[str, Any] | None) -> None:
        """States that stand at `offset` may go on from there.

        Raises:
            LogMismatch: the log is another, or has lost records.
            BrokerUnavailable: it cannot be asked now.
        """
        if seal is not None and seal["topic_id"] != self._topic_id:
            raise LogMismatch(
                "the log is another topic than the states were made from: rebuild, or point to the right broker"
            )
        low, high = self._topics.watermarks(LOG)[partition]
        if not low <= offset <= high:
            raise LogMismatch(
                f"partition {partition} of the log holds {low}-{high}, the states stand at {offset}"
            )
        if seal is not None and low < offset:
            self._check_last(partition, offset - 1, seal["digest"])

    def check_gap(self, partition: int, held: int, low: int) -> None:
        """Nothing between the states' offset and what the log still holds may be missing."""
        if low > held:
            raise LogMismatch(
                f"partition {partition} of the log starts at {low}, but the states stand at {held}: "
                "records are gone"
            )

    def _check_last(self, partition: int, offset: int, digest: str) -> None:
        last = next(iter(self._topics.read(LOG, partition, offset, offset + 1)), None)
        if last is None or digest != _digest(dict(last.headers).get(EHPS, b""), last.value or b""):
            raise LogMismatch(
                f"record {offset} of partition {partition} is not the one that was applied"
            )


def log_record(message: Message) -> LogRecord:
    """A consumed message of the log.

    Raises:
        LogMismatch: something else than EHPS wrote it.
    """
    offset = message.offset() or 0
    headers: Any = message.headers()
    compact = dict(headers or ()).get(EHPS) or b""
    if len(compact) < HEAD_BYTES:
        raise LogMismatch(
            f"record {offset} of the log was not written by EHPS: it has no `{EHPS}` header"
        )
    return LogRecord.of(offset, message.key(), compact, message.value())


def _digest(compact: bytes, value: bytes) -> str:
    return hashlib.sha256(compact + value).hexdigest()
