"""Readings as the data of a binary COPY: the driver would take three times as long for the rows."""

import sys
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from struct import Struct, calcsize, pack
from typing import Final

import msgspec

from sensorflow.columns import ReadingColumns
from sensorflow.readings import KNOWN_MEASUREMENTS, Reading
from sensorflow.times import microseconds

COLUMNS: Final = (
    "id",
    "sensor",
    "recorded_at",
    "clock",
    "received_at",
    *KNOWN_MEASUREMENTS,
    "extra",
    "client_ip",
)
"""Of the table `readings`, as `copy_data` gives them."""

PIECE: Final = 250
"""Rows that are made at once."""

_KNOWN: Final = frozenset(KNOWN_MEASUREMENTS)
_EPOCH: Final = microseconds(datetime(2000, 1, 1, tzinfo=UTC))
"""From which PostgreSQL counts microseconds."""

# Each value comes after its length; what is not there has the length -1.
_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_FIRST_FIVE: Final = Struct("!hiqiqiqihiq").pack
_DOUBLE: Final = Struct("!id").pack
_LENGTH: Final = Struct("!i").pack
_LENGTH_SIZE: Final = calcsize("!i")
_DOUBLE_SIZE: Final = calcsize("!d")
_NULL: Final = _LENGTH(-1)
_JSONB: Final = b"\x01"
"""The version of its binary form."""


@lru_cache(maxsize=64)
def _plain(length: int) -> Callable[..., bytes]:
    """What packs a row of the three measurements, no other, and an address of so many bytes."""
    return Struct(f"!hiqiqiqihiqidididii{length}s").pack


_encode_extra = msgspec.json.Encoder().encode


async def copy_data(
    readings: Sequence[Reading], sensors: Sequence[int], first: int
) -> AsyncIterator[bytes]:
    """The rows of readings, from the id `first` on; `sensors` are their keys, one for each.

    In pieces, so that the database stores the first while the next is made.
    """
    yield _HEADER
    for start in range(0, len(readings), PIECE):
        piece = slice(start, start + PIECE)
        yield rows_one_by_one(readings[piece], sensors[piece], first + start)
    yield _END


async def copy_columns(
    columns: ReadingColumns, sensors: Sequence[int], first: int
) -> AsyncIterator[bytes]:
    """As `copy_data`. The rows of one request have one length, and differ in a few numbers."""
    yield _HEADER
    start = 0
    for sender in columns.senders:
        sample = rows_one_by_one(columns[start : start + 1], (0,), 0)
        end = start + sender.readings
        for begin in range(start, end, PIECE):
            piece = slice(begin, min(begin + PIECE, end))
            yield _rows_like(sample, columns, sensors, first, piece)
        start = end
    yield _END


def _rows_like(
    sample: bytes, columns: ReadingColumns, sensors: Sequence[int], first: int, piece: slice
) -> bytes:
    """A column is packed at once, and every eighth byte of it goes into all rows at once."""
    number = piece.stop - piece.start
    integers = (
        range(first + piece.start, first + piece.stop),
        sensors[piece],
        [time - _EPOCH for time in columns.times[piece]],
    )
    packed = [pack(f"!{number}q", *values) for values in integers]
    measured = [name for name in KNOWN_MEASUREMENTS if name in columns.measurements]
    packed += [_big_endian(columns.measurements[name][piece]) for name in measured]
    rows = bytearray(sample * number)
    for place, column in zip(_places(*measured), packed, strict=True):
        for n in range(8):
            rows[place + n :: len(sample)] = column[n::8]
    return bytes(rows)


def _big_endian(values: "array[float]") -> bytes:
    if sys.byteorder == "little":
        values.byteswap()
    return values.tobytes()


@lru_cache(maxsize=8)
def _places(*measurements: str) -> Sequence[int]:
    """Where id, sensor, recorded_at and these measurements are in a row that has no others."""
    places = [calcsize(head) for head in ("!hi", "!hiqi", "!hiqiqi")]
    end = calcsize("!hiqiqiqihiq")
    for name in KNOWN_MEASUREMENTS:
        end += _LENGTH_SIZE
        if name in measurements:
            places.append(end)
            end += _DOUBLE_SIZE
    return places


def rows_one_by_one(readings: Sequence[Reading], sensors: Sequence[int], first: int) -> bytes:
    """The rows of any readings."""
    parts: list[bytes] = []
    add = parts.append
    # One request's readings share these two, so they are made once for all of them.
    received_at, received = None, 0
    client_ip, address, plain = None, b"", _plain(0)
    for pk, (sensor, reading) in enumerate(zip(sensors, readings, strict=True), first):
        if reading.received_at is not received_at:
            received_at = reading.received_at
            received = microseconds(received_at) - _EPOCH
        if reading.client_ip is not client_ip:
            client_ip = reading.client_ip
            address = b"" if client_ip is None else client_ip.encode()
            plain = _plain(len(address))
        measurements = reading.measurements
        at = microseconds(reading.recorded_at) - _EPOCH
        head = (10, 8, pk, 8, sensor, 8, at, 2, reading.clock, 8, received)
        if client_ip is not None and measurements.keys() == _KNOWN:
            values = (
                *(8, measurements["temperature"], 8, measurements["humidity"]),
                *(8, measurements["pressure"]),
            )
            add(plain(*head, *values, -1, len(address), address))
            continue
        add(_FIRST_FIVE(*head))
        for name in KNOWN_MEASUREMENTS:
            value = measurements.get(name)
            add(_NULL if value is None else _DOUBLE(8, value))
        extra = extra_of(reading)
        add(_NULL if extra is None else _sized(_JSONB + extra))
        add(_NULL if client_ip is None else _sized(address))
    return b"".join(parts)


def extra_of(reading: Reading) -> bytes | None:
    """The measurements that have no column of their own, as JSON; None where there is none."""
    measurements = reading.measurements
    if measurements.keys() <= _KNOWN:
        return None
    return _encode_extra({n: v for n, v in measurements.items() if n not in _KNOWN})


def _sized(value: bytes) -> bytes:
    return _LENGTH(len(value)) + value
