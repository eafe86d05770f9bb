"""Memory in which every worker counts and which each of them can read: no message, no wait."""

import fcntl
import os
from collections.abc import Iterator
from mmap import mmap
from tempfile import TemporaryFile
from typing import Final, TypeAlias

Page: TypeAlias = "memoryview[float]"

CELLS: Final = 2_048
"""Numbers that one process may keep; what it does not touch takes no memory."""

_NUMBER: Final = 8
"""Bytes of one."""

_PID: Final = 0
"""The cell that tells whose the page is."""


class Board:
    """One page of numbers for each process. Made before processes are forked from this one.

    Only its own process writes a page, so a number never goes backwards and needs no lock. A page
    outlives its process, with what that has counted; the next process without a page goes on there.
    """

    def __init__(self, workers: int = 1) -> None:
        # Two for each: a worker's successor may begin before it has ended.
        count = 1 if workers == 1 else 2 * workers
        size = CELLS * _NUMBER
        memory = memoryview(mmap(-1, count * size))
        self._pages: list[Page] = [
            memory[n * size : (n + 1) * size].cast("d") for n in range(count)
        ]
        self.founder = os.getpid()
        """The process that made the board, and lives as long as the counts."""
        self._own = 0
        # A byte for each page, locked by its owner; the kernel drops the lock with the process.
        # Never closed: closing any descriptor of the file would drop all locks on it.
        self._locks = None if workers == 1 else _nameless_file()

    def join(self) -> Page:
        """Take a page for this process, once."""
        self._own = next(n for n in range(len(self._pages)) if self._take(n))
        self.own[_PID] = os.getpid()
        return self.own

    @property
    def own(self) -> Page:
        """The page of this process."""
        return self._pages[self._own]

    @property
    def pages(self) -> list[Page]:
        """Those of all processes that ever were."""
        return self._pages

    def living(self) -> Iterator[Page]:
        """The pages of those that live."""
        for number, page in enumerate(self._pages):
            # Its own lock is no obstacle to this process, and looking would drop it.
            if number == self._own or not self._take(number):
                yield page
            else:
                fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, number)  # type: ignore[arg-type]

    def processes(self) -> set[int]:
        """The founder, and who has written on the pages; some may have ended."""
        return {self.founder, *(int(page[_PID]) for page in self._pages if page[_PID])}

    def _take(self, number: int) -> bool:
        if self._locks is None:
            return True
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            return False
        return True


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sensorflow")
    with TemporaryFile() as file:
        return os.dup(file.fileno())
