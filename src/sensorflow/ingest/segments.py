"""Segments of the spool: files of records, one record a batch, and what a crash makes of them."""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from sensorflow.readings import Reading

GROUP_READINGS: Final = 1_024
"""Readings of several records that are drained together.

Belongs to the format: after a crash the same records have to form the same groups.
"""

_MAGIC: Final = b"SFR1"
_HEAD: Final = struct.Struct("<4sIII")  # magic, length of the payload, its CRC-32, its readings


class Record(msgspec.Struct, array_like=True, gc=False):
    """One batch, as it was to be committed. `tried` tells that it may have been."""

    token: UUID
    readings: list[Reading]
    tried: bool


@dataclass
class Segment:
    """One file of records. `damaged` tells that what follows the readable records is not."""

    path: Path
    readings: int = 0
    bytes: int = 0
    damaged: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


def encode(token: UUID, readings: Sequence[Reading], *, tried: bool) -> bytes:
    """The record as it is appended to a segment."""
    payload = _encode(Record(token, list(readings), tried))
    return _HEAD.pack(_MAGIC, len(payload), zlib.crc32(payload), len(readings)) + payload


def write(descriptor: int, record: bytes, length: int) -> None:
    """Append the record and have it on disk; after a failure the file is as long as before."""
    try:
        left = memoryview(record)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fdatasync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, length)
        raise


def counted(path: Path) -> Segment:
    """The segment in a file, by what its records say of themselves."""
    content = path.read_bytes()
    segment = Segment(path, bytes=len(content))
    for start, _ in _spans(content, segment):
        segment.readings += _HEAD.unpack_from(content, start - _HEAD.size)[3]
    return segment


def groups(segment: Segment) -> Iterator[Record]:
    """What a segment holds, in order, as batches to be committed.

    Neighbours that were never tried form one batch, under the first one's token: committed one by
    one, small records would take far longer than they took to arrive.
    """
    group: Record | None = None
    for record in _records(segment):
        if group is None:
            group = record
        elif (
            not group.tried
            and not record.tried
            and len(group.readings) + len(record.readings) <= GROUP_READINGS
        ):
            group.readings += record.readings
        else:
            yield group
            group = record
    if group is not None:
        yield group


def _records(segment: Segment) -> Iterator[Record]:
    """The records of a segment, in order, up to the first one that is not whole.

    Sets `damaged` there: a record that a power cut tore was never acknowledged, but nobody can
    tell it from one that the disk has lost.
    """
    content = segment.path.read_bytes()
    for start, end in _spans(content, segment):
        payload = content[start:end]
        if zlib.crc32(payload) != _HEAD.unpack_from(content, start - _HEAD.size)[2]:
            segment.damaged = True
            return
        try:
            record = _decode(payload)
        except msgspec.MsgspecError:
            segment.damaged = True
            return
        yield record


def _spans(content: bytes, segment: Segment) -> Iterator[tuple[int, int]]:
    position = 0
    while position < len(content):
        if len(content) - position < _HEAD.size:
            segment.damaged = True
            return
        magic, length, _, _ = _HEAD.unpack_from(content, position)
        start = position + _HEAD.size
        position = start + length
        if magic != _MAGIC or position > len(content):
            segment.damaged = True
            return
        yield start, position
