"""The table in which the program that SensorFlow Server follows keeps its readings.

It is only read, as it stands at one moment, in order of time.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from urllib.parse import unquote

from sensorflow.errors import SettingsError, StorageUnavailable
from sensorflow.storage.postgres.connection import connect, limited, parse, translated
from sensorflow.storage.postgres.session import Connection

TABLE: Final = "data"
NEEDED: Final = ("date_recorded", "time_recorded", "sensor_id")
MEASURED: Final = ("temperature", "humidity", "pressure")

PAGE_ROWS: Final = 2_000
PAGE_TIMEOUT: Final = 600.0
"""Seconds for one page; the database sorts the whole table before the first."""

SQLITE: Final = "sqlite:///"

Value: TypeAlias = str | int | float | None


class OriginalRow(NamedTuple):
    """A row, as the table has it. What it has no column for is None."""

    id: Value
    date_recorded: Value
    time_recorded: Value
    temperature: Value
    humidity: Value
    pressure: Value
    sensor_id: Value
    client_ip: Value


class Original(Protocol):
    """The table as it stood when it was opened."""

    rows: int

    def pages(self) -> AsyncIterator[list[OriginalRow]]:
        """All of its rows, each time in the same order: by date and time.

        Raises `StorageUnavailable`.
        """


@asynccontextmanager
async def open_original(url: str) -> AsyncIterator[Original]:
    """The table in a PostgreSQL database, or in the SQLite file of `sqlite:///file`.

    It is locked against another import while it is open. Raises `SettingsError` where there is no
    such table, and `StorageUnavailable`.
    """
    if url.startswith(SQLITE):
        with _open_file(Path(url.removeprefix(SQLITE))) as original:
            yield original
        return
    if url.partition("://")[0] not in ("postgresql", "postgres"):
        raise SettingsError(
            "URL: write postgresql://user:password@host:5432/name, or sqlite:///file."
        )
    connection = await connect(parse(url, "URL"))
    try:
        with translated():
            # One look at the table, however long it takes.
            await connection.execute(
                "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;"
                " SET extra_float_digits = 3; SET datestyle = 'ISO'"
            )
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            if not await connection.fetchval(_LOCK):
                raise SettingsError(_BUSY)
            table = await _open_table(connection)
        yield table
    finally:
        connection.terminate()


_BUSY: Final = "URL: another import is reading this table; wait until it has ended."
_LOCK: Final = "SELECT pg_try_advisory_lock(hashtext('sensorflow import'))"
_COLUMNS: Final = (
    "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute"
    " WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
)


class _Table:
    """In PostgreSQL. Every value comes as text, which says numbers of all types exactly."""

    def __init__(self, connection: Connection, rows: int, query: str) -> None:
        self._connection = connection
        self.rows = rows
        self._query = query

    async def pages(self) -> AsyncIterator[list[OriginalRow]]:
        with translated():
            cursor = await self._connection.cursor(self._query)
            while True:
                with limited(self._connection, PAGE_TIMEOUT):
                    found = await cursor.fetch(PAGE_ROWS)
                if not found:
                    return
                yield [OriginalRow(*row) for row in found]


async def _open_table(connection: Connection) -> _Table:
    columns = {row[0]: row[1] for row in await connection.fetch(_COLUMNS, TABLE)}
    _check(list(columns))

    def text(name: str) -> str:
        return f"host({name})" if columns[name] in ("inet", "cidr") else f"{name}::text"

    rows = await connection.fetchval(f"SELECT count(*) FROM {TABLE}")  # noqa: S608
    return _Table(connection, rows, _select(columns, {name: text(name) for name in columns}))


class _File:
    """In SQLite."""

    def __init__(self, database: sqlite3.Connection, query: str) -> None:
        self._database = database
        self._query = query
        self.rows: int = database.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0]  # noqa: S608

    async def pages(self) -> AsyncIterator[list[OriginalRow]]:
        with _failing(), closing(self._database.execute(self._query)) as cursor:
            while found := cursor.fetchmany(PAGE_ROWS):
                yield [OriginalRow(*row) for row in found]
                await asyncio.sleep(0)


@contextmanager
def _open_file(path: Path) -> Iterator[_File]:
    path = Path(unquote(str(path)))
    if not path.is_file():
        raise SettingsError(f"URL: there is no file {path}.")
    # Closed after the database, whose own locks on the file would end with it.
    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with _failing(), closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as database:
            database.execute("BEGIN")
            found = [row[1] for row in database.execute(f"PRAGMA table_info({TABLE})")]
            _check(found)
            yield _File(database, _select(found, {name: name for name in found}))
    except BlockingIOError:
        raise SettingsError(_BUSY) from None
    finally:
        os.close(lock)


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageUnavailable(str(error)) from None


def _check(columns: Sequence[str]) -> None:
    if not columns:
        raise SettingsError(f"URL: that database has no table {TABLE}.")
    has = f"it has {', '.join(columns[:20])}"
    for name in NEEDED:
        if name not in columns:
            raise SettingsError(f"URL: the table {TABLE} has no column {name}; {has}.")
    if not set(MEASURED) & set(columns):
        raise SettingsError(f"URL: the table {TABLE} has no column {' or '.join(MEASURED)}; {has}.")


def _select(columns: Any, expressions: dict[str, str]) -> str:
    chosen = (expressions.get(name, "NULL") for name in OriginalRow._fields)
    order = [
        f"{TABLE}.{name}" for name in ("date_recorded", "time_recorded", "id") if name in columns
    ]
    return f"SELECT {', '.join(chosen)} FROM {TABLE} ORDER BY {', '.join(order)}"  # noqa: S608
