"""What the suites of PostgreSQL share. A suite of every backend has a `storage` of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from sensorflow.storage.base import Storage
from sensorflow.storage.engine import open_storage
from sensorflow.storage.postgres import connection, readers, sensors, session
from sensorflow.storage.postgres import storage as storage_module
from sensorflow.storage.postgres.storage import PostgresStorage
from tests.embedded import make_tables
from tests.postgres import VERSIONS, Postgres, shared

_THIS = "(SELECT oid FROM pg_database WHERE datname = current_database())"
WAITING = f"SELECT 1 FROM pg_locks WHERE NOT granted AND database = {_THIS}"
SESSIONS = (
    "SELECT pid FROM pg_stat_activity"
    f" WHERE datid = {_THIS} AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)
TERMINATED = f"SELECT pg_terminate_backend(pid) FROM ({SESSIONS}) AS s"


class Database:
    """A database of its own, with our tables, in the process's server."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.url = server.create_database(migrated=True)

    def execute(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        return self.server.execute(sql, *arguments, database=self.url)

    def count(self, table: str = "readings") -> int:
        count: int = self.execute(f"SELECT count(*) FROM {table}")[0][0]
        return count


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that are not about time-outs: a busy machine is no database that is away."""
    for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
        monkeypatch.setitem(connection._SESSION, name, "60000")
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 60.0)
    monkeypatch.setattr(session, "APPEND_TIMEOUT", 60.0)
    for module in (readers, storage_module):
        monkeypatch.setattr(module, "READ_TIMEOUT", 60.0)
    monkeypatch.setattr(sensors, "TIMEOUT", 60.0)


@pytest.fixture(params=VERSIONS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    made = Database(shared(request.param))
    yield made
    made.server.drop_database(made.url)


@pytest.fixture
async def storage(database: Database) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(database.url)
    await storage.start()
    yield storage
    await storage.close()


@pytest.fixture(params=["sqlite", *(f"postgresql-{version}" for version in VERSIONS)])
async def any_storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    backend, _, version = request.param.partition("-")
    if backend == "sqlite":
        make_tables(tmp_path)
        storage = open_storage(tmp_path)
        await storage.start()
        yield storage
        await storage.close()
        return
    server = shared(version)
    url = server.create_database(migrated=True)
    storage = open_storage(tmp_path, url)
    await storage.start()
    yield storage
    await storage.close()
    server.drop_database(url)


@pytest.fixture
def own_server() -> Iterator[Postgres]:
    """One that may be frozen and stopped."""
    with Postgres("15", in_memory=True) as server:
        yield server
        server.resume()
