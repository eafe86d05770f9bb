"""DATA_DIR: whether it can be written, what room it has, and what waits in it."""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from sensorflow.cli.doctor.environment import PRIVATE
from sensorflow.cli.doctor.findings import Finding, faulted, passed, warned
from sensorflow.ingest.shelter import QUARANTINE
from sensorflow.ingest.spool import survey
from sensorflow.keys.store import FILE_NAME as KEYS
from sensorflow.settings import Settings

LEAST_FREE: Final = 64 * 2**20
"""Bytes; below that a database cannot be worked with."""

LITTLE_FREE: Final = 1024 * 2**20
"""Bytes for the embedded database, about six million readings."""


def check_data_dir(folder: Path) -> list[Finding]:
    """Whether the server can keep things there, and others cannot read them."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with TemporaryFile(dir=there) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return [
            faulted(
                "DATA_DIR",
                f"{folder} cannot be written ({error.strerror})",
                "Name a folder that the server's user may write to, on a disk with room.",
            )
        ]
    if there is not folder:
        return [passed("DATA_DIR", f"{folder} is made at the first start")]
    kept = folder / KEYS
    opened = [path for path in (folder, kept) if path.exists() and path.stat().st_mode & PRIVATE]
    if opened:
        names = " and ".join(map(str, opened))
        return [
            warned(
                "DATA_DIR",
                f"others on this machine may look into {names}",
                f"chmod go= {' '.join(map(str, opened))}",
            )
        ]
    return [passed("DATA_DIR", f"{folder} can be written and flushed")]


def check_room(settings: Settings, free: int) -> list[Finding]:
    """`free` is in bytes."""
    embedded = settings.database_url is None
    wanted = LITTLE_FREE if embedded else settings.spool_max_mb * 2**20
    told = f"{free / 2**30:,.1f} GiB free"
    if free < LEAST_FREE:
        return [
            faulted("disk", told, "Make room under DATA_DIR: readings are about to be refused.")
        ]
    if free < wanted:
        what = "readings will be refused when it is full" if embedded else "SPOOL_MAX_MB is more"
        return [warned("disk", f"{told}; {what}", "Make room, or use a larger disk.")]
    return [passed("disk", told)]


def free_under(folder: Path) -> int:
    """Bytes that are free where the folder is or would be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_spool(folder: Path) -> list[Finding]:
    """Readings that wait, and those that need a person."""
    found = []
    waiting = survey(folder / "spool")
    if waiting.damaged:
        found.append(
            warned(
                "spool",
                f"{waiting.damaged} damaged segments are set aside as spool/*.damaged",
                "Look at the disk; what could be read of them is stored.",
            )
        )
    if waiting.readings:
        found.append(
            warned(
                "spool",
                f"{waiting.readings:,} readings ({waiting.bytes:,} bytes) wait for the database",
                "They are stored when the server runs and reaches it.",
            )
        )
    quarantine = folder / QUARANTINE
    if quarantine.exists():
        with quarantine.open("rb") as file:
            refused = sum(1 for _ in file)
        found.append(
            warned(
                "quarantine",
                f"{refused:,} readings were acknowledged, and then refused by the database",
                f"Read {quarantine}, one reading a line with the reason, then remove it.",
            )
        )
    return found or [passed("spool", "nothing waits")]
