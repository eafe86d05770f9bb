"""The migrated schema is the declared one, on every database."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from sensorflow.storage.migrations import HEAD, upgrade
from sensorflow.storage.postgres.connection import connect, parse
from sensorflow.storage.tables import metadata
from tests.postgres import VERSIONS, shared


def differences(connection: Connection) -> list[object]:
    dialect = connection.dialect.name

    def belongs(item: object, name: str | None, kind: str, reflected: bool, _: object) -> bool:
        if reflected:
            return not (kind == "table" and re.fullmatch(r"readings_\d+", name or ""))
        return bool(getattr(item, "info", {}).get("only", dialect) == dialect)

    context = MigrationContext.configure(connection, opts={"include_object": belongs})
    return list(compare_metadata(context, metadata))


def test_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", "sensorflow.storage:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_the_migrated_schema_is_the_declared_one(tmp_path: Path) -> None:
    database = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with database.begin() as connection:
        assert upgrade(connection)
    with database.connect() as connection:
        assert differences(connection) == []
        # Alembic does not compare AUTOINCREMENT, on which the order of cursors rests.
        tables = connection.execute(text("SELECT sql FROM sqlite_master WHERE type = 'table'"))
        sql = {row[0].split()[2]: row[0] for row in tables}
        assert "AUTOINCREMENT" in sql["readings"]
        assert "AUTOINCREMENT" in sql["sensors"]
        assert not upgrade(connection)
        connection.execute(text("ALTER TABLE readings ADD COLUMN wind REAL"))
        assert len(differences(connection)) == 1
    database.dispose()


@pytest.fixture(params=VERSIONS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    server = shared(request.param)
    url = server.create_database()
    yield url
    server.drop_database(url)


async def test_the_migrated_schema_is_the_declared_one_on_postgresql(url: str) -> None:
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: connect(parse(url)), poolclass=NullPool
    )
    async with engine.begin() as connection:
        assert await connection.run_sync(upgrade)
    async with engine.begin() as connection:
        assert await connection.run_sync(differences) == []
        assert not await connection.run_sync(upgrade)
        await connection.execute(text("ALTER TABLE sensors DROP COLUMN latest"))
        assert len(await connection.run_sync(differences)) == 1
    await engine.dispose()
