"""PostgreSQL's rows: how a batch goes there, and how rows come back."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from sensorflow.columns import ReadingColumns
from sensorflow.readings import KNOWN_MEASUREMENTS, Clock, Reading
from sensorflow.storage.postgres.copying import copy_columns, copy_data, extra_of
from sensorflow.times import moment

SELECT_OF: Final = (
    "SELECT r.id, s.sensor_id, r.recorded_at, r.clock, r.received_at,"
    " r.temperature, r.humidity, r.pressure, r.extra::text, r.client_ip "
)
SELECT_READINGS: Final = SELECT_OF + "FROM readings r JOIN sensors s ON s.id = r.sensor "

# OFFSET keeps the inner query as it is, one look into the index for each time. Without statistics
# PostgreSQL would else go through all readings of the sensor.
_AT_TIMES: Final = (
    "FROM unnest($1::text[], $2::timestamptz[]) AS n (name, time)"
    " JOIN sensors s ON s.sensor_id = n.name CROSS JOIN LATERAL (SELECT * FROM readings"
    " WHERE sensor = s.id AND recorded_at = n.time AND clock = $3 OFFSET 0) AS r ORDER BY r.id"
)
SELECT_AT_TIMES: Final = SELECT_OF + _AT_TIMES

# One look into the index for each sensor and partition.
_LATEST: Final = (
    "FROM sensors s CROSS JOIN LATERAL (SELECT * FROM readings"
    " WHERE sensor = s.id AND id <= $2"
    " ORDER BY recorded_at DESC LIMIT 1) AS r"
    " WHERE s.sensor_id = ANY ($1::text[]) ORDER BY r.id DESC LIMIT 1"
)
SELECT_LATEST: Final = SELECT_OF + _LATEST

_encode: Final = msgspec.json.Encoder().encode


class Batch:
    """Readings that are to be stored, in the forms that PostgreSQL takes them in."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._readings = readings
        self.size = len(readings)
        self.names: dict[str, int] = {}
        """Each sensor_id with its place, from 1."""
        self.first_seen: list[datetime] = []
        """When each of them was heard of first in this batch."""
        self.oldest: dict[int, datetime] = {}
        self.newest: dict[int, datetime] = {}
        """Of the device's times of each sensor that sent any, by its place."""
        self.repeats = False
        """Whether two readings share a sensor and a device's time."""
        self._places: list[int] = []
        if isinstance(readings, ReadingColumns):
            self._look_at_columns(readings)
        else:
            self._look_at_each()

    def _look_at_each(self) -> None:
        readings = self._readings
        ordered = True
        for reading in readings:
            place = self.names.get(reading.sensor_id)
            if place is None:
                self.names[reading.sensor_id] = place = len(self.names) + 1
                self.first_seen.append(reading.received_at)
            self._places.append(place)
            if reading.clock is Clock.DEVICE:
                time = reading.recorded_at
                newest = self.newest.get(place)
                if newest is None:
                    self.oldest[place] = self.newest[place] = time
                elif time > newest:
                    self.newest[place] = time
                else:
                    ordered = False
                    self.oldest[place] = min(time, self.oldest[place])
        if not ordered:
            times = [
                (place, reading.recorded_at)
                for place, reading in zip(self._places, readings, strict=True)
                if reading.clock is Clock.DEVICE
            ]
            self.repeats = len(set(times)) < len(times)

    def _look_at_columns(self, columns: ReadingColumns) -> None:
        names, start = self.names, 0
        oldest: dict[int, int] = {}
        newest: dict[int, int] = {}
        for sender in columns.senders:
            part = slice(start, start + sender.readings)
            start = part.stop
            sensor_ids, times = columns.sensor_ids[part], columns.times[part]
            for name in dict.fromkeys(sensor_ids):
                if name not in names:
                    names[name] = len(names) + 1
                    self.first_seen.append(sender.received_at)
            places: Sequence[int] = [names[name] for name in sensor_ids]
            self._places += places
            if columns.clock is Clock.SERVER:
                continue
            if sorted(times) != times:
                times, places = zip(*sorted(zip(times, places, strict=True)), strict=True)
            # Of what has one place a dictionary keeps the last.
            last = dict(zip(places, times, strict=True))
            first = dict(zip(reversed(places), reversed(times), strict=True))
            for place in last:
                oldest[place] = min(first[place], oldest.get(place, first[place]))
                newest[place] = max(last[place], newest.get(place, last[place]))
        self.oldest = {place: moment(time) for place, time in oldest.items()}
        self.newest = {place: moment(time) for place, time in newest.items()}
        if newest and len(set(columns.times)) < self.size:
            told = zip(self._places, columns.times, strict=True)
            self.repeats = len(set(told)) < self.size

    def by_place(self, times: Mapping[int, datetime]) -> str:
        """A value for each sensor, as PostgreSQL writes arrays; none at all where there is none."""
        return _literal([times.get(place) for place in self.names.values()])

    def arrays(self) -> list[str | list[str | None]]:
        """Column by column, as `append_readings` takes them.

        As PostgreSQL writes arrays, except for the extra measurements: the driver takes its time
        for every value. What nobody has is not sent.
        """
        readings = list(self._readings)
        return [
            _literal(self._places),
            _literal([r.received_at for r in readings]),
            _literal([r.recorded_at if r.clock is Clock.DEVICE else None for r in readings]),
            _literal([_measured_at(r) for r in readings]),
            _literal([r.measurements.get("temperature") for r in readings]),
            _literal([r.measurements.get("humidity") for r in readings]),
            _literal([r.measurements.get("pressure") for r in readings]),
            _trimmed([_extra(r) for r in readings]),
            f"{{{','.join([_quoted(r.client_ip) for r in readings])}}}",
        ]

    def copied(self, first: int, sensors: Sequence[int]) -> AsyncIterator[bytes]:
        """For COPY. `sensors` are the keys of `names`, in their order."""
        each = [sensors[place - 1] for place in self._places]
        if isinstance(self._readings, ReadingColumns):
            return copy_columns(self._readings, each, first)
        return copy_data(self._readings, each, first)


def _trimmed(values: list[Any]) -> list[Any]:
    """Nothing in place of Nones only: `unnest` fills up what is shorter."""
    return values if any(value is not None for value in values) else []


def _literal(values: list[Any]) -> str:
    """An array of numbers or times, which JSON writes as PostgreSQL does; `_trimmed`."""
    return "{" + _encode(_trimmed(values))[1:-1].decode() + "}"


@lru_cache(4_096)
def _quoted(text: str | None) -> str:
    """An element of an array, as PostgreSQL writes it. Devices' addresses come again and again."""
    if text is None:
        return "NULL"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _measured_at(reading: Reading) -> datetime | None:
    """When it was by the server's clock, where that is not when it was received."""
    if reading.clock is Clock.DEVICE or reading.recorded_at is reading.received_at:
        return None
    return reading.recorded_at


def _extra(reading: Reading) -> str | None:
    extra = extra_of(reading)
    return None if extra is None else extra.decode()


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
