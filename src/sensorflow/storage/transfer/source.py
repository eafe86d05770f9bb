"""Where it comes from: the embedded database, which nobody else uses meanwhile."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Table

from sensorflow.errors import SettingsError, StorageUnavailable
from sensorflow.storage.folder import FILE_NAME
from sensorflow.storage.sqlite import SqliteStorage
from sensorflow.storage.tables import readings
from sensorflow.storage.transfer.tables import Row, quoted, reader, select

PAGE_ROWS: Final = 10_000
"""Rows that are in memory at once, and readings in one transaction of the target."""


class Source:
    """Rows of the embedded database, in the order of their keys. Raises `StorageUnavailable`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def count(self, table: Table, until: int | None = None) -> int:
        """How many rows there are; of readings also only those with an id up to `until`."""
        tail = "" if until is None else f" WHERE id <= {until}"
        return self._one(f'SELECT count(*) FROM "{table.name}"{tail}') or 0  # noqa: S608

    def given(self, table: Table) -> int:
        """The highest number that was ever given to a row."""
        found = self._one(f"SELECT seq FROM sqlite_sequence WHERE name = '{table.name}'")  # noqa: S608
        return found or 0

    def oldest(self) -> int:
        """The lowest id of a reading, or the next one where there is none."""
        return self._one("SELECT min(id) FROM readings") or self.given(readings) + 1

    def pages(self, table: Table, after: int | None = None) -> Iterator[list[Row]]:
        """All rows; of readings also only those with an id above `after`."""
        tail = "" if after is None else f"WHERE id > {after}"
        order = quoted(column.name for column in table.primary_key)
        read = reader(table)
        with _failing(), closing(self._database.cursor()) as cursor:
            cursor.execute(select(table, tail).format(order=order))
            while rows := cursor.fetchmany(PAGE_ROWS):
                yield list(map(read, rows))

    def _one(self, query: str) -> int | None:
        with _failing():
            row = self._database.execute(query).fetchone()
        return None if row is None else row[0]


@asynccontextmanager
async def open_source(data_dir: Path) -> AsyncIterator[Source]:
    """The database in `data_dir`, its schema brought up to date, and locked.

    Raises `SettingsError`, `DataDirInUse` or `StorageUnavailable`.
    """
    path = data_dir / FILE_NAME
    if not path.exists():
        raise SettingsError(f"DATA_DIR: there is no database in {data_dir}.")
    storage = SqliteStorage(data_dir)
    try:
        await storage.start()
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with _failing(), closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as database:
            yield Source(database)
    finally:
        await storage.close()


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageUnavailable(f"the embedded database cannot be read ({error})") from None
