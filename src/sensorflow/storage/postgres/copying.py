"""Readings as the data of a binary COPY: the driver would take three times as long for the rows."""

from collections.abc import Sequence
from datetime import UTC, datetime
from struct import Struct
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

_KNOWN: Final = frozenset(KNOWN_MEASUREMENTS)
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""From which PostgreSQL counts microseconds."""

# Each value comes after its length; what is not there has the length -1.
_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_FIRST_FIVE: Final = Struct("!hiqiqiqihiq").pack
_DOUBLE: Final = Struct("!id").pack
_DOUBLES: Final = Struct("!ididid").pack
_LENGTH: Final = Struct("!i").pack
_NULL: Final = _LENGTH(-1)
_JSONB: Final = b"\x01"
"""The version of its binary form."""

_encode_extra = msgspec.json.Encoder().encode


def copy_data(readings: Sequence[Reading], sensors: Sequence[int], first: int) -> bytes:
    """The rows of readings, from the id `first` on; `sensors` are their keys, one for each."""
    parts = [_HEADER]
    add = parts.append
    for pk, (sensor, reading) in enumerate(zip(sensors, readings, strict=True), first):
        at, received_at = _microseconds(reading.recorded_at), _microseconds(reading.received_at)
        add(_FIRST_FIVE(10, 8, pk, 8, sensor, 8, at, 2, reading.clock, 8, received_at))
        measurements = reading.measurements
        known = [measurements.get(name) for name in KNOWN_MEASUREMENTS]
        if None in known:
            for value in known:
                add(_NULL if value is None else _DOUBLE(8, value))
        else:
            temperature, humidity, pressure = known
            add(_DOUBLES(8, temperature, 8, humidity, 8, pressure))
        extra = extra_of(reading)
        add(_NULL if extra is None else _sized(_JSONB + extra))
        client_ip = reading.client_ip
        add(_NULL if client_ip is None else _sized(client_ip.encode()))
    add(_END)
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
