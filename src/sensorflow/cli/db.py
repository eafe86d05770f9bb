"""`sensorflow db …`."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from sensorflow.errors import SettingsError
from sensorflow.settings import Settings
from sensorflow.storage.base import Storage
from sensorflow.storage.engine import open_storage

T = TypeVar("T")


def upgrade_database() -> None:
    """Apply the migrations that the database lacks. Refused while a server uses it."""
    _in_storage(_nothing)
    print("The database is up to date.")


def back_up(file: Path) -> None:
    """Copy the embedded database to a file, also while a server uses it."""
    from sensorflow.storage.copies import backup

    size = backup(_embedded("pg_dump"), file)
    print(f"{file}: {size:,} bytes.")


def restore(file: Path) -> None:
    """Put such a copy in the place of the embedded database, which is set aside."""
    from sensorflow.storage.copies import REPLACED, restore

    data_dir = _embedded("pg_restore, and then `sensorflow db restored`")
    before = (data_dir / REPLACED).exists()
    first = restore(data_dir, file)
    print(f"Restored. The next reading gets the id {first:,}.")
    if (data_dir / REPLACED).exists():
        was = ", in the place of the one before" if before else ""
        print(f"What was there is kept as {data_dir / REPLACED}{was}.")


def move_ids_on() -> None:
    """After a restore by other means: have ids go on where none was ever given."""
    first = _in_storage(lambda storage: storage.skip_ids())
    print(f"The next reading gets the id {first:,}.")


def _embedded(instead: str) -> Path:
    """DATA_DIR, where the embedded database is in use."""
    settings = Settings()
    if settings.database_url is not None:
        raise SettingsError(f"DATABASE_URL: the database is PostgreSQL; use {instead}.")
    return settings.data_dir


async def _nothing(_: Storage) -> None:
    """Being opened is all."""


def _in_storage(call: Callable[[Storage], Awaitable[T]]) -> T:
    """What `call` returns with the storage open and its schema up to date."""
    settings = Settings()

    async def run() -> T:
        storage = open_storage(settings.data_dir, settings.database_url)
        try:
            await storage.start()
            return await call(storage)
        finally:
            await storage.close()

    return asyncio.run(run())
