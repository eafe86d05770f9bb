"""The databases that the program is measured on, each made for one measurement."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.postgres import Postgres

from benchmarks.server import tool

POSTGRES: Final = "/usr/lib/postgresql/15/bin/postgres"


@dataclass(frozen=True)
class Database:
    """An empty database."""

    variables: Mapping[str, str]
    """Makes the program use it."""
    rows: Callable[[], int]
    """How many readings it holds now."""


Make = Callable[[Path], AbstractContextManager[Database]]
"""Makes one for a program whose DATA_DIR is the folder."""


@contextmanager
def sqlite(folder: Path) -> Iterator[Database]:
    """The embedded one."""

    def rows() -> int:
        uri = f"file:{folder / 'sensorflow.db'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10.0)) as connection:
            count: int = connection.execute("SELECT count(*) FROM readings").fetchone()[0]
            return count

    yield Database({}, rows)


@contextmanager
def postgresql(_: Path) -> Iterator[Database]:
    """PostgreSQL 15 with the settings it comes with, on disk, for this measurement alone."""
    tool(POSTGRES, "postgresql-15")
    with Postgres("15", shared_buffers="128MB") as server:

        def rows() -> int:
            count: int = server.execute("SELECT count(*) FROM readings")[0][0]
            return count

        yield Database({"DATABASE_URL": server.url()}, rows)


DATABASES: Final[Mapping[str, Make]] = {"sqlite": sqlite, "postgresql": postgresql}
