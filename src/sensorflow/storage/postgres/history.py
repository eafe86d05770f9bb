"""How PostgreSQL finds stored readings for who reads the history."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sensorflow.storage.postgres.rows import SELECT_OF, SELECT_READINGS

Query = tuple[str, tuple[object, ...]]

# Each sensor has a LIMIT of its own. An id of which something is computed is for no index: the
# planner would else go through the primary key, over the readings of all sensors, for each of them.
_BEFORE: Final = (
    "FROM sensors s CROSS JOIN LATERAL (SELECT * FROM readings WHERE sensor = s.id"
    " AND recorded_at >= $1 AND recorded_at <= $2 AND (recorded_at < $2 OR id + 0 < $3)"
    " AND id + 0 <= $4"
    " ORDER BY recorded_at DESC, id DESC LIMIT $5) AS r "
)
_NEWEST_FIRST: Final = "ORDER BY r.recorded_at DESC, r.id DESC LIMIT $5"
_NAMES: Final = (
    "SELECT DISTINCT l.name FROM sensors s JOIN sensor_states t ON t.sensor = s.id"
    " CROSS JOIN LATERAL jsonb_object_keys(t.latest) AS l (name) "
)


def between(
    after: int,
    until: int,
    limit: int,
    sensors: Sequence[str] | None,
    start: datetime | None,
    end: datetime | None,
) -> Query:
    """The query of `storage.base.Storage.between`, with its parameters."""
    conditions = ["r.id > $1", "r.id <= $2"]
    parameters: list[object] = [after, until, limit]
    for given, condition in (
        (sensors, "s.sensor_id = ANY (${}::text[])"),
        (start, "r.recorded_at >= ${}::timestamptz"),
        (end, "r.recorded_at < ${}::timestamptz"),
    ):
        if given is not None:
            parameters.append(given)
            conditions.append(condition.format(len(parameters)))
    where = " AND ".join(conditions)
    return f"{SELECT_READINGS}WHERE {where} ORDER BY r.id LIMIT $3", tuple(parameters)


def recorded_before(
    place: tuple[datetime, int],
    since: datetime,
    until: int,
    limit: int,
    sensors: Sequence[str] | None,
) -> Query:
    """The query of `storage.base.Storage.recorded_before`, with its parameters."""
    parameters: tuple[object, ...] = (since, *place, until, limit)
    if sensors is None:
        return SELECT_OF + _BEFORE + _NEWEST_FIRST, parameters
    where = "WHERE s.sensor_id = ANY ($6::text[]) "
    return SELECT_OF + _BEFORE + where + _NEWEST_FIRST, (*parameters, sensors)


def measurement_names(limit: int, sensors: Sequence[str] | None) -> Query:
    """The query of `storage.base.Storage.measurement_names`, with its parameters."""
    if sensors is None:
        return _NAMES + "ORDER BY l.name LIMIT $1", (limit,)
    where = "WHERE s.sensor_id = ANY ($2::text[]) "
    return _NAMES + where + "ORDER BY l.name LIMIT $1", (limit, sensors)
