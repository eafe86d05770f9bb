"""Rollups of PostgreSQL made anew, beside a running server."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

from sensorflow.disk import Tier
from sensorflow.storage.postgres import rollups
from sensorflow.storage.postgres.connection import Address, connect, limited, translated
from sensorflow.storage.postgres.session import Connection
from sensorflow.storage.rebuilding import WIDTHS, Rebuilt, Stretch, compared, stretch
from sensorflow.storage.rollups import DAY, Rollup
from sensorflow.storage.series import TIERS
from sensorflow.times import microseconds, moment

TIMEOUT: Final = 30.0
"""Seconds for a day of a sensor."""

# Whoever follows waits with its next page until this transaction has ended.
_HOLD: Final = "SELECT cursor FROM followers WHERE name = 'history' FOR UPDATE"
_SENSORS: Final = "SELECT id FROM sensors ORDER BY id"
_NEXT: Final = (
    "SELECT least((SELECT min(recorded_at) FROM readings WHERE sensor = $1 AND recorded_at >= $2),"
    " (SELECT min(bucket) FROM rollups_day WHERE sensor = $1 AND bucket >= $2))"
)


class PostgresRebuilder:
    """Implements `storage.rebuilding.Rebuilds`."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def run(self) -> AsyncIterator[Rebuilt]:
        connection = await connect(self._address)
        try:
            with limited(connection, TIMEOUT), translated():
                await connection.execute(f"SET statement_timeout = '{TIMEOUT:.0f}s'")
                complete = {
                    Tier(name): microseconds(at) if at else 0
                    for name, at in await connection.fetch(TIERS)
                }
                sensors = await connection.fetch(_SENSORS)
            for (sensor,) in sensors:
                day = complete[Tier.RAW] // DAY * DAY
                while (found := await self._next(connection, sensor, day)) is not None:
                    part = stretch(found // DAY * DAY, complete)
                    with limited(connection, TIMEOUT), translated():
                        rebuilt = await _rebuild(connection, sensor, part)
                    yield rebuilt
                    day = part.end
        finally:
            connection.terminate()

    async def _next(self, connection: Connection, sensor: int, day: int) -> int | None:
        with limited(connection, TIMEOUT), translated():
            found: datetime | None = await connection.fetchval(_NEXT, sensor, moment(day))
        return None if found is None else microseconds(found)


async def _rebuild(connection: Connection, sensor: int, part: Stretch) -> Rebuilt:
    start, end = moment(part.start), moment(part.end)
    async with connection.transaction():
        until = await connection.fetchval(_HOLD)
        rows = await connection.fetch(rollups.MINUTES, sensor, start, end, until)
        minutes = sorted(_rollup(sensor, row) for row in rows)
        stored = {
            tier: [
                _rollup(sensor, row)
                for row in await connection.fetch(
                    rollups.STORED.format(tier=tier), sensor, moment(part.begins[tier]), end
                )
            ]
            for tier in WIDTHS
        }
        anew, totals = compared(part, minutes, stored)
        if anew:
            await connection.execute(rollups.NAMES, sorted({r.measurement for r in minutes}))
        for tier, wanted in anew.items():
            await connection.execute(
                rollups.REMOVE.format(tier=tier), sensor, moment(part.begins[tier]), end
            )
            await connection.executemany(
                rollups.INSERT.format(tier=tier),
                [
                    (*r[:2], moment(r.bucket), *r[3:9], moment(r.first_at), moment(r.last_at))
                    for r in wanted
                ],
            )
    return Rebuilt(sensor, start, *totals)


def _rollup(sensor: int, row: Any) -> Rollup:
    name, bucket, count, total, minimum, maximum, first, last, first_at, last_at = row
    return Rollup(
        sensor,
        name,
        microseconds(bucket),
        count,
        total,
        minimum,
        maximum,
        first,
        last,
        microseconds(first_at),
        microseconds(last_at),
    )
