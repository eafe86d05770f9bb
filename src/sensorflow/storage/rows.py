"""SQLite's rows: how readings become them, how many go in at once, and how they come back.

Times are whole microseconds since 1970-01-01 UTC.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from sensorflow.readings import KNOWN_MEASUREMENTS, Clock, Reading
from sensorflow.times import microseconds, moment

ROWS_PER_STATEMENT: Final = 256  # times 10 columns, well below SQLite's 32,766 variables
READING_COLUMNS: Final = 10

INSERT_SENSORS: Final = "INSERT INTO sensors (sensor_id, first_seen)"
INSERT_READINGS: Final = (
    "INSERT INTO readings (id, sensor, recorded_at, clock, received_at,"
    " temperature, humidity, pressure, extra, client_ip)"
)
SELECT_READINGS: Final = (
    "SELECT r.id, s.sensor_id, r.recorded_at, r.clock, r.received_at,"
    " r.temperature, r.humidity, r.pressure, r.extra, r.client_ip"
    " FROM readings r JOIN sensors s ON s.id = r.sensor "
)
OF_SENSORS: Final = "AND s.sensor_id IN (SELECT value FROM json_each(?)) "
OLDEST: Final = (
    "SELECT coalesce((SELECT min(id) FROM readings),"
    " (SELECT seq + 1 FROM sqlite_sequence WHERE name = 'readings'))"
)
LATEST: Final = (
    "WHERE r.id IN (SELECT (SELECT id FROM readings WHERE sensor = n.id"
    " AND id <= ? ORDER BY recorded_at DESC LIMIT 1)"
    " FROM sensors n WHERE n.sensor_id IN (SELECT value FROM json_each(?)))"
    " ORDER BY r.id DESC LIMIT 1"
)

AT_TIMES: Final = (
    "WHERE r.id IN (SELECT t.id FROM json_each(?) n"
    " CROSS JOIN sensors w ON w.sensor_id = json_extract(n.value, '$[0]')"
    " CROSS JOIN readings t ON t.sensor = w.id AND t.recorded_at = json_extract(n.value, '$[1]')"
    " WHERE t.clock = ?) ORDER BY r.id"
)


def as_json(values: Iterable[object]) -> str:
    """Names or rows as one JSON array, so that any number of them fits one prepared statement."""
    return msgspec.json.encode(list(values)).decode()


def insert_rows(
    cursor: sqlite3.Cursor, insert: str, values: list[Any], columns: int, conflict: str = ""
) -> None:
    """Insert all rows with as few statements as possible, of few different texts.

    `conflict` is the clause for rows that are there already.

    Each statement lets go of the interpreter lock and then has to wait for the busy event loop
    to get it back; `executemany` would do so for every row. So a batch is one statement, padded
    to a power of two with rows of NULLs that its WHERE drops: nine prepared statements serve
    every batch.
    """
    row = "(" + "?," * (columns - 1) + "?)"
    step = ROWS_PER_STATEMENT * columns
    for start in range(0, len(values), step):
        part = values[start : start + step]
        rows = len(part) // columns
        size = 1 << (rows - 1).bit_length()
        part += [None] * ((size - rows) * columns)
        many = ",".join([row] * size)
        cursor.execute(
            f"{insert} SELECT * FROM (VALUES {many}) WHERE column1 IS NOT NULL {conflict}",  # noqa: S608
            part,
        )


def to_row(reading: Reading, sensor: int, recorded_at: int) -> tuple[Any, ...]:
    """The values of `INSERT_READINGS`, in its order; `recorded_at` in microseconds."""
    measurements = reading.measurements
    extra = {n: v for n, v in measurements.items() if n not in KNOWN_MEASUREMENTS}
    received_at = (
        recorded_at
        if reading.received_at is reading.recorded_at
        else microseconds(reading.received_at)
    )
    return (
        reading.id,
        sensor,
        recorded_at,
        reading.clock,
        received_at,
        measurements.get("temperature"),
        measurements.get("humidity"),
        measurements.get("pressure"),
        msgspec.json.encode(extra).decode() if extra else None,
        reading.client_ip,
    )


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
    return Reading(
        sensor_id,
        measurements,
        moment(recorded_at),
        Clock(clock),
        moment(received_at),
        client_ip,
        pk,
    )
