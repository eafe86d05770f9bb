"""Opening a storage."""

from pathlib import Path

from sensorflow.errors import SettingsError
from sensorflow.storage.base import Storage
from sensorflow.storage.sqlite import SqliteStorage


def open_storage(data_dir: Path, database_url: str | None = None) -> Storage:
    """The embedded storage in `data_dir`.

    Raises `SettingsError` for a folder that cannot be used, `DataDirInUse` for one that is.
    """
    if database_url is not None:
        raise SettingsError(
            "DATABASE_URL: PostgreSQL is not supported yet; leave it unset to use SQLite."
        )
    return SqliteStorage(data_dir)
