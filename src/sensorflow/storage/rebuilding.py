"""Rollups made anew from the readings, day by day of each sensor, and compared with what is there.

Times are whole microseconds since 1970-01-01 UTC.
"""

import math
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from sensorflow.disk import Tier
from sensorflow.readings import KNOWN_MEASUREMENTS
from sensorflow.storage.rollups import (
    DAY,
    HOUR,
    MAX_SUMMED,
    MINUTE,
    Rollup,
    coarser,
    insert,
    number_measurements,
)
from sensorflow.storage.sensors import CURSOR
from sensorflow.storage.series import TIERS
from sensorflow.storage.sqlite import SqliteStorage
from sensorflow.times import moment

_SENSORS: Final = "SELECT id FROM sensors ORDER BY id"
_NEXT: Final = (
    "SELECT min(at) FROM (SELECT min(recorded_at) AS at FROM readings"
    " WHERE sensor = ?1 AND recorded_at >= ?2 UNION ALL"
    " SELECT min(bucket) FROM rollups_day WHERE sensor = ?1 AND bucket >= ?2)"
)
_READINGS: Final = (
    "SELECT recorded_at, temperature, humidity, pressure, extra FROM readings"
    " WHERE sensor = ? AND recorded_at >= ? AND recorded_at < ? AND id <= ?"
    " ORDER BY recorded_at, id"
)
_STORED: Final = (
    "SELECT sensor, name, bucket, count, sum, minimum, maximum, first, last, first_at, last_at"
    " FROM rollups_{tier} JOIN measurements m ON m.id = measurement"
    " WHERE sensor = ? AND bucket >= ? AND bucket < ?"
)
_REMOVE: Final = "DELETE FROM rollups_{tier} WHERE sensor = ? AND bucket >= ? AND bucket < ?"

_decode_extra: Final = msgspec.json.Decoder(dict[str, float]).decode


class Rebuilt(NamedTuple):
    """What a day of a sensor was found to be; it is right now."""

    sensor: int
    """Its number."""
    day: datetime
    rollups: int
    """How many there are now."""
    missing: int
    surplus: int
    different: int


class Rebuilds(Protocol):
    """Makes rollups anew."""

    def run(self) -> AsyncIterator[Rebuilt]:
        """Day by day of each sensor. Raises `StorageUnavailable`.

        Buckets from which retention has removed readings are left as they are, and so are readings
        that are not followed yet.
        """


class Stretch(NamedTuple):
    """The buckets of a day that are made anew, in each tier from a time on."""

    start: int
    end: int
    begins: Mapping[Tier, int]
    """A tier's first bucket from which nothing was removed, nor from its readings."""


def stretch(day: int, complete: Mapping[Tier, int]) -> Stretch:
    """`complete` tells for each tier since when nothing was removed."""
    begins = {}
    for tier, width in WIDTHS.items():
        first = max(complete[Tier.RAW], complete[tier], day)
        begins[tier] = -(-first // width) * width
    return Stretch(day, day + DAY, begins)


WIDTHS: Final = {Tier.MINUTE: MINUTE, Tier.HOUR: HOUR, Tier.DAY: DAY}


def compared(
    part: Stretch, minutes: Sequence[Rollup], stored: Mapping[Tier, Iterable[Rollup]]
) -> tuple[dict[Tier, list[Rollup]], list[int]]:
    """What has to be written anew, tier by tier, and how many rollups there are, are missing,
    are too many, are different.
    """
    anew: dict[Tier, list[Rollup]] = {}
    totals = [0, 0, 0, 0]
    for tier, width in WIDTHS.items():
        expected = {
            rollup[:3]: rollup
            for rollup in coarser(minutes, width)
            if rollup.bucket >= part.begins[tier]
        }
        there = {rollup[:3]: rollup for rollup in stored[tier]}
        found = [
            len(expected),
            len(expected.keys() - there.keys()),
            len(there.keys() - expected.keys()),
            sum(not _equal(expected[key], there[key]) for key in expected.keys() & there.keys()),
        ]
        totals = [one + other for one, other in zip(totals, found, strict=True)]
        if any(found[1:]):
            anew[tier] = list(expected.values())
    return anew, totals


def _equal(one: Rollup, other: Rollup) -> bool:
    """Sums depend on the order in which they were made, by about one part in a billion."""
    size = one.values * max(abs(one.minimum), abs(one.maximum))
    return one._replace(sum=0) == other._replace(sum=0) and math.isclose(
        one.sum, other.sum, rel_tol=0, abs_tol=1e-9 * size
    )


class SqliteRebuilder:
    """Implements `Rebuilds`."""

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage

    async def run(self) -> AsyncIterator[Rebuilt]:
        rows = await self._storage.rows(TIERS)
        complete = {Tier(name): at or 0 for name, at in rows}
        for (sensor,) in await self._storage.rows(_SENSORS):
            day = complete[Tier.RAW] // DAY * DAY
            while (found := await self._storage.rows(_NEXT, (sensor, day)))[0][0] is not None:
                part = stretch(found[0][0] // DAY * DAY, complete)
                yield await self._storage.in_transaction(_rebuild, sensor, part)
                day = part.end


def _rebuild(cursor: sqlite3.Cursor, sensor: int, part: Stretch) -> Rebuilt:
    ((until,),) = cursor.execute(CURSOR).fetchall()
    rows = cursor.execute(_READINGS, (sensor, part.start, part.end, until)).fetchall()
    minutes = coarser(_single(sensor, rows), MINUTE)
    stored = {
        tier: [
            Rollup(*row)
            for row in cursor.execute(
                _STORED.format(tier=tier), (sensor, part.begins[tier], part.end)
            ).fetchall()
        ]
        for tier in WIDTHS
    }
    anew, totals = compared(part, minutes, stored)
    numbers = number_measurements(cursor, minutes)
    for tier, rollups in anew.items():
        cursor.execute(_REMOVE.format(tier=tier), (sensor, part.begins[tier], part.end))
        insert(cursor, tier, rollups, numbers)
    return Rebuilt(sensor, moment(part.start), *totals)


def _single(sensor: int, rows: Iterable[Sequence[Any]]) -> Iterable[Rollup]:
    """Each value by itself, in the order in which they were recorded."""
    for at, *known, extra in rows:
        values = dict(zip(KNOWN_MEASUREMENTS, known, strict=True))
        if extra is not None:
            values |= _decode_extra(extra)
        for name, value in values.items():
            if value is not None:
                summed = max(-MAX_SUMMED, min(MAX_SUMMED, value))
                yield Rollup(sensor, name, at, 1, summed, value, value, value, value, at, at)
