"""Readings as the data of a binary COPY: the driver would take three times as long for the rows."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from struct import Struct, calcsize, pack
from typing import Final

import msgspec

from sensorflow.readings import KNOWN_MEASUREMENTS, Reading

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
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""From which PostgreSQL counts microseconds."""

# Each value comes after its length; what is not there has the length -1.
_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_FIRST_FIVE: Final = Struct("!hiqiqiqihiq").pack
_DOUBLE: Final = Struct("!id").pack
_LENGTH: Final = Struct("!i").pack
_NULL: Final = _LENGTH(-1)
_JSONB: Final = b"\x01"
"""The version of its binary form."""


@lru_cache(maxsize=64)
def _plain(length: int) -> Callable[..., bytes]:
    """What packs a row of the three measurements, no other, and an address of so many bytes."""
    return Struct(f"!hiqiqiqihiqidididii{length}s").pack


_PLACES: Final = tuple(
    map(
        calcsize,
        ("!hi", "!hiqi", "!hiqiqi", "!hiqiqiqihiqi", "!hiqiqiqihiqidi", "!hiqiqiqihiqididi"),
    )
)
"""Of id, sensor, recorded_at and the three measurements in such a row."""


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
        yield _rows(readings[piece], sensors[piece], first + start)
    yield _END


def _rows(readings: Sequence[Reading], sensors: Sequence[int], first: int) -> bytes:
    return rows_alike(readings, sensors, first) or rows_one_by_one(readings, sensors, first)


def rows_alike(readings: Sequence[Reading], sensors: Sequence[int], first: int) -> bytes | None:
    """The rows of readings that came together and have the three measurements, and no other.

    None where these are not such. Rows of one length differ in six values of eight bytes each: a
    column is packed at once, and every eighth byte of it goes into all rows at once.
    """
    sample = readings[0]
    received_at, clock, client_ip = sample.received_at, sample.clock, sample.client_ip
    if client_ip is None or not all(
        r.received_at is received_at and r.clock is clock and r.client_ip is client_ip
        for r in readings
    ):
        return None
    measured = [r.measurements for r in readings]
    if set(map(len, measured)) != {len(_KNOWN)}:
        return None
    number = len(readings)
    try:
        doubles = [[values[name] for values in measured] for name in KNOWN_MEASUREMENTS]
    except KeyError:
        return None
    integers = (
        range(first, first + number),
        sensors,
        [_microseconds(r.recorded_at) for r in readings],
    )
    address = client_ip.encode()
    head = (10, 8, 0, 8, 0, 8, 0, 2, clock, 8, _microseconds(received_at))
    row = _plain(len(address))(*head, 8, 0.0, 8, 0.0, 8, 0.0, -1, len(address), address)
    rows = bytearray(row * number)
    columns = [pack(f"!{number}q", *values) for values in integers]
    columns += [pack(f"!{number}d", *values) for values in doubles]
    for place, column in zip(_PLACES, columns, strict=True):
        for n in range(8):
            rows[place + n :: len(row)] = column[n::8]
    return bytes(rows)


def rows_one_by_one(readings: Sequence[Reading], sensors: Sequence[int], first: int) -> bytes:
    """The rows of any readings."""
    parts: list[bytes] = []
    add = parts.append
    # One request's readings share these two, so they are made once for all of them.
    received_at, received = _EPOCH, 0
    client_ip, address, plain = None, b"", _plain(0)
    for pk, (sensor, reading) in enumerate(zip(sensors, readings, strict=True), first):
        if reading.received_at is not received_at:
            received_at = reading.received_at
            received = _microseconds(received_at)
        if reading.client_ip is not client_ip:
            client_ip = reading.client_ip
            address = b"" if client_ip is None else client_ip.encode()
            plain = _plain(len(address))
        measurements = reading.measurements
        at = _microseconds(reading.recorded_at)
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


def _microseconds(moment: datetime) -> int:
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
