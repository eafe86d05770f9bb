"""How SQLite finds stored readings for who reads the history."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sensorflow.storage.rows import OF_SENSORS, as_json
from sensorflow.times import microseconds

Query = tuple[str, tuple[object, ...]]

# A table-valued function sees the sensor to its left: so each sensor has a LIMIT of its own, and
# the index alone (sensor, recorded_at, and the rowid) finds the ids in their order.
_BEFORE: Final = (
    "WHERE r.id IN (SELECT ids.value FROM sensors n, json_each((SELECT json_group_array(id) FROM"
    " (SELECT id FROM readings WHERE sensor = n.id AND recorded_at >= ?"
    " AND (recorded_at, id) < (?, ?) AND id <= ? ORDER BY recorded_at DESC, id DESC LIMIT ?))) ids"
)
_NEWEST_FIRST: Final = ") ORDER BY r.recorded_at DESC, r.id DESC LIMIT ?"
_NAMES: Final = (
    "SELECT DISTINCT l.key FROM sensors s JOIN sensor_states t ON t.sensor = s.id,"
    " json_each(t.latest) l WHERE true "
)


def between(
    after: int,
    until: int,
    limit: int,
    sensors: Sequence[str] | None,
    start: datetime | None,
    end: datetime | None,
) -> Query:
    """The end of the query of `storage.base.Storage.between`, with its parameters."""
    tail = "WHERE r.id > ? AND r.id <= ? "
    parameters: tuple[object, ...] = (after, until)
    if sensors is not None:
        tail += OF_SENSORS
        parameters += (as_json(sensors),)
    if start is not None:
        tail += "AND r.recorded_at >= ? "
        parameters += (microseconds(start),)
    if end is not None:
        tail += "AND r.recorded_at < ? "
        parameters += (microseconds(end),)
    return tail + "ORDER BY r.id LIMIT ?", (*parameters, limit)


def recorded_before(
    place: tuple[datetime, int],
    since: datetime,
    until: int,
    limit: int,
    sensors: Sequence[str] | None,
) -> Query:
    """The end of the query of `storage.base.Storage.recorded_before`, with its parameters."""
    tail = _BEFORE
    parameters: tuple[object, ...] = (
        *(microseconds(since), microseconds(place[0]), place[1]),
        *(until, limit),
    )
    if sensors is not None:
        tail += " WHERE n.sensor_id IN (SELECT value FROM json_each(?))"
        parameters += (as_json(sensors),)
    return tail + _NEWEST_FIRST, (*parameters, limit)


def measurement_names(limit: int, sensors: Sequence[str] | None) -> Query:
    """The query of `storage.base.Storage.measurement_names`, with its parameters."""
    if sensors is None:
        return _NAMES + "ORDER BY l.key LIMIT ?", (limit,)
    return _NAMES + OF_SENSORS + "ORDER BY l.key LIMIT ?", (as_json(sensors), limit)
