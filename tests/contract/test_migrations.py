"""The migrated schema is the declared one."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from sensorflow.storage.migrations import HEAD, upgrade
from sensorflow.storage.tables import metadata


def test_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", "sensorflow.storage:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_the_migrated_schema_is_the_declared_one(tmp_path: Path) -> None:
    database = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with database.begin() as connection:
        assert upgrade(connection)
    with database.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        # Alembic does not compare AUTOINCREMENT, on which the order of cursors rests.
        tables = connection.execute(text("SELECT sql FROM sqlite_master WHERE type = 'table'"))
        sql = {row[0].split()[2]: row[0] for row in tables}
        assert "AUTOINCREMENT" in sql["readings"]
        assert "AUTOINCREMENT" in sql["sensors"]
        assert not upgrade(connection)
    database.dispose()
