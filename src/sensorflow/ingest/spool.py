"""The spool: a durable queue on local disk for readings that the database cannot take now.

Each worker owns a folder `spool/<uuid>/` by a lock on a file in it. Batches are appended to
numbered segments, one record each, and are on disk before `append` returns. They are read back in
order, and a segment is removed when all its records are done; after a crash in between, its records
come again, which their tokens make harmless. What touches the disk belongs into a thread.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from sensorflow.ingest.segments import Segment, counted, encode, write
from sensorflow.readings import Reading

SEGMENT_BYTES: Final = 1_048_576
"""A segment takes no more records once it is this long."""

_LOCK: Final = "lock"


class SpoolFull(Exception):
    """The spool has reached its bound, or its disk has no room. Nothing was kept."""


@dataclass
class Folder:
    """A folder whose lock this process holds, with its segments, oldest first."""

    path: Path
    lock: int
    segments: list[Segment] = field(default_factory=list)


class Spool:
    """The folders of one worker: its own, made when first needed, and those it has adopted.

    `max_bytes` bounds what is in `root`, whoever keeps it there. Creation touches nothing.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._own: Folder | None = None
        self._adopted: list[Folder] = []
        self._writing: int | None = None
        self._room = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is kept."""
        return not any(folder.segments for folder in self._folders())

    @property
    def readings(self) -> int:
        """How many readings wait."""
        return sum(segment.readings for segment in self._segments())

    @property
    def bytes(self) -> int:
        """How many bytes they take on disk."""
        return sum(segment.bytes for segment in self._segments())

    def append(self, token: UUID, readings: Sequence[Reading], *, tried: bool) -> None:
        """Have the batch on disk when this returns. Raises `SpoolFull`, or `OSError`."""
        record = encode(token, readings, tried=tried)
        try:
            if self._room < len(record) or self._writing is None:
                # What others keep is looked at once a segment, so each may go too far by one.
                self._room = self._max_bytes - _size(self._root)
            if self._room < len(record):
                raise SpoolFull
            segment = self._open_segment()
            assert self._writing is not None
            write(self._writing, record, segment.bytes)
        except OSError:
            self._close_segment()
            raise
        self._room -= len(record)
        segment.bytes += len(record)
        segment.readings += len(readings)
        if segment.bytes >= SEGMENT_BYTES:
            self._close_segment()

    def find(self) -> list[Folder]:
        """Lock the folders whose owner is gone; `adopt` takes them."""
        if not self._root.is_dir():
            return []
        mine = {folder.path for folder in self._folders()}
        found = []
        for path in sorted(self._root.iterdir()):
            # A hidden folder is still being made.
            if path in mine or path.name.startswith(".") or not path.is_dir():
                continue
            folder = _take_over(path)
            if folder is None:
                continue
            if folder.segments:
                found.append(folder)
            else:
                _remove(folder)
        return found

    def adopt(self, folders: Sequence[Folder]) -> None:
        """Have what `find` has found drained before anything else. Does not block."""
        self._adopted += folders

    def oldest(self) -> Segment | None:
        """The segment to be drained next; it takes no more records from now on."""
        for folder in (*self._adopted, *([self._own] if self._own else [])):
            if folder.segments:
                if folder is self._own and len(folder.segments) == 1:
                    self._close_segment()
                return folder.segments[0]
        return None

    def done(self, segment: Segment) -> None:
        """Forget a segment whose records are all committed. A damaged one is set aside."""
        for folder in self._folders():
            if segment in folder.segments:
                if segment.damaged:
                    segment.path.rename(
                        self._root / f"{folder.path.name}-{segment.path.name}.damaged"
                    )
                else:
                    segment.path.unlink()
                folder.segments.remove(segment)
                if folder in self._adopted and not folder.segments:
                    self._adopted.remove(folder)
                    _remove(folder)
                return

    def close(self) -> None:
        """Let go of everything; what still waits is adopted by whoever comes next."""
        self._close_segment()
        for folder in self._folders():
            if not folder.segments:
                _remove(folder)
            else:
                os.close(folder.lock)
        self._own, self._adopted = None, []

    def _folders(self) -> list[Folder]:
        return [*self._adopted, *([self._own] if self._own else [])]

    def _segments(self) -> Iterator[Segment]:
        for folder in self._folders():
            yield from folder.segments

    def _open_segment(self) -> Segment:
        if self._own is None:
            self._own = _make(self._root)
        if self._writing is None:
            number = 1 + max((int(segment.path.stem) for segment in self._own.segments), default=0)
            path = self._own.path / f"{number:08}.segment"
            self._writing = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
            self._own.segments.append(Segment(path))
            _sync_folder(self._own.path)
        return self._own.segments[-1]

    def _close_segment(self) -> None:
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None


@dataclass(frozen=True)
class Survey:
    """What is in a spool, whoever owns it."""

    readings: int
    bytes: int
    damaged: int
    """Segments that were set aside."""


def survey(root: Path) -> Survey:
    """Look without taking anything over."""
    segments = []
    for path in root.glob("*/*.segment"):
        with suppress(FileNotFoundError):  # drained meanwhile
            segments.append(counted(path))
    return Survey(
        sum(segment.readings for segment in segments),
        sum(segment.bytes for segment in segments),
        sum(1 for _ in root.glob("*.damaged")),
    )


def _make(root: Path) -> Folder:
    """A new folder, locked before it has the name by which others would find and adopt it."""
    if not root.is_dir():
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_folder(root.parent)
    name = str(uuid4())
    hidden = root / f".{name}"
    hidden.mkdir(mode=0o700)
    lock = os.open(hidden / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    hidden.rename(root / name)
    _sync_folder(root)
    return Folder(root / name, lock)


def _take_over(path: Path) -> Folder | None:
    """Lock a folder that nobody holds; None if somebody does, or has just removed it."""
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path / _LOCK).st_ino != os.fstat(lock).st_ino:
            raise OSError("the folder was removed by its owner")
        folder = Folder(path, lock)
        for file in sorted(path.glob("*.segment")):
            folder.segments.append(counted(file))
    except OSError:
        os.close(lock)
        return None
    return folder


def _size(root: Path) -> int:
    """The bytes of all segments, whoever owns them."""
    size = 0
    for path in root.glob("*/*.segment"):
        with suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


def _remove(folder: Folder) -> None:
    """Remove an empty folder, still locked, so that nobody adopts it in between."""
    with suppress(OSError):
        (folder.path / _LOCK).unlink()
        folder.path.rmdir()
    os.close(folder.lock)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
