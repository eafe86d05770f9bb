"""How a database stands, for who asks without changing anything."""

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from sensorflow.errors import StorageUnavailable
from sensorflow.storage.folder import FILE_NAME
from sensorflow.storage.migrations import HEAD

OLDEST_VERSION: Final = 15
"""Of PostgreSQL."""

CONNECTIONS_PER_WORKER: Final = 9
"""One writes, one listens, one follows, four read; one of all workers' drops, and now and then
one does the upkeep.
"""

TIMEOUT: Final = 2.0
"""Seconds for all questions together."""


class Schema(Enum):
    """The database's newest migration beside this version's."""

    NONE = "none"
    BEHIND = "behind"
    CURRENT = "current"
    AHEAD = "ahead"


@dataclass(frozen=True)
class Standing:
    """What a PostgreSQL server, and our role in it, is good for."""

    version: int
    read_only: bool
    fsync: bool
    full_page_writes: bool
    may_create: bool
    """Whether this role may make tables."""
    owns_tables: bool
    """Whether it may add partitions; True where there are no tables yet."""
    connections: int
    """How many it allows, less those for superusers."""
    clock_ahead: float
    """Seconds by which its clock is ahead of ours."""
    schema: Schema


_QUESTIONS: Final = """
SELECT current_setting('server_version_num')::int / 10000 AS version,
    current_setting('transaction_read_only') = 'on' AS read_only,
    current_setting('fsync') = 'on' AS fsync,
    current_setting('full_page_writes') = 'on' AS full_page_writes,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
    coalesce((SELECT pg_has_role(relowner, 'USAGE') FROM pg_class
        WHERE oid = to_regclass('readings')), true) AS owns_tables,
    current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int AS connections,
    extract(epoch FROM clock_timestamp())::float8 AS now,
    to_regclass('alembic_version') IS NOT NULL AS has_schema
"""


async def postgres_standing(url: str) -> Standing:
    """Raises `SettingsError` for a URL that cannot be right, or `StorageUnavailable`."""
    # Loaded here because whoever uses SQLite need not wait for the driver.
    from sensorflow.storage.postgres.connection import connect, limited, parse, translated

    connection = await connect(parse(url))
    try:
        with limited(connection, TIMEOUT), translated():
            before = time.time()
            row = await connection.fetchrow(_QUESTIONS)
            between = (before + time.time()) / 2
            assert row is not None
            found = dict(row)
            revision = None
            if found.pop("has_schema"):
                revision = await connection.fetchval("SELECT version_num FROM alembic_version")
    finally:
        connection.terminate()
    return Standing(clock_ahead=found.pop("now") - between, schema=_schema(revision), **found)


def embedded_schema(data_dir: Path) -> Schema:
    """Raises `StorageUnavailable` where the file is no database of ours."""
    path = data_dir / FILE_NAME
    if not path.exists():
        return Schema.NONE
    try:
        uri = f"{path.resolve().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=TIMEOUT)) as database:
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
            database.execute("SELECT id FROM readings ORDER BY id DESC LIMIT 1").fetchone()
    except sqlite3.Error as error:
        raise StorageUnavailable(str(error)) from None
    return _schema(row[0] if row else None)


def _schema(revision: str | None) -> Schema:
    """Revisions are numbered one higher each, in as many digits."""
    if revision is None:
        return Schema.NONE
    if revision == HEAD:
        return Schema.CURRENT
    return Schema.BEHIND if revision < HEAD else Schema.AHEAD
