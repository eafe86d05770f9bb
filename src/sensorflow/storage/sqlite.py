"""The embedded storage: one SQLite file, WAL, every commit flushed to disk.

One thread owns the writing connection, so a batch costs one hop between threads however many
statements it needs; reads have a thread and a connection of their own and never wait for it.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import URL, create_engine, event
from sqlalchemy.exc import DBAPIError

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
from sensorflow.storage.folder import FILE_NAME, lock_data_dir
from sensorflow.storage.ids import skip_sqlite_ids
from sensorflow.storage.migrations import upgrade
from sensorflow.storage.removal import remove_some
from sensorflow.storage.rows import (
    AT_TIMES,
    LATEST,
    OLDEST,
    SELECT_READINGS,
    as_json,
    from_row,
    microseconds,
    moment,
)
from sensorflow.storage.thread import Arguments, OwnThread, T

LOG_KEPT: Final = 16 * 2**20
"""Bytes that the write-ahead log keeps on disk; it is written back to the file every 4 MiB."""

_BUSY_TIMEOUT: Final = 1.0  # seconds; a reading waits for two commits, and never for 3 s


class SqliteStorage:
    """Implements `storage.base.Storage`. Holds the lock on `data_dir` from creation to close.

    Creation raises `SettingsError` for a folder that cannot be used, and `DataDirInUse`.
    """

    def __init__(self, data_dir: Path, sensors_kept: int = SENSORS_KEPT) -> None:
        self._appender = Appender(sensors_kept)
        self._lock = lock_data_dir(data_dir)
        self._engine = create_engine(
            URL.create("sqlite+pysqlite", database=str(data_dir / FILE_NAME)),
            pool_size=2,
            max_overflow=0,
            isolation_level="AUTOCOMMIT",
            connect_args={"timeout": _BUSY_TIMEOUT, "check_same_thread": False},
        )
        event.listen(self._engine, "connect", _configure)
        self._writer = OwnThread("sqlite-writer")
        self._reader = OwnThread("sqlite-reader")
        self._cursor: sqlite3.Cursor | None = None
        self._closed = False
        self._away = False

    async def start(self) -> None:
        await self._run(self._writer, self._start)

    async def append(self, readings: Sequence[Reading], token: UUID | None = None) -> list[Outcome]:
        try:
            outcomes = await self._run(self._writer, self._append, readings)
        except StorageUnavailable:
            self._away = True
            raise
        self._away = False
        return outcomes

    def settle(self, token: UUID) -> None:
        """Nothing is kept: what is unavailable has not been committed."""

    async def newest(self) -> Reading | None:
        found = await self._run(self._reader, self._select, "ORDER BY r.id DESC LIMIT 1", ())
        return found[0] if found else None

    async def latest(self, sensors: Sequence[str], until: int) -> Reading | None:
        parameters = (until, as_json(sensors))
        found = await self._run(self._reader, self._select, LATEST, parameters)
        return found[0] if found else None

    async def after(self, cursor: int, limit: int) -> list[Reading]:
        tail = "WHERE r.id > ? ORDER BY r.id LIMIT ?"
        return await self._run(self._reader, self._select, tail, (cursor, limit))

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
        return await self._run(self._reader, self._select, *query)

    async def recorded_before(
        self,
        place: tuple[datetime, int],
        since: datetime,
        until: int,
        limit: int,
        sensors: Sequence[str] | None,
    ) -> list[Reading]:
        query = history.recorded_before(place, since, until, limit, sensors)
        return await self._run(self._reader, self._select, *query)

    async def measurement_names(self, limit: int, sensors: Sequence[str] | None) -> list[str]:
        query = history.measurement_names(limit, sensors)
        return [name for (name,) in await self._run(self._reader, self._rows, *query)]

    async def by_server_clock(self, times: Collection[tuple[str, datetime]]) -> list[Reading]:
        wanted = as_json((name, microseconds(time)) for name, time in times)
        return await self._run(self._reader, self._select, AT_TIMES, (wanted, Clock.SERVER))

    async def oldest(self) -> int:
        return await self._run(self._reader, self._oldest)

    async def lead(self) -> int | None:
        ((cursor,),) = await self._run(self._reader, self._rows, of_sensors.CURSOR, ())
        return int(cursor)

    async def gathered(self, after: int, limit: int) -> Page:
        return await self._run(self._reader, self._gathered, after, limit)

    async def states(self, sensors: Sequence[int]) -> dict[int, State]:
        parameters = (as_json(sensors),)
        ((rows,),) = await self._run(self._reader, self._rows, of_sensors.STATES, parameters)
        return of_sensors.states(rows)

    async def follow(self, page: Page, states: Mapping[int, State]) -> bool:
        assert isinstance(page, rollups.SummedPage)
        return await self._run(
            self._writer, self._transaction, of_sensors.write_states, page, states
        )

    async def count(self, counts: Counts, token: UUID, settled: UUID | None) -> None:
        # The tokens are of no use: what is unavailable has not been committed.
        await self._run(
            self._writer, self._transaction, of_sensors.write_counts, counts, datetime.now(UTC)
        )

    async def sensor(self, sensor_id: str) -> Sensor | None:
        rows = await self._run(self._reader, self._rows, of_sensors.ONE, (sensor_id,))
        return of_sensors.from_row(rows[0]) if rows else None

    async def sensors(self, limit: int, after: Place | None, containing: str) -> list[Sensor]:
        query, parameters = of_sensors.select_page(limit, after, containing)
        rows = await self._run(self._reader, self._rows, query, parameters)
        return [of_sensors.from_row(row) for row in rows]

    async def describe(self, sensor_id: str, change: Change) -> bool:
        return await self._run(
            self._writer, self._transaction, of_sensors.write_details, sensor_id, change
        )

    async def remove_some(self, sensor_id: str, limit: int) -> Removed | None:
        return await self._run(self._writer, self._remove_some, sensor_id, limit)

    async def complete_from(self) -> Mapping[Tier, datetime | None]:
        rows = await self._run(self._reader, self._rows, series.TIERS, ())
        return {Tier(name): at and moment(at) for name, at in rows}

    async def summarised(
        self, wanted: Wanted, slices: Mapping[Tier, Sequence[Slice]]
    ) -> list[Summary] | None:
        return await self._run(self._reader, self._reading, series.summarised, wanted, slices)

    async def summarised_raw(
        self, wanted: Wanted, within: Slice, width: timedelta
    ) -> list[Summary] | None:
        return await self._run(
            self._reader, self._reading, series.summarised_raw, wanted, within, width
        )

    async def ping(self) -> None:
        await self._run(self._reader, self._select, "WHERE r.id = ?", (0,))
        if self._away:
            # Reading works on a full disk; only a commit tells that writing works again.
            await self._run(self._writer, self._probe)
            self._away = False

    async def skip_ids(self) -> int:
        return await self._run(self._writer, self._skip_ids)

    async def rows(self, query: str, parameters: Sequence[object] = ()) -> Sequence[Sequence[Any]]:
        """Read what a query finds."""
        return await self._run(self._reader, self._rows, query, parameters)

    async def in_transaction(
        self, write: Callable[[sqlite3.Cursor, *Arguments], T], *arguments: *Arguments
    ) -> T:
        """Write in one transaction, between two batches."""
        return await self._run(self._writer, self._transaction, write, *arguments)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._close)

    async def _run(
        self, thread: OwnThread, call: Callable[[*Arguments], T], *arguments: *Arguments
    ) -> T:
        try:
            return await thread.run(call, *arguments)
        except (sqlite3.Error, DBAPIError) as error:
            raise StorageUnavailable(str(getattr(error, "orig", error))) from error

    def _start(self) -> None:
        with self._engine.connect() as connection:
            upgrade(connection)
        # Detached from the pool: all writing goes through this one connection until the end.
        pooled = self._engine.raw_connection()
        driver = pooled.driver_connection
        pooled.detach()
        assert isinstance(driver, sqlite3.Connection)
        self._cursor = driver.cursor()
        self._appender.recover(self._cursor)

    def _skip_ids(self) -> int:
        first = skip_sqlite_ids(self._writing)
        self._appender.last_id = first - 1
        return first

    def _probe(self) -> None:
        self._writing.execute("PRAGMA user_version = 0")

    def _append(self, readings: Sequence[Reading]) -> list[Outcome]:
        return self._appender.append(self._writing, readings)

    @property
    def _writing(self) -> sqlite3.Cursor:
        assert self._cursor is not None, "append before start"
        return self._cursor

    def _oldest(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.exec_driver_sql(OLDEST).scalar() or 1)

    def _select(self, tail: str, parameters: Sequence[object]) -> list[Reading]:
        with self._engine.connect() as connection:
            rows = connection.exec_driver_sql(SELECT_READINGS + tail, tuple(parameters))
            return [from_row(row) for row in rows]

    def _rows(self, query: str, parameters: Sequence[object]) -> Sequence[Sequence[Any]]:
        with self._engine.connect() as connection:
            return connection.exec_driver_sql(query, tuple(parameters)).fetchall()

    def _reading(self, read: Callable[[series.Rows, *Arguments], T], *arguments: *Arguments) -> T:
        with self._engine.connect() as connection:
            return series.at_one_moment(connection, read, *arguments)

    def _gathered(self, after: int, limit: int) -> Page:
        ((first, newest),) = self._rows(rollups.WINDOW, (after,))
        page = rollups.SummedPage(after, after, False, {}, [])
        if first is not None:
            page.until = min(newest, first + min(limit, rollups.PLACES) - 1)
            page.more = page.until < newest
            window = first, page.until
            ((others,),) = self._rows(rollups.OTHERS, window)
            rollups.summed(page, self._rows(rollups.KNOWN, window), others)
        return page

    def _remove_some(self, sensor_id: str, limit: int) -> Removed | None:
        removed = self._transaction(remove_some, sensor_id, limit)
        if removed is not None and removed.done:
            self._appender.forget(sensor_id)
        return removed

    def _transaction(
        self, write: Callable[[sqlite3.Cursor, *Arguments], T], *arguments: *Arguments
    ) -> T:
        cursor = self._writing
        cursor.execute("BEGIN IMMEDIATE")
        try:
            result = write(cursor, *arguments)
            cursor.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                cursor.execute("ROLLBACK")
            raise
        return result

    def _close(self) -> None:
        self._writer.join()
        self._reader.join()
        if self._cursor is not None:
            self._cursor.connection.close()
        self._engine.dispose()
        os.close(self._lock)


def _configure(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # A reader may hold the log open while it grows; afterwards the file is cut back to this.
    connection.execute(f"PRAGMA journal_size_limit = {LOG_KEPT}")
