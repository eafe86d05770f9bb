"""Series in PostgreSQL: slices of rollups summed up, and readings that are not rolled up yet."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from sensorflow.disk import Tier
from sensorflow.readings import KNOWN_MEASUREMENTS
from sensorflow.sensors import Slice, Summary, Wanted
from sensorflow.storage.rollups import MAX_SUMMED

# The measurements of a sensor are found one by one: each is one look into the index.
_KEYS: Final = """
WITH RECURSIVE found (sensor, measurement) AS (
    SELECT id, (SELECT min(measurement) FROM rollups_day WHERE sensor = id) FROM sensors
    WHERE sensor_id = ANY ($1::text[])
    UNION ALL
    SELECT sensor, (
        SELECT min(r.measurement) FROM rollups_day r
        WHERE r.sensor = found.sensor AND r.measurement > found.measurement
    ) FROM found WHERE measurement IS NOT NULL
)
"""

# Slices that follow each other are read as one run, which is one look into the index, whatever the
# planner thinks; a look for each slice would take three times as long.
_OF_TIER: Final = """
SELECT s.sensor_id, m.name, (${starts}::timestamptz[])[r.place], count, sum, minimum, maximum
FROM found f JOIN sensors s ON s.id = f.sensor JOIN measurements m ON m.id = f.measurement
CROSS JOIN unnest(${runs}::timestamptz[], ${ends}::timestamptz[]) AS run (start, until)
CROSS JOIN LATERAL (
    SELECT width_bucket(bucket, ${starts}::timestamptz[]) AS place, sum(count)::bigint AS count,
        sum(sum) AS sum, min(minimum) AS minimum, max(maximum) AS maximum
    FROM rollups_{tier}
    WHERE sensor = f.sensor AND measurement = f.measurement
        AND bucket >= run.start AND bucket < run.until
    GROUP BY place
) AS r
WHERE cardinality($2::text[]) = 0 OR m.name = ANY ($2::text[])
"""

_TAIL: Final = """
    SELECT * FROM readings WHERE id > (SELECT cursor FROM followers WHERE name = 'history')
    ORDER BY id LIMIT $6::bigint + 1
"""
_RANGE: Final = """
    SELECT r.* FROM sensors s JOIN readings r ON r.sensor = s.id
    WHERE s.sensor_id = ANY ($1::text[]) AND r.recorded_at >= $3 AND r.recorded_at < $4
    LIMIT $6::bigint + 1
"""


def _of_values(value: str) -> str:
    return (
        f"count({value}), sum(least({MAX_SUMMED}, greatest({-MAX_SUMMED}, {value})))"
        f" FILTER (WHERE {value} IS NOT NULL), min({value}), max({value})"
    )


def _columns(name: str) -> str:
    return ", ".join(f"{name}_{number}" for number in range(1, 5))


# How many readings were looked at comes as a row that has no sensor.
_OF_READINGS: Final = f"""
looked_at AS MATERIALIZED ({{readings}}
), asked AS MATERIALIZED (
    SELECT r.*, s.sensor_id, date_bin($5::interval, recorded_at, $3::timestamptz) AS place
    FROM looked_at r JOIN sensors s ON s.id = r.sensor
    WHERE s.sensor_id = ANY ($1::text[])
        AND recorded_at >= $3::timestamptz AND recorded_at < $4::timestamptz
), known (sensor_id, place, {", ".join(map(_columns, KNOWN_MEASUREMENTS))}) AS (
    SELECT sensor_id, place, {", ".join(map(_of_values, KNOWN_MEASUREMENTS))}
    FROM asked GROUP BY sensor_id, place
), named (sensor_id, name, place, count, sum, minimum, maximum) AS (
    SELECT sensor_id, name, place, count, sum, minimum, maximum
    FROM known CROSS JOIN LATERAL (
        VALUES {", ".join(f"('{name}', {_columns(name)})" for name in KNOWN_MEASUREMENTS)}
    ) AS v (name, count, sum, minimum, maximum)
    WHERE count > 0
    UNION ALL
    SELECT sensor_id, key, place, {_of_values("number")}
    FROM (
        SELECT sensor_id, place, key, value::double precision AS number
        FROM asked CROSS JOIN LATERAL jsonb_each_text(extra)
    ) AS others
    GROUP BY sensor_id, place, key
)
SELECT NULL, NULL, NULL, count(*), NULL, NULL, NULL FROM looked_at
UNION ALL
SELECT * FROM named WHERE cardinality($2::text[]) = 0 OR name = ANY ($2::text[])
"""


def select(wanted: Wanted, slices: Mapping[Tier, Sequence[Slice]]) -> tuple[str, tuple[Any, ...]]:
    """The query of `storage.base.Storage.summarised`: one statement, so all is of one moment."""
    every = [moment for of_tier in slices.values() for slice_ in of_tier for moment in slice_]
    within = min(every), max(every)
    parameters = [*_parameters(wanted, within, timedelta(minutes=1))]
    query = _KEYS + ", " + _OF_READINGS.format(readings=_TAIL)
    for tier, of_tier in slices.items():
        runs = _runs(of_tier)
        parameters += [
            [start for start, _ in of_tier],
            [start for start, _ in runs],
            [end for _, end in runs],
        ]
        number = len(parameters)
        query += "UNION ALL" + _OF_TIER.format(
            tier=tier.value, starts=number - 2, runs=number - 1, ends=number
        )
    return query, tuple(parameters)


def _runs(slices: Sequence[Slice]) -> list[Slice]:
    """The same time, in as few pieces as there can be; the slices are in order."""
    runs = [slices[0]]
    for start, end in slices[1:]:
        begun, until = runs[-1]
        if start == until:
            runs[-1] = begun, end
        else:
            runs.append((start, end))
    return runs


def select_raw(wanted: Wanted, within: Slice, width: timedelta) -> tuple[str, tuple[Any, ...]]:
    """The query of `storage.base.Storage.summarised_raw`."""
    return (
        "WITH" + _OF_READINGS.format(readings=_RANGE),
        _parameters(wanted, within, width),
    )


def _parameters(wanted: Wanted, within: Slice, width: timedelta) -> tuple[Any, ...]:
    return list(wanted.sensors), list(wanted.measurements), *within, width, wanted.limit


def summaries(rows: Sequence[Sequence[Any]], limit: int) -> list[Summary] | None:
    """What the rows of either query hold."""
    looked_at = next(row[3] for row in rows if row[0] is None)
    if looked_at > limit:
        return None
    return [Summary(*row) for row in rows if row[0] is not None]
