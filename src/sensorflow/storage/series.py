"""Series in SQLite: slices of rollups summed up, and readings where there are no rollups yet.

Times are whole microseconds since 1970-01-01 UTC.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from sensorflow.disk import Tier
from sensorflow.readings import KNOWN_MEASUREMENTS
from sensorflow.sensors import Slice, Summary, Wanted
from sensorflow.storage.rollups import MAX_SUMMED, MINUTE
from sensorflow.storage.rows import as_json
from sensorflow.storage.thread import Arguments, T
from sensorflow.times import microseconds, moment

Rows = Callable[[str, Sequence[object]], Sequence[Sequence[Any]]]
"""Runs a query."""

TIERS: Final = "SELECT name, complete_from FROM tiers"

# The measurements of a sensor are found one by one: each is one look into the index.
_KEYS: Final = """
WITH RECURSIVE found (sensor, sensor_id, measurement) AS (
    SELECT id, sensor_id, (SELECT min(measurement) FROM rollups_day WHERE sensor = id)
    FROM sensors WHERE sensor_id IN (SELECT value FROM json_each(?1))
    UNION ALL
    SELECT sensor, sensor_id, (
        SELECT min(r.measurement) FROM rollups_day r
        WHERE r.sensor = found.sensor AND r.measurement > found.measurement
    ) FROM found WHERE measurement IS NOT NULL
)
SELECT json_group_array(json_array(sensor, sensor_id, measurement, name))
FROM found LEFT JOIN measurements m ON m.id = measurement
"""

# Taken apart first: within the join that would be done for every row.
_OF_TIER: Final = """
WITH keys AS MATERIALIZED (
    SELECT value ->> 0 AS sensor, value ->> 1 AS measurement, value ->> 2 AS name
    FROM json_each(?1)
), slices AS MATERIALIZED (
    SELECT value ->> 0 AS start, value ->> 1 AS until FROM json_each(?2)
)
SELECT k.sensor, k.name, s.start, sum(count), sum(sum), min(minimum), max(maximum)
FROM keys k CROSS JOIN slices s CROSS JOIN rollups_{tier} r
WHERE r.sensor = k.sensor AND r.measurement = k.measurement
    AND r.bucket >= s.start AND r.bucket < s.until
GROUP BY 1, 2, 3
"""

_TAIL: Final = """
    SELECT * FROM readings WHERE id > (SELECT cursor FROM followers WHERE name = 'history')
    ORDER BY id LIMIT ?5 + 1
"""
_RANGE: Final = """
    SELECT * FROM readings WHERE sensor IN (SELECT value FROM json_each(?1))
    AND recorded_at >= ?2 AND recorded_at < ?3 LIMIT ?5 + 1
"""


def _of_known(name: str) -> str:
    return (
        f"count({name}), sum(max({-MAX_SUMMED}, min({MAX_SUMMED}, {name}))),"
        f" min({name}), max({name})"
    )


_COLUMNS: Final = 4

_OF_READINGS: Final = f"""
SELECT sensor, (recorded_at - ?2) / ?4 AS place,
    {", ".join(map(_of_known, KNOWN_MEASUREMENTS))}
FROM ({{readings}}) WHERE sensor IN (SELECT value FROM json_each(?1))
    AND recorded_at >= ?2 AND recorded_at < ?3
GROUP BY sensor, place
"""
_OTHERS: Final = """
SELECT (SELECT count(*) FROM ({readings})), json_group_array(json_array(sensor, place, extra))
FROM (
    SELECT sensor, (recorded_at - ?2) / ?4 AS place, extra
    FROM ({readings}) WHERE extra IS NOT NULL AND sensor IN (SELECT value FROM json_each(?1))
    AND recorded_at >= ?2 AND recorded_at < ?3
)
"""
_decode_extra: Final = msgspec.json.Decoder(dict[str, float]).decode


def at_one_moment(
    connection: Connection, read: Callable[[Rows, *Arguments], T], *arguments: *Arguments
) -> T:
    """What `read` returns, having seen the database as it is now."""

    def rows(query: str, parameters: Sequence[object]) -> Sequence[Sequence[Any]]:
        return connection.exec_driver_sql(query, tuple(parameters)).fetchall()

    connection.exec_driver_sql("BEGIN")
    try:
        return read(rows, *arguments)
    finally:
        connection.exec_driver_sql("COMMIT")


def summarised(
    rows: Rows, wanted: Wanted, slices: Mapping[Tier, Sequence[Slice]]
) -> list[Summary] | None:
    """Within a transaction; as `storage.base.Storage` promises."""
    names, keys = _keys(rows, wanted)
    every = [moment for of_tier in slices.values() for slice_ in of_tier for moment in slice_]
    within = min(every), max(every)
    found = _of_readings(rows, _TAIL, names, wanted, within, MINUTE)
    if found is None:
        return None
    for tier, of_tier in slices.items():
        parts = [(microseconds(start), microseconds(end)) for start, end in of_tier]
        found += [
            Summary(names[sensor], name, moment(at), *values)
            for sensor, name, at, *values in rows(
                _OF_TIER.format(tier=tier.value), (as_json(keys), as_json(parts))
            )
        ]
    return found


def summarised_raw(
    rows: Rows, wanted: Wanted, within: Slice, width: timedelta
) -> list[Summary] | None:
    """Within a transaction; as `storage.base.Storage` promises."""
    names, _ = _keys(rows, wanted)
    return _of_readings(rows, _RANGE, names, wanted, within, width // timedelta(microseconds=1))


def _keys(rows: Rows, wanted: Wanted) -> tuple[dict[int, str], list[tuple[int, int, str]]]:
    """The sensor_id of each number; the numbers and names of what has rollups."""
    ((found,),) = rows(_KEYS, (as_json(wanted.sensors),))
    names: dict[int, str] = {}
    keys: list[tuple[int, int, str]] = []
    for sensor, sensor_id, measurement, name in msgspec.json.decode(found):
        names[sensor] = sensor_id
        if name is not None and _has(wanted, name):
            keys.append((sensor, measurement, name))
    return names, keys


def _has(wanted: Wanted, measurement: str) -> bool:
    return not wanted.measurements or measurement in wanted.measurements


def _of_readings(
    rows: Rows,
    readings: str,
    names: Mapping[int, str],
    wanted: Wanted,
    within: Slice,
    width: int,
) -> list[Summary] | None:
    start, end = map(microseconds, within)
    parameters = as_json(names), start, end, width, wanted.limit
    ((scanned, others),) = rows(_OTHERS.format(readings=readings), parameters)
    if scanned > wanted.limit:
        return None
    found: list[Summary] = []
    for sensor, place, *values in rows(_OF_READINGS.format(readings=readings), parameters):
        at = moment(start + place * width)
        for number, name in enumerate(KNOWN_MEASUREMENTS):
            count, *rest = values[number * _COLUMNS : (number + 1) * _COLUMNS]
            if count and _has(wanted, name):
                found.append(Summary(names[sensor], name, at, count, *rest))
    return found + list(_of_others(others, names, wanted, start, width))


def _of_others(
    others: str, names: Mapping[int, str], wanted: Wanted, start: int, width: int
) -> Iterable[Summary]:
    found: dict[tuple[int, int, str], Summary] = {}
    for sensor, place, extra in msgspec.json.decode(others, type=list[tuple[int, int, str]]):
        for name, value in _decode_extra(extra).items():
            if not _has(wanted, name):
                continue
            summed = max(-MAX_SUMMED, min(MAX_SUMMED, value))
            key = sensor, place, name
            known = found.get(key)
            if known is None:
                at = moment(start + place * width)
                found[key] = Summary(names[sensor], name, at, 1, summed, value, value)
            else:
                found[key] = known._replace(
                    values=known.values + 1,
                    sum=known.sum + summed,
                    minimum=min(known.minimum, value),
                    maximum=max(known.maximum, value),
                )
    return found.values()
