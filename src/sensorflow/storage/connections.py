"""The connections to the embedded database: one that writes and those that read.

Each kind is used by a thread of its own, so a batch costs one hop between threads however many
statements it needs, and reads never wait for it.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DBAPIError

from sensorflow.errors import StorageUnavailable
from sensorflow.storage.folder import FILE_NAME, lock_data_dir
from sensorflow.storage.migrations import upgrade
from sensorflow.storage.thread import Arguments, OwnThread, T

LOG_KEPT: Final = 16 * 2**20
"""Bytes that the write-ahead log keeps on disk; it is written back to the file every 4 MiB."""

_BUSY_TIMEOUT: Final = 1.0  # seconds; a reading waits for two commits, and never for 3 s


class Connections:
    """Holds the lock on `data_dir` from creation to close.

    Creation raises `SettingsError` for a folder that cannot be used, and `DataDirInUse`; the
    rest raises `StorageUnavailable`.
    """

    def __init__(self, data_dir: Path) -> None:
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

    async def open(self) -> None:
        """Bring the schema up to date, and be ready to write."""
        await _run(self._writer, self._open)

    async def write(
        self, call: Callable[[sqlite3.Cursor, *Arguments], T], *arguments: *Arguments
    ) -> T:
        """What `call` returns, on the connection that writes; it begins and ends transactions."""
        return await _run(self._writer, self._write, call, *arguments)

    async def read(self, call: Callable[[Connection, *Arguments], T], *arguments: *Arguments) -> T:
        """What `call` returns, on a connection that reads."""
        return await _run(self._reader, self._read, call, *arguments)

    async def close(self) -> None:
        """Finish what is under way and release everything. Idempotent."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._close)

    def _open(self) -> None:
        with self._engine.connect() as connection:
            upgrade(connection)
        # Detached from the pool: all writing goes through this one connection until the end.
        pooled = self._engine.raw_connection()
        driver = pooled.driver_connection
        pooled.detach()
        assert isinstance(driver, sqlite3.Connection)
        self._cursor = driver.cursor()

    def _write(self, call: Callable[[sqlite3.Cursor, *Arguments], T], *arguments: *Arguments) -> T:
        assert self._cursor is not None, "write before open"
        return call(self._cursor, *arguments)

    def _read(self, call: Callable[[Connection, *Arguments], T], *arguments: *Arguments) -> T:
        with self._engine.connect() as connection:
            return call(connection, *arguments)

    def _close(self) -> None:
        self._writer.join()
        self._reader.join()
        if self._cursor is not None:
            self._cursor.connection.close()
        self._engine.dispose()
        os.close(self._lock)


def rows(
    connection: Connection, query: str, parameters: Sequence[object] = ()
) -> Sequence[Sequence[Any]]:
    """What a query finds."""
    return connection.exec_driver_sql(query, tuple(parameters)).fetchall()


def transaction(
    cursor: sqlite3.Cursor,
    write: Callable[[sqlite3.Cursor, *Arguments], T],
    *arguments: *Arguments,
) -> T:
    """What `write` returns, in one transaction."""
    cursor.execute("BEGIN IMMEDIATE")
    try:
        result = write(cursor, *arguments)
        cursor.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            cursor.execute("ROLLBACK")
        raise
    return result


async def _run(thread: OwnThread, call: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    try:
        return await thread.run(call, *arguments)
    except (sqlite3.Error, DBAPIError) as error:
        raise StorageUnavailable(str(getattr(error, "orig", error))) from error


def _configure(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # A reader may hold the log open while it grows; afterwards the file is cut back to this.
    connection.execute(f"PRAGMA journal_size_limit = {LOG_KEPT}")
