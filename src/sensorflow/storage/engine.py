"""Opening a storage."""

from pathlib import Path

from sensorflow.storage.base import Storage
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
