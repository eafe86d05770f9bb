"""Backup and restore of the embedded database, which is one file with a log beside it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from sensorflow.errors import SettingsError, StorageUnavailable
from sensorflow.storage.folder import FILE_NAME, lock_data_dir
from sensorflow.storage.ids import skip_sqlite_ids

REPLACED: Final = f"{FILE_NAME}.replaced"
"""What a restore has replaced, until the next one."""

_BUSY_TIMEOUT: Final = 10.0


def backup(data_dir: Path, target: Path) -> int:
    """Copy the database to `target`, also while a server uses it; return the copy's bytes.

    The copy is the state of one moment, one file, and on disk on return. What is at `target` is
    replaced, whole or not at all. Raises `SettingsError` or `StorageUnavailable`.
    """
    source = data_dir / FILE_NAME
    if not source.exists():
        raise SettingsError(f"DATA_DIR: there is no database in {data_dir}.")
    if target.is_dir() or (target.exists() and target.samefile(source)):
        raise SettingsError(f"{target} cannot be the copy; name a file of its own.")
    with _failing(f"{source} cannot be copied to {target}"), _beside(target) as new:
        _copy(source, new)
        return new.stat().st_size


def restore(data_dir: Path, source: Path) -> int:
    """Put the copy in the database's place, and have ids go on; return the first that is given.

    What was there is kept as `REPLACED`. Raises `DataDirInUse` while a server runs, `SettingsError`
    or `StorageUnavailable`; then nothing has changed.
    """
    if not source.is_file():
        raise SettingsError(f"{source}: there is no such file.")
    lock = lock_data_dir(data_dir)
    try:
        target = data_dir / FILE_NAME
        with _failing(f"{source} cannot be restored"), _beside(target) as new:
            _copy(source, new)
            with closing(_open(new)) as database:
                first = skip_sqlite_ids(database.cursor())
            _set_aside(target)
        return first
    finally:
        os.close(lock)


def _copy(source: Path, target: Path) -> None:
    """Copy a whole and sound database of ours. In one step, so no writer makes it begin again."""
    with closing(_open(source)) as database, closing(sqlite3.connect(target)) as copy:
        database.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, whoever opens it
        if copy.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("it is damaged")
        copy.execute("SELECT id, sensor FROM readings LIMIT 0")


def _open(path: Path) -> sqlite3.Connection:
    """Open a database that is there; SQLite would make one where none is."""
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=rw",
        uri=True,
        timeout=_BUSY_TIMEOUT,
        isolation_level=None,
    )


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A new file that takes the target's place at the end, when it is on disk."""
    new = target.with_name(f"{target.name}.new")
    new.unlink(missing_ok=True)
    try:
        new.touch(mode=0o600)
        yield new
        _sync(new)
        new.replace(target)
        _sync(target.parent)
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            new.with_name(new.name + suffix).unlink(missing_ok=True)


def _set_aside(path: Path) -> None:
    """Give the database a second name, and take its log away: it must not meet another's file."""
    if not path.exists():
        return
    with suppress(sqlite3.Error), closing(_open(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    aside = path.with_name(REPLACED)
    aside.unlink(missing_ok=True)
    os.link(path, aside)
    for suffix in ("-wal", "-shm"):
        aside.with_name(aside.name + suffix).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise StorageUnavailable(f"{what} ({error})") from None
