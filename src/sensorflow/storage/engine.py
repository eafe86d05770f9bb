"""Opening a storage."""

from pathlib import Path

from sensorflow.storage.base import Storage
from sensorflow.storage.sqlite import SqliteStorage


def open_storage(data_dir: Path) -> Storage:
    """The embedded storage in `data_dir`.

    Raises `SettingsError` for a folder that cannot be used, `DataDirInUse` for one that is.
    """
    return SqliteStorage(data_dir)
