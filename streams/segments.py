"""Segments: the embedded stack's records on disk, read back by offset.

A segment is one file a partition, `<directory>/<topic>/<partition>.seg`: an 8-byte magic, then one
frame a record:

    u32 body length | u32 crc32 of the body | body
    body = i64 offset | i64 timestamp (ms since 1970, UTC) | i32 key length | i32 value length
           | u16 header count | key | value | headers
    header = u16 name length | i32 value length | name | value

Integers are little-endian; a length of -1 means null. The writer appends whole frames and never
changes one, so a file may be read while it grows: a frame that is not whole yet ends the reading
and is there the next time.
"""

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from streams.errors import StreamsError

MAGIC = b"EHPSSEG1"
BODY_BYTES_MAX = 16 << 20
"""A longer frame is damage: Kafka's own limit on a message is 1 MB here."""
TOPIC_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,248}")
"""Names that are safe as a folder (Kafka's rule, without a leading dot or dash)."""

_FRAME = struct.Struct("<II")
_BODY = struct.Struct("<qqiiH")
_HEADER = struct.Struct("<Hi")
_READ_BUFFER_BYTES = 1 << 20


class SegmentDamaged(StreamsError):
    """A segment holds bytes that are not a frame, and more follow: something else changed it."""


class Record(NamedTuple):
    """One record of a topic, as the broker delivered it.

    Attributes:
        topic: Topic name.
        partition: Partition number, from 0.
        offset: Offset in the partition, from 0.
        timestamp_ms: Milliseconds since 1970 (UTC), or -1 when the broker gave none.
        key: Key, or None.
        value: Value, or None (a tombstone).
        headers: Name and value of each header, in order; a null header value reads as empty.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def segment_path(directory: Path, topic: str, partition: int) -> Path:
    """Where the segment of a partition lives."""
    return directory / topic / f"{partition}.seg"


def encode_record(
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]],
) -> bytes:
    """The frame of one record."""
    parts = [
        _BODY.pack(offset, timestamp_ms, _length(key), _length(value), len(headers)),
        key or b"",
        value or b"",
    ]
    for name, content in headers:
        encoded = name.encode()
        parts += (_HEADER.pack(len(encoded), _length(content)), encoded, content or b"")
    body = b"".join(parts)
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def read_segments(
    directory: Path, topic: str, partition: int, from_offset: int = 0
) -> Iterator[Record]:
    """Records of one partition in offset order, from `from_offset` (>= 0) to the end so far.

    A partition that has no segment yet has no records. A torn tail is ignored.

    Raises:
        SegmentDamaged: A frame in the middle fails its checksum.
    """
    try:
        file = segment_path(directory, topic, partition).open("rb", _READ_BUFFER_BYTES)
    except FileNotFoundError:
        return
    with file:
        magic = file.read(len(MAGIC))
        if magic != MAGIC:
            if MAGIC.startswith(magic):
                return
            msg = f"{file.name} does not start with {MAGIC!r}: it is not a segment"
            raise SegmentDamaged(msg)
        for body in _bodies(file):
            if _offset_of(body) >= from_offset:
                yield _decode(topic, partition, body)


def end_offset(directory: Path, topic: str, partition: int) -> int:
    """The offset after the last whole record of a partition; 0 when there is none."""
    end = 0
    for record in read_segments(directory, topic, partition):
        end = record.offset + 1
    return end


def segment_partitions(directory: Path, topic: str) -> list[int]:
    """Numbers of the partitions that have a segment, ascending."""
    return sorted(int(path.stem) for path in (directory / topic).glob("*.seg"))


def _length(content: bytes | None) -> int:
    return -1 if content is None else len(content)


def _bodies(file: BinaryIO) -> Iterator[bytes]:
    while len(head := file.read(_FRAME.size)) == _FRAME.size:
        length, checksum = _FRAME.unpack(head)
        whole = _BODY.size <= length <= BODY_BYTES_MAX
        body = file.read(length) if whole else b""
        if whole and len(body) < length:
            return
        if not whole or zlib.crc32(body) != checksum:
            if whole and not file.read(1):
                return
            msg = (
                f"{file.name}: the frame that ends at byte {file.tell()} fails its checksum; "
                "records before it are sound, delete the file to archive again"
            )
            raise SegmentDamaged(msg)
        yield body


def _offset_of(body: bytes) -> int:
    offset: int = _BODY.unpack_from(body)[0]
    return offset


def _decode(topic: str, partition: int, body: bytes) -> Record:
    offset, timestamp_ms, key_length, value_length, header_count = _BODY.unpack_from(body)
    key, at = _take(body, _BODY.size, key_length)
    value, at = _take(body, at, value_length)
    headers = []
    for _ in range(header_count):
        name_length, content_length = _HEADER.unpack_from(body, at)
        name, at = _take(body, at + _HEADER.size, name_length)
        content, at = _take(body, at, content_length)
        headers.append(((name or b"").decode(), content or b""))
    return Record(topic, partition, offset, timestamp_ms, key, value, headers)


def _take(body: bytes, at: int, length: int) -> tuple[bytes | None, int]:
    if length < 0:
        return None, at
    return body[at : at + length], at + length
