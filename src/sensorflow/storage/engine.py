"""Opening a storage."""

from pathlib import Path

from sensorflow.storage.base import Storage
from sensorflow.storage.rebuilding import Rebuilds, SqliteRebuilder
from sensorflow.storage.sqlite import SqliteStorage


def open_storage(data_dir: Path, database_url: str | None = None) -> Storage:
    """PostgreSQL at `database_url`, else the embedded storage in `data_dir`.

    Raises `SettingsError` for a URL or a folder that cannot be used, `DataDirInUse` for a folder
    that is.
    """
    if database_url is None:
        return SqliteStorage(data_dir)
    # Loaded here because whoever uses SQLite need not wait for the driver.
    from sensorflow.storage.postgres.storage import PostgresStorage

    return PostgresStorage(database_url)


def open_rebuilder(storage: Storage) -> Rebuilds:
    """What makes the storage's rollups anew."""
    if isinstance(storage, SqliteStorage):
        return SqliteRebuilder(storage)
    from sensorflow.storage.postgres.rebuilding import PostgresRebuilder
    from sensorflow.storage.postgres.storage import PostgresStorage

    assert isinstance(storage, PostgresStorage)
    return PostgresRebuilder(storage.address)
