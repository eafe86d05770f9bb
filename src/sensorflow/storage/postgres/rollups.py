"""Rollups in PostgreSQL: pages are summed up there, and their readings never leave it."""

from collections.abc import Iterable
from typing import Any, Final

from sensorflow.readings import KNOWN_MEASUREMENTS
from sensorflow.sensors import Latest, State
from sensorflow.storage.rollups import MAX_SUM, MAX_SUMMED

WINDOW: Final = (
    "SELECT (SELECT min(id) FROM readings WHERE id > $1), (SELECT max(id) FROM readings)"
)
NAMES: Final = (
    "INSERT INTO measurements (name) SELECT name FROM unnest($1::text[]) AS n (name)"
    " WHERE NOT EXISTS (SELECT 1 FROM measurements m WHERE m.name = n.name)"
)


def _there(value: str) -> str:
    return f"FILTER (WHERE {value} IS NOT NULL)"


def _first(value: str) -> str:
    return f"(array_agg({value}) {_there(value)})[1]"


def _last(value: str) -> str:
    return f"(array_agg({value}) {_there(value)})[count({value})]"


def _first_at(value: str) -> str:
    return f"min(recorded_at) {_there(value)}"


def _last_at(value: str) -> str:
    return f"max(recorded_at) {_there(value)}"


def _sum(value: str) -> str:
    return f"sum(least({MAX_SUMMED}, greatest({-MAX_SUMMED}, {value}))) {_there(value)}"


def _of_values(value: str) -> str:
    """What a group's values come to, in the columns of a tier."""
    return (
        f"count({value}), {_sum(value)}, min({value}), max({value}),"
        f" {_first(value)}, {_last(value)}, {_first_at(value)}, {_last_at(value)}"
    )


_PAGE: Final = "id > $1 AND id <= $2"
_KNOWN: Final = ", ".join(KNOWN_MEASUREMENTS)


# The database would else look for the lowest id of all, through all readings.
def _end(which: str, time: str, value: str = _KNOWN, order: str = "ASC") -> str:
    """The reading that a sensor's group `g` begins with, or ends with, at such a time."""
    return (
        f"SELECT {value} FROM readings WHERE {which} AND sensor = g.sensor"
        f" AND recorded_at = {time} ORDER BY id + 0 {order} LIMIT 1"
    )


def _value_of_end(which: str, name: str, end: str, order: str) -> str:
    """A measurement's first or last value, where `end` is the group's first or last reading.

    One value is both. Else the end has it, or, where its readings differ in what they measured,
    it is looked for.
    """
    at = _end(f"{which} AND {name} IS NOT NULL", f"g.{name}_{end}_at", name, order)
    return (
        f"CASE WHEN g.{name}_count < 2 THEN g.{name}_minimum"
        f" WHEN {end}.{name} IS NOT NULL THEN {end}.{name} ELSE ({at}) END"
    )


def _with_end(which: str, end: str, order: str) -> str:
    """Joins a group's first or last reading, where there is more than one."""
    row = _end(f"{which} AND g.readings > 1", f"g.{end}_in", _KNOWN, order)
    return f"LEFT JOIN LATERAL ({row}) AS {end} ON true"


def _last_of(name: str) -> str:
    return (
        f"count({name}) AS {name}_count, min({name}) AS {name}_minimum,"
        f" {_last_at(name)} AS {name}_last_at"
    )


SUMS: Final = f"""
SELECT g.sensor, others, stored, last_id, last_seen,
    {
    ", ".join(
        f"{_value_of_end(_PAGE, name, 'last', 'DESC')}, {name}_last_at"
        for name in KNOWN_MEASUREMENTS
    )
}
FROM (
    SELECT r.sensor, count(*) AS readings, count(extra) AS others, max(recorded_at) AS last_in,
        count(*) FILTER (WHERE id > coalesce(t.last_id, 0)) AS stored,
        max(id) AS last_id, max(received_at) AS last_seen,
        {", ".join(map(_last_of, KNOWN_MEASUREMENTS))}
    FROM readings r LEFT JOIN sensor_states t ON t.sensor = r.sensor
    WHERE id > $1 AND id <= $2
    GROUP BY r.sensor
) AS g {_with_end(_PAGE, "last", "DESC")}
"""


def _others(which: str) -> str:
    return f"""(
    SELECT sensor, recorded_at, id, key, value::double precision AS number
    FROM readings CROSS JOIN LATERAL jsonb_each_text(extra)
    WHERE extra IS NOT NULL AND {which}
)"""


LATEST_OTHERS: Final = f"""
SELECT sensor, key, {_last("number")}, {_last_at("number")}
FROM (SELECT * FROM {_others(_PAGE)} AS others ORDER BY sensor, key, recorded_at, id) AS page
GROUP BY sensor, key
"""

_ROLLED: Final = "count, sum, minimum, maximum, first, last, first_at, last_at"
_ROW: Final = f"sensor, measurement, bucket, {_ROLLED}"


def _bin(width: str, time: str) -> str:
    return f"date_bin('{width}', {time}, '2000-01-01 00:00Z')"


def _coarser(width: str, finer: str) -> str:
    return f"""
    SELECT sensor, measurement, {_bin(width, "bucket")}, sum(count)::bigint,
        least({MAX_SUM}, greatest({-MAX_SUM}, sum(sum))), min(minimum), max(maximum),
        (array_agg(first))[1], (array_agg(last))[count(*)], min(first_at), max(last_at)
    FROM (SELECT * FROM {finer} ORDER BY sensor, measurement, bucket) AS finer
    GROUP BY 1, 2, 3
    """


# Of two at the same time the one that was stored first comes first.
def _add(tier: str, rolled: str) -> str:
    return f"""
    INSERT INTO rollups_{tier} AS r ({_ROW}) SELECT {_ROW} FROM {rolled}
    ON CONFLICT (sensor, measurement, bucket) DO UPDATE SET
        count = r.count + excluded.count,
        sum = least({MAX_SUM}, greatest({-MAX_SUM}, r.sum + excluded.sum)),
        minimum = least(r.minimum, excluded.minimum),
        maximum = greatest(r.maximum, excluded.maximum),
        first = CASE WHEN excluded.first_at < r.first_at THEN excluded.first ELSE r.first END,
        last = CASE WHEN excluded.last_at >= r.last_at THEN excluded.last ELSE r.last END,
        first_at = least(r.first_at, excluded.first_at),
        last_at = greatest(r.last_at, excluded.last_at)
    """


_MINUTE: Final = _bin("1 minute", "recorded_at")


def _all_of(name: str) -> str:
    return (
        f"{_last_of(name)}, {_sum(name)} AS {name}_sum, max({name}) AS {name}_maximum,"
        f" {_first_at(name)} AS {name}_first_at"
    )


def _columns(which: str, name: str) -> str:
    return (
        f"g.{name}_count, g.{name}_sum, g.{name}_minimum, g.{name}_maximum,"
        f" {_value_of_end(which, name, 'first', 'ASC')},"
        f" {_value_of_end(which, name, 'last', 'DESC')},"
        f" g.{name}_first_at, g.{name}_last_at"
    )


# Three measurements in one pass, side by side; then each in a row of its own. Nothing is sorted:
# what a group begins and ends with is looked up, which is one reading of many, or the only one.
def _named(which: str, *, others: bool = True) -> str:
    """The table `named`: what the readings of each minute come to, with `others` or without."""
    rows_of_others = f"""
    UNION ALL
    SELECT sensor, key, bucket, {_of_values("number")}
    FROM (
        SELECT *, {_MINUTE} AS bucket FROM {_others(which)} AS others
        ORDER BY sensor, key, bucket, recorded_at, id
    ) AS page
    GROUP BY sensor, key, bucket
    """
    return f"""
g AS MATERIALIZED (
    SELECT sensor, bucket, count(*) AS readings,
        min(recorded_at) AS first_in, max(recorded_at) AS last_in,
        {", ".join(map(_all_of, KNOWN_MEASUREMENTS))}
    FROM (SELECT *, {_MINUTE} AS bucket FROM readings WHERE {which}) AS page
    GROUP BY sensor, bucket
), named (sensor, name, bucket, {_ROLLED}) AS (
    SELECT g.sensor, name, bucket, {_ROLLED}
    FROM g {_with_end(which, "first", "ASC")} {_with_end(which, "last", "DESC")}
    CROSS JOIN LATERAL (
        VALUES {", ".join(f"('{name}', {_columns(which, name)})" for name in KNOWN_MEASUREMENTS)}
    ) AS v (name, {_ROLLED})
    WHERE count > 0
    {rows_of_others if others else ""}
)
"""


# In the order of their index: in the order of hashes they would lie scattered in it.
def _roll_up(*, others: bool) -> str:
    return f"""
WITH {_named(_PAGE, others=others)}, minutes ({_ROW}) AS MATERIALIZED (
    SELECT sensor, m.id, bucket, {_ROLLED} FROM named n JOIN measurements m ON m.name = n.name
    ORDER BY sensor, m.id, bucket
), hours ({_ROW}) AS MATERIALIZED ({_coarser("1 hour", "minutes")}
), days ({_ROW}) AS MATERIALIZED ({_coarser("1 day", "hours")}
), add_minutes AS ({_add("minute", "minutes")}
), add_hours AS ({_add("hour", "hours")})
{_add("day", "days")}
"""


ROLL_UP: Final = _roll_up(others=True)
ROLL_UP_KNOWN: Final = _roll_up(others=False)
"""The same for a page that has no others."""


MINUTES: Final = f"""
WITH {_named("sensor = $1 AND recorded_at >= $2 AND recorded_at < $3 AND id <= $4")}
SELECT name, bucket, {_ROLLED} FROM named
"""
"""Of a sensor, from a moment to before another, up to an id."""

STORED: Final = f"""
SELECT name, bucket, {_ROLLED} FROM rollups_{{tier}} JOIN measurements m ON m.id = measurement
WHERE sensor = $1 AND bucket >= $2 AND bucket < $3
"""
REMOVE: Final = "DELETE FROM rollups_{tier} WHERE sensor = $1 AND bucket >= $2 AND bucket < $3"
INSERT: Final = f"""
INSERT INTO rollups_{{tier}} ({_ROW})
SELECT $1, (SELECT id FROM measurements WHERE name = $2), $3, $4, $5, $6, $7, $8, $9, $10, $11
"""


def states(sums: Iterable[Any], others: Iterable[Any]) -> dict[int, State]:
    """What the rows of `SUMS` and `LATEST_OTHERS` tell."""
    found: dict[int, State] = {}
    for sensor, _, stored, last_id, last_seen, *latest in sums:
        found[sensor] = State(
            stored,
            last_id,
            last_seen,
            {
                name: Latest(value, at)
                for name, value, at in zip(
                    KNOWN_MEASUREMENTS, latest[::2], latest[1::2], strict=True
                )
                if at is not None
            },
        )
    for sensor, name, value, at in others:
        found[sensor].latest[name] = Latest(value, at)
    return found
