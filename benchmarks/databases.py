"""The databases that the program is measured on, each made for one measurement."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from tests.postgres import Postgres

from benchmarks.server import tool

POSTGRES: Final = "/usr/lib/postgresql/15/bin/postgres"


_BYTES: Final = (
    "SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_partition_tree('readings')"
    " WHERE isleaf"
)


@dataclass(frozen=True)
class Database:
    """An empty database."""

    variables: Mapping[str, str]
    """Makes the program use it."""
    rows: Callable[[], int]
    """How many readings it holds now."""
    bytes: Callable[[], int]
    """How much they take, with their indexes, as far as the database knows."""
    processes: Callable[[], list[psutil.Process]]
    """Its own, beside the program's."""


Make = Callable[[Path], AbstractContextManager[Database]]
"""Makes one for a program whose DATA_DIR is the folder."""


@contextmanager
def sqlite(folder: Path) -> Iterator[Database]:
    """The embedded one."""

    def ask(sql: str) -> int:
        uri = f"file:{folder / 'sensorflow.db'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10.0)) as connection:
            number: int = connection.execute(sql).fetchone()[0]
            return number

    yield Database(
        {},
        rows=lambda: ask("SELECT count(*) FROM readings"),
        bytes=lambda: ask("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"),
        processes=list,
    )


@contextmanager
def postgresql(_: Path) -> Iterator[Database]:
    """PostgreSQL 15 with the settings it comes with, on disk, for this measurement alone."""
    tool(POSTGRES, "postgresql-15")
    with Postgres("15", shared_buffers="128MB") as server:

        def ask(sql: str) -> int:
            number: int = server.execute(sql)[0][0]
            return number

        def processes() -> list[psutil.Process]:
            postmaster = psutil.Process(server.process.pid)
            return [postmaster, *postmaster.children(recursive=True)]

        yield Database(
            {"DATABASE_URL": server.url()},
            rows=lambda: ask("SELECT count(*) FROM readings"),
            bytes=lambda: ask(_BYTES),
            processes=processes,
        )


DATABASES: Final[Mapping[str, Make]] = {"sqlite": sqlite, "postgresql": postgresql}
