"""What is known of sensors in SQLite, and what both databases share of it.

Each row of a statement lets go of the interpreter, so what the writing thread reads and writes goes
as one JSON value.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from sensorflow.sensors import Change, Counts, Description, Details, Latest, Place, Sensor, State
from sensorflow.storage.rollups import SummedPage, add
from sensorflow.storage.rows import as_json
from sensorflow.times import microseconds, moment

encode: Final = msgspec.json.Encoder().encode
decode_latest: Final = msgspec.json.Decoder(dict[str, Latest]).decode
decode_described: Final = msgspec.json.Decoder(dict[str, Description]).decode
decode_outcomes: Final = msgspec.json.Decoder(dict[str, int]).decode

CURSOR: Final = "SELECT cursor FROM followers WHERE name = 'history'"
_MOVE: Final = "UPDATE followers SET cursor = ? WHERE name = 'history' AND cursor = ?"
STATES: Final = (
    "SELECT json_group_array(json_array(sensor, stored, last_id, last_seen, latest))"
    " FROM sensor_states WHERE sensor IN (SELECT value FROM json_each(?))"
)
_FOLLOW: Final = (
    "INSERT OR REPLACE INTO sensor_states (sensor, stored, last_id, last_seen, latest)"
    " SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),"
    " json_extract(value, '$[2]'), json_extract(value, '$[3]'), json_extract(value, '$[4]')"
    " FROM json_each(?) WHERE json_extract(value, '$[0]') IN (SELECT id FROM sensors)"
)
_CREATE: Final = (
    "INSERT INTO sensors (sensor_id, first_seen)"
    " SELECT DISTINCT json_extract(value, '$[0]'), ? FROM json_each(?) WHERE"
    " NOT EXISTS (SELECT 1 FROM sensors WHERE sensor_id = json_extract(value, '$[0]'))"
)
_COUNT: Final = (
    "INSERT INTO sensor_counts (sensor, outcome, readings)"
    " SELECT s.id, json_extract(value, '$[1]'), json_extract(value, '$[2]')"
    " FROM json_each(?) JOIN sensors s ON s.sensor_id = json_extract(value, '$[0]') WHERE true"
    " ON CONFLICT (sensor, outcome) DO UPDATE SET readings = readings + excluded.readings"
)
_SENSORS: Final = (
    "SELECT s.id, s.sensor_id, s.first_seen, t.stored, t.last_id, t.last_seen, t.latest,"
    " (SELECT json_group_object(outcome, readings) FROM sensor_counts WHERE sensor = s.id),"
    " d.name, d.location, d.measurements FROM sensors s"
    " LEFT JOIN sensor_states t ON t.sensor = s.id LEFT JOIN sensor_details d ON d.sensor = s.id "
)
ONE: Final = _SENSORS + "WHERE s.sensor_id = ?"
DETAILS: Final = (
    "SELECT s.id, d.name, d.location, d.measurements FROM sensors s"
    " LEFT JOIN sensor_details d ON d.sensor = s.id WHERE s.sensor_id = ?"
)
_DESCRIBE: Final = (
    "INSERT OR REPLACE INTO sensor_details (sensor, name, location, measurements)"
    " VALUES (?, ?, ?, ?)"
)
_HEARD: Final = "coalesce(t.last_seen, s.first_seen)"


def flat(counts: Counts) -> list[tuple[str, str, int]]:
    """Each sensor_id and outcome with its number, in an order that is the same for everybody."""
    return sorted(
        (sensor_id, outcome, number)
        for sensor_id, outcomes in counts.items()
        for outcome, number in outcomes.items()
    )


def states(rows: str) -> dict[int, State]:
    """What the one row of `STATES` holds."""
    return {
        sensor: State(stored, last_id, moment(last_seen), decode_latest(latest))
        for sensor, stored, last_id, last_seen, latest in msgspec.json.decode(rows)
    }


def write_states(cursor: sqlite3.Cursor, page: SummedPage, changed: Mapping[int, State]) -> bool:
    """Within a transaction; as `storage.base.Storage.follow` promises."""
    cursor.execute(_MOVE, (page.until, page.after))
    if cursor.rowcount == 0:
        return False
    rows = [
        (
            sensor,
            state.stored,
            state.last_id,
            microseconds(state.last_seen),
            encode(state.latest).decode(),
        )
        for sensor, state in changed.items()
    ]
    cursor.execute(_FOLLOW, (as_json(rows),))
    add(cursor, page.minutes)
    return True


def write_counts(cursor: sqlite3.Cursor, counts: Counts, now: datetime) -> None:
    """Within a transaction; as `storage.base.Storage.count` promises."""
    given = as_json(flat(counts))
    cursor.execute(_CREATE, (microseconds(now), given))
    cursor.execute(_COUNT, (given,))


def select_page(limit: int, after: Place | None, containing: str) -> tuple[str, tuple[Any, ...]]:
    """The query of `storage.base.Storage.sensors`, with its parameters."""
    query = _SENSORS + "WHERE (instr(s.sensor_id, ?1) > 0 OR instr(d.name, ?1) > 0) "
    parameters: tuple[Any, ...] = (containing,)
    if after is not None:
        query += f"AND ({_HEARD}, s.id) < (?2, ?3) "
        parameters += (microseconds(after[0]), after[1])
    tail = f"ORDER BY {_HEARD} DESC, s.id DESC LIMIT ?{len(parameters) + 1}"
    return query + tail, (*parameters, limit)


def from_row(row: Sequence[Any]) -> Sensor:
    """The sensor in a row of SQLite's."""
    number, sensor_id, first_seen, stored, last_id, last_seen, latest, outcomes, *details = row
    state = None
    if stored is not None:
        state = State(stored, last_id, moment(last_seen), decode_latest(latest))
    return Sensor(
        number,
        sensor_id,
        moment(first_seen),
        state,
        decode_outcomes(outcomes),
        details_of(details),
    )


def details_of(row: Sequence[Any]) -> Details:
    """What is said in the last three columns of a sensor's row, of which there may be none."""
    name, location, measurements = row
    return Details(name, location, decode_described(measurements) if measurements else {})


def write_details(cursor: sqlite3.Cursor, sensor_id: str, change: Change) -> bool:
    """Within a transaction; as `storage.base.Storage.describe` promises."""
    row = cursor.execute(DETAILS, (sensor_id,)).fetchone()
    if row is None:
        return False
    details = change(details_of(row[1:]))
    measurements = encode(details.measurements).decode()
    cursor.execute(_DESCRIBE, (row[0], details.name, details.location, measurements))
    return True
