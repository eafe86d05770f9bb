"""The folder of the embedded database: what is in it, and who may use it."""

import fcntl
import os
from pathlib import Path
from typing import Final

from sensorflow.errors import DataDirInUse, SettingsError

FILE_NAME: Final = "sensorflow.db"
LOCK_NAME: Final = "sensorflow.lock"


def lock_data_dir(data_dir: Path) -> int:
    """Make `data_dir` where it is missing, and lock it; the lock ends when the file is closed.

    Raises `SettingsError` for a folder that cannot be used, and `DataDirInUse`.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        lock = os.open(data_dir / LOCK_NAME, flags, 0o600)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"DATA_DIR: {str(data_dir)!r} cannot be used ({error}); "
            "name a folder that this user may write to."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise DataDirInUse(
            f"another sensorflow process is using DATA_DIR {data_dir}; stop it first, "
            "or give this one a DATA_DIR of its own."
        ) from None
    return lock
