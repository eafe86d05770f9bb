"""The embedded storage: one SQLite file, WAL, every commit flushed to disk."""

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from sensorflow.disk import Tier
from sensorflow.errors import StorageUnavailable
from sensorflow.readings import Clock, Outcome, Reading
from sensorflow.sensors import (
    Change,
    Counts,
    Page,
    Place,
    Removed,
    Sensor,
    Slice,
    State,
    Summary,
    Wanted,
)
from sensorflow.storage import history, rollups, series
from sensorflow.storage import sensors as of_sensors
from sensorflow.storage.appending import SENSORS_KEPT, Appender
from sensorflow.storage.connections import Connections, rows, transaction
from sensorflow.storage.ids import skip_sqlite_ids
from sensorflow.storage.removal import remove_some
from sensorflow.storage.rows import AT_TIMES, LATEST, OLDEST, SELECT_READINGS, as_json, from_row
from sensorflow.storage.thread import Arguments, T
from sensorflow.times import microseconds, moment


class SqliteStorage:
    """Implements `storage.base.Storage`. Holds the lock on `data_dir` from creation to close.

    Creation raises `SettingsError` for a folder that cannot be used, and `DataDirInUse`.
    """

    def __init__(self, data_dir: Path, sensors_kept: int = SENSORS_KEPT) -> None:
        self._appender = Appender(sensors_kept)
        self._connections = Connections(data_dir)
        self._away = False

    async def start(self) -> None:
        await self._connections.open()
        await self._connections.write(self._appender.recover)

    async def append(
        self, readings: Sequence[Reading], token: UUID | None = None
    ) -> Sequence[Outcome]:
        try:
            outcomes = await self._connections.write(self._appender.append, readings)
        except StorageUnavailable:
            self._away = True
            raise
        self._away = False
        return outcomes

    def settle(self, token: UUID) -> None:
        """Nothing is kept: what is unavailable has not been committed."""

    async def newest(self) -> Reading | None:
        found = await self._select("ORDER BY r.id DESC LIMIT 1", ())
        return found[0] if found else None

    async def latest(self, sensors: Sequence[str], until: int) -> Reading | None:
        parameters = (until, as_json(sensors))
        found = await self._select(LATEST, parameters)
        return found[0] if found else None

    async def after(self, cursor: int, limit: int) -> list[Reading]:
        tail = "WHERE r.id > ? ORDER BY r.id LIMIT ?"
        return await self._select(tail, (cursor, limit))

    async def between(
        self,
        after: int,
        until: int,
        limit: int,
        sensors: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[Reading]:
        query = history.between(after, until, limit, sensors, start, end)
        return await self._select(*query)

    async def recorded_before(
        self,
        place: tuple[datetime, int],
        since: datetime,
        until: int,
        limit: int,
        sensors: Sequence[str] | None,
    ) -> list[Reading]:
        query = history.recorded_before(place, since, until, limit, sensors)
        return await self._select(*query)

    async def measurement_names(self, limit: int, sensors: Sequence[str] | None) -> list[str]:
        query = history.measurement_names(limit, sensors)
        return [name for (name,) in await self.rows(*query)]

    async def by_server_clock(self, times: Collection[tuple[str, datetime]]) -> list[Reading]:
        wanted = as_json((name, microseconds(time)) for name, time in times)
        return await self._select(AT_TIMES, (wanted, Clock.SERVER))

    async def oldest(self) -> int:
        ((lowest,),) = await self.rows(OLDEST)
        return int(lowest or 1)

    async def lead(self) -> int | None:
        ((cursor,),) = await self.rows(of_sensors.CURSOR, ())
        return int(cursor)

    async def gathered(self, after: int, limit: int) -> Page:
        return await self._connections.read(_gathered, after, limit)

    async def states(self, sensors: Sequence[int]) -> dict[int, State]:
        parameters = (as_json(sensors),)
        ((rows,),) = await self.rows(of_sensors.STATES, parameters)
        return of_sensors.states(rows)

    async def follow(self, page: Page, states: Mapping[int, State]) -> bool:
        assert isinstance(page, rollups.SummedPage)
        return await self.in_transaction(of_sensors.write_states, page, states)

    async def count(self, counts: Counts, token: UUID, settled: UUID | None) -> None:
        # The tokens are of no use: what is unavailable has not been committed.
        await self.in_transaction(of_sensors.write_counts, counts, datetime.now(UTC))

    async def sensor(self, sensor_id: str) -> Sensor | None:
        rows = await self.rows(of_sensors.ONE, (sensor_id,))
        return of_sensors.from_row(rows[0]) if rows else None

    async def sensors(self, limit: int, after: Place | None, containing: str) -> list[Sensor]:
        query, parameters = of_sensors.select_page(limit, after, containing)
        rows = await self.rows(query, parameters)
        return [of_sensors.from_row(row) for row in rows]

    async def describe(self, sensor_id: str, change: Change) -> bool:
        return await self.in_transaction(of_sensors.write_details, sensor_id, change)

    async def remove_some(self, sensor_id: str, limit: int) -> Removed | None:
        return await self._connections.write(self._remove_some, sensor_id, limit)

    async def complete_from(self) -> Mapping[Tier, datetime | None]:
        rows = await self.rows(series.TIERS, ())
        return {Tier(name): at and moment(at) for name, at in rows}

    async def summarised(
        self, wanted: Wanted, slices: Mapping[Tier, Sequence[Slice]]
    ) -> list[Summary] | None:
        return await self._connections.read(series.at_one_moment, series.summarised, wanted, slices)

    async def summarised_raw(
        self, wanted: Wanted, within: Slice, width: timedelta
    ) -> list[Summary] | None:
        return await self._connections.read(
            series.at_one_moment, series.summarised_raw, wanted, within, width
        )

    async def ping(self) -> None:
        await self._select("WHERE r.id = ?", (0,))
        if self._away:
            # Reading works on a full disk; only a commit tells that writing works again.
            await self._connections.write(_probe)
            self._away = False

    async def skip_ids(self) -> int:
        return await self._connections.write(self._skip_ids)

    async def rows(self, query: str, parameters: Sequence[object] = ()) -> Sequence[Sequence[Any]]:
        """Read what a query finds."""
        return await self._connections.read(rows, query, parameters)

    async def in_transaction(
        self, write: Callable[[sqlite3.Cursor, *Arguments], T], *arguments: *Arguments
    ) -> T:
        """Write in one transaction, between two batches."""
        return await self._connections.write(transaction, write, *arguments)

    async def close(self) -> None:
        await self._connections.close()

    async def _select(self, tail: str, parameters: Sequence[object]) -> list[Reading]:
        return await self._connections.read(_readings, tail, parameters)

    def _skip_ids(self, cursor: sqlite3.Cursor) -> int:
        first = skip_sqlite_ids(cursor)
        self._appender.last_id = first - 1
        return first

    def _remove_some(self, cursor: sqlite3.Cursor, sensor_id: str, limit: int) -> Removed | None:
        removed = transaction(cursor, remove_some, sensor_id, limit)
        if removed is not None and removed.done:
            self._appender.forget(sensor_id)
        return removed


def _readings(connection: Connection, tail: str, parameters: Sequence[object]) -> list[Reading]:
    return [from_row(row) for row in rows(connection, SELECT_READINGS + tail, parameters)]


def _gathered(connection: Connection, after: int, limit: int) -> Page:
    ((first, newest),) = rows(connection, rollups.WINDOW, (after,))
    page = rollups.SummedPage(after, after, False, {}, [])
    if first is not None:
        page.until = min(newest, first + min(limit, rollups.PLACES) - 1)
        page.more = page.until < newest
        window = first, page.until
        ((others,),) = rows(connection, rollups.OTHERS, window)
        rollups.summed(page, rows(connection, rollups.KNOWN, window), others)
    return page


def _probe(cursor: sqlite3.Cursor) -> None:
    cursor.execute("PRAGMA user_version = 0")
