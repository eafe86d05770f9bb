"""PostgreSQL's rows: how a batch becomes the arguments of one call, and how rows come back."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from sensorflow.readings import KNOWN_MEASUREMENTS, Clock, Reading

SELECT_READINGS: Final = (
    "SELECT r.id, s.sensor_id, r.recorded_at, r.clock, r.received_at,"
    " r.temperature, r.humidity, r.pressure, r.extra::text, r.client_ip"
    " FROM readings r JOIN sensors s ON s.id = r.sensor "
)

_encode_extra = msgspec.json.Encoder().encode


class Columns:
    """A batch, column by column, as `append_readings` takes it."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self.names: dict[str, int] = {}
        """Each sensor_id of the batch with its place, from 1."""
        self.first_seen: list[datetime] = []
        self.oldest: list[datetime | None] = []
        self.newest: list[datetime | None] = []
        """Of the device's times of each sensor; None where it sent none."""
        self.repeats = False
        """Whether two readings share a sensor and a device's time."""
        self.sensors: list[int] = []
        times: set[tuple[int, datetime]] = set()
        for reading in readings:
            place = self.names.get(reading.sensor_id)
            if place is None:
                self.names[reading.sensor_id] = place = len(self.names) + 1
                self.first_seen.append(reading.received_at)
                self.oldest.append(None)
                self.newest.append(None)
            self.sensors.append(place)
            if reading.clock is Clock.DEVICE:
                self._note(place, reading.recorded_at, times)
        self.rows: list[list[Any]] = [
            [r.recorded_at for r in readings],
            [r.clock for r in readings],
            [r.received_at for r in readings],
            [r.measurements.get("temperature") for r in readings],
            [r.measurements.get("humidity") for r in readings],
            [r.measurements.get("pressure") for r in readings],
            [_extra(r) for r in readings],
            [r.client_ip for r in readings],
        ]

    def _note(self, place: int, time: datetime, times: set[tuple[int, datetime]]) -> None:
        oldest, newest = self.oldest[place - 1], self.newest[place - 1]
        if oldest is None or time < oldest:
            self.oldest[place - 1] = time
        if newest is None or time > newest:
            self.newest[place - 1] = time
        self.repeats = self.repeats or (place, time) in times
        times.add((place, time))


def _extra(reading: Reading) -> str | None:
    measurements = reading.measurements
    if measurements.keys() <= _KNOWN:
        return None
    return _encode_extra({n: v for n, v in measurements.items() if n not in _KNOWN}).decode()


_KNOWN: Final = frozenset(KNOWN_MEASUREMENTS)


def from_row(row: Iterable[Any]) -> Reading:
    """The reading in a row of `SELECT_READINGS`."""
    pk, sensor_id, recorded_at, clock, received_at, *known, extra, client_ip = row
    measurements = {
        name: value
        for name, value in zip(KNOWN_MEASUREMENTS, known, strict=True)
        if value is not None
    }
    if extra is not None:
        measurements |= msgspec.json.decode(extra, type=dict[str, float])
    return Reading(sensor_id, measurements, recorded_at, Clock(clock), received_at, client_ip, pk)
