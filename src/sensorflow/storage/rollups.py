"""Rollups in SQLite: a page of readings is summed up, and added to what is written.

Times are whole microseconds since 1970-01-01 UTC.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec

from sensorflow.readings import KNOWN_MEASUREMENTS
from sensorflow.sensors import Latest, Page, State
from sensorflow.storage.rows import as_json, insert_rows
from sensorflow.times import moment

MINUTE: Final = 60_000_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

MAX_SUMMED: Final = 1e300
"""What is beyond counts as this in a sum."""

MAX_SUM: Final = 1e307
"""Where a sum stays, so that it is never beyond what a double holds."""

PLACES: Final = 2_048
"""Ids of a page: times this, a time in microseconds fits 64 bits until 2112."""

# Over what was never given, or is gone: after a restore millions of millions of ids.
WINDOW: Final = "SELECT (SELECT min(id) FROM readings WHERE id > ?), (SELECT max(id) FROM readings)"


def _of_known(name: str) -> str:
    """What a measurement comes to. The order of readings is that of `place`."""
    return (
        f"count({name}), coalesce(sum(max({-MAX_SUMMED}, min({MAX_SUMMED}, {name}))), 0),"
        f" min({name}), max({name}),"
        f" min(CASE WHEN {name} IS NOT NULL THEN place END) AS first_{name},"
        f" max(CASE WHEN {name} IS NOT NULL THEN place END) AS last_{name}"
    )


def _at_ends(name: str) -> str:
    return ", ".join(
        f"(SELECT {name} FROM readings WHERE id = ?1 + {end}_{name} % {PLACES})"
        for end in ("first", "last")
    )


# All in the database, for each row of an answer has to wait for the interpreter.
KNOWN: Final = f"""
SELECT *, {", ".join(map(_at_ends, KNOWN_MEASUREMENTS))}
FROM (
    SELECT page.sensor, recorded_at / {MINUTE} AS minute,
        sum(page.id > coalesce(last_id, 0)), max(page.id), max(received_at),
        {", ".join(map(_of_known, KNOWN_MEASUREMENTS))}
    FROM (
        SELECT *, recorded_at * {PLACES} + id - ?1 AS place FROM readings
        WHERE id BETWEEN ?1 AND ?2
    ) AS page
    LEFT JOIN sensor_states t ON t.sensor = page.sensor
    GROUP BY page.sensor, minute
)
"""
OTHERS: Final = (
    "SELECT json_group_array(json_array(sensor, recorded_at, id, extra)) FROM readings"
    " WHERE id BETWEEN ?1 AND ?2 AND extra IS NOT NULL"
)
_THERE: Final = (
    "SELECT json_group_array(id) FROM sensors WHERE id IN (SELECT value FROM json_each(?))"
)
_NAMES: Final = (
    "INSERT INTO measurements (name) SELECT value FROM json_each(?)"
    " WHERE value NOT IN (SELECT name FROM measurements)"
)
_NUMBERS: Final = (
    "SELECT json_group_object(name, id) FROM measurements"
    " WHERE name IN (SELECT value FROM json_each(?))"
)
_INSERT: Final = (
    "INSERT INTO rollups_{tier} (sensor, measurement, bucket, count, sum, minimum, maximum,"
    " first, last, first_at, last_at)"
)
_MERGE: Final = (
    "ON CONFLICT DO UPDATE SET count = count + excluded.count,"
    f" sum = max({-MAX_SUM}, min({MAX_SUM}, sum + excluded.sum)),"
    " minimum = min(minimum, excluded.minimum), maximum = max(maximum, excluded.maximum),"
    # Of two at the same time the one that was stored first comes first.
    " first = CASE WHEN excluded.first_at < first_at THEN excluded.first ELSE first END,"
    " last = CASE WHEN excluded.last_at >= last_at THEN excluded.last ELSE last END,"
    " first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)"
)
_decode_extra: Final = msgspec.json.Decoder(dict[str, float]).decode


class Rollup(NamedTuple):
    """A row of a tier, with the measurement's name in place of its number."""

    sensor: int
    measurement: str
    bucket: int
    values: int
    """How many."""
    sum: float
    minimum: float
    maximum: float
    first: float
    last: float
    first_at: int
    last_at: int


class SummedPage(Page, gc=False):
    """A page with its minutes, those of a sensor and measurement in their order."""

    minutes: list[Rollup]


_STATE_COLUMNS: Final = 5
_KNOWN_COLUMNS: Final = 6


def summed(page: SummedPage, known: Iterable[Sequence[Any]], others: str) -> None:
    """Take into the page what the rows of `KNOWN` and the one of `OTHERS` tell."""
    for row in known:
        sensor, minute, unseen, last_id, received_at = row[:_STATE_COLUMNS]
        state = page.sums.get(sensor)
        if state is None:
            page.sums[sensor] = state = State(0, 0, moment(0), {})
        state.stored += unseen
        state.last_id = max(state.last_id, last_id)
        state.last_seen = max(state.last_seen, moment(received_at))
        for place, name in enumerate(KNOWN_MEASUREMENTS):
            begin = _STATE_COLUMNS + place * _KNOWN_COLUMNS
            count, total, minimum, maximum, first_at, last_at = row[begin : begin + _KNOWN_COLUMNS]
            if count:
                begin = _STATE_COLUMNS + len(KNOWN_MEASUREMENTS) * _KNOWN_COLUMNS + 2 * place
                first, last = row[begin : begin + 2]
                page.minutes.append(
                    Rollup(
                        sensor,
                        name,
                        minute * MINUTE,
                        count,
                        total,
                        minimum,
                        maximum,
                        first,
                        last,
                        first_at // PLACES,
                        last_at // PLACES,
                    )
                )
    page.minutes += _minutes(others)
    page.minutes.sort()
    for rollup in page.minutes:
        latest = Latest(rollup.last, moment(rollup.last_at))
        page.sums[rollup.sensor].latest[rollup.measurement] = latest


def _minutes(others: str) -> list[Rollup]:
    """The database would read the numbers in `extra` nearly, not exactly."""
    rows: list[tuple[int, int, int, str]] = msgspec.json.decode(others)
    single = [
        Rollup(
            sensor,
            name,
            at // MINUTE * MINUTE,
            1,
            max(-MAX_SUMMED, min(MAX_SUMMED, value)),
            value,
            value,
            value,
            value,
            at,
            at,
        )
        for sensor, at, _, extra in sorted(rows, key=itemgetter(0, 1, 2))
        for name, value in _decode_extra(extra).items()
    ]
    return coarser(single, MINUTE)


def coarser(rollups: Iterable[Rollup], width: int) -> list[Rollup]:
    """The same in wider buckets. Rollups of a sensor and measurement come in their order."""
    found: dict[tuple[int, str, int], Rollup] = {}
    for rollup in rollups:
        bucket = rollup.bucket // width * width
        key = rollup.sensor, rollup.measurement, bucket
        known = found.get(key)
        if known is None:
            found[key] = rollup._replace(bucket=bucket)
        else:
            found[key] = known._replace(
                values=known.values + rollup.values,
                sum=max(-MAX_SUM, min(MAX_SUM, known.sum + rollup.sum)),
                minimum=min(known.minimum, rollup.minimum),
                maximum=max(known.maximum, rollup.maximum),
                last=rollup.last,
                last_at=rollup.last_at,
            )
    return list(found.values())


def add(cursor: sqlite3.Cursor, minutes: Sequence[Rollup]) -> None:
    """Add the minutes to all tiers; within a transaction. Sensors may be gone by now."""
    ((there,),) = cursor.execute(_THERE, (as_json({r.sensor for r in minutes}),)).fetchall()
    sensors = set(msgspec.json.decode(there))
    minutes = [rollup for rollup in minutes if rollup.sensor in sensors]
    hours = coarser(minutes, HOUR)
    days = coarser(hours, DAY)
    numbers = number_measurements(cursor, days)
    for tier, rollups in (("minute", minutes), ("hour", hours), ("day", days)):
        insert(cursor, tier, rollups, numbers)


def number_measurements(cursor: sqlite3.Cursor, rollups: Iterable[Rollup]) -> dict[str, int]:
    """The numbers of the measurements; those that have none get one."""
    names = as_json({rollup.measurement for rollup in rollups})
    cursor.execute(_NAMES, (names,))
    ((found,),) = cursor.execute(_NUMBERS, (names,)).fetchall()
    numbers: dict[str, int] = msgspec.json.decode(found)
    return numbers


def insert(
    cursor: sqlite3.Cursor, tier: str, rollups: Iterable[Rollup], numbers: Mapping[str, int]
) -> None:
    """Add the rollups to a tier; those that are there already are merged."""
    values: list[Any] = []
    for rollup in rollups:
        values += (rollup.sensor, numbers[rollup.measurement], *rollup[2:])
    insert_rows(cursor, _INSERT.format(tier=tier), values, len(Rollup._fields), _MERGE)
