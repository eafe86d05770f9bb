"""Whether the database takes readings: known in one place, told at each change, and mended."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import structlog

from sensorflow.errors import StorageUnavailable

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 2.0
"""Seconds between two attempts to reach the database again."""

STEADY: Final = 10.0
"""Seconds after which a database that is lost again is tried at once, as if for the first time."""

log = structlog.get_logger()


class Database:
    """The database's state. `run` is the background task that brings it back."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[None]],
        waiting: Callable[[], int],
    ) -> None:
        """`connect` returns when readings can be committed, or raises `StorageUnavailable`.

        `waiting` tells how many readings wait for it.
        """
        self._connect = connect
        self._waiting = waiting
        self.available = False
        self.since = datetime.now(UTC)
        """When it became what it is."""
        self._reason = ""
        self._pause = 0.0
        self._lost_again: StorageUnavailable | None = None
        """Why, where it is lost while it is being reached."""
        self._lost = asyncio.Event()
        self._lost.set()
        self._stop = asyncio.Event()
        self._on_return: Callable[[], None] = lambda: None

    def on_return(self, call: Callable[[], None]) -> None:
        """Have `call` called each time the database is back."""
        self._on_return = call

    def lost(self, error: StorageUnavailable) -> None:
        """Take note that the database does not take readings."""
        if self.available:
            now = datetime.now(UTC)
            self._pause = 0.0 if (now - self.since).total_seconds() > STEADY else self._longer()
            self.available = False
            self.since = now
            self._reason = ""
            self._tell(error)
            self._lost.set()
        self._lost_again = error

    async def attempt(self) -> bool:
        """Try once to reach the database; tell whether it takes readings now."""
        self._lost_again = None
        try:
            await self._connect()
            if self._lost_again is not None:
                raise self._lost_again
        except StorageUnavailable as error:
            self._tell(error)
            return False
        now = datetime.now(UTC)
        if self._reason:
            log.info(
                "the database is back",
                away_seconds=round((now - self.since).total_seconds(), 1),
                waiting=self._waiting(),
            )
        self.available = True
        self.since = now
        self._lost.clear()
        self._on_return()
        return True

    async def run(self) -> None:
        """Whenever the database is lost, try to reach it until it is back; until `stop`."""
        while True:
            await self._lost.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._pause)
            if self._stop.is_set():
                return
            if not await self.attempt():
                self._pause = self._longer()

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()
        self._lost.set()

    def _longer(self) -> float:
        return min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)

    def _tell(self, error: StorageUnavailable) -> None:
        """One line when it goes, and one when the reason becomes another."""
        reason = str(error)
        if reason != self._reason:
            self._reason = reason
            log.error(
                "the database is away; readings go to the spool",
                reason=reason,
                since=self.since.isoformat(timespec="seconds"),
                waiting=self._waiting(),
            )
