"""The embedded database as the migrations leave it, made once and copied for each test."""

import asyncio
import functools
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sensorflow.storage.folder import FILE_NAME
from sensorflow.storage.sqlite import SqliteStorage


def make_tables(folder: Path) -> None:
    """Put the database with our tables into `folder`, where there is none."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / FILE_NAME
    if not path.exists():
        path.touch(0o600)
        path.write_bytes(_tables())


@functools.cache
def _tables() -> bytes:
    async def migrate(folder: Path) -> None:
        storage = SqliteStorage(folder)
        await storage.start()
        await storage.close()

    # In a thread of its own, since this one may be running an event loop.
    with ThreadPoolExecutor(1) as executor, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        executor.submit(lambda: asyncio.run(migrate(folder))).result()
        (made,) = folder.glob(f"{FILE_NAME}*")
        return made.read_bytes()
