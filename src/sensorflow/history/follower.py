"""The follower: one of all workers reads the stream after its own cursor, and sums it up.

The database sums a page up, states are made of the sums here, and states and rollups are written
together with the cursor in one transaction: a crash at any moment neither loses a reading nor
counts one twice, and late readings are right by construction.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from time import monotonic
from typing import Final, Protocol

import structlog

from sensorflow.errors import StorageUnavailable
from sensorflow.history.ledger import Ledger
from sensorflow.history.states import follow
from sensorflow.sensors import Page, State

PAGE: Final = 80_000
"""Readings followed in one transaction, at most."""

EMBEDDED_PAGE: Final = 2_000
"""The same on SQLite, where ingest waits for the transaction."""

FIRST_PAGE: Final = 1_000

SMALLEST_PAGE: Final = 100

TURN: Final = 0.5
"""Seconds that a page may take, read and written; the next one is smaller where it took longer.

The larger a page, the more of its readings share a bucket, which is written once for all of them.
"""

EMBEDDED_TURN: Final = 0.1
"""The same on SQLite, where ingest waits for the transaction."""

POLL_INTERVAL: Final = 1.0
"""Seconds between two looks for more, once the end of the stream is reached."""

LONGEST_PAUSE: Final = 5.0
"""Seconds between two attempts while the database is away."""

STATES_KEPT: Final = 10_000
"""Sensors whose states are remembered: about 20 MB; those of others are read again."""

CLOSE_TIMEOUT: Final = 3.0
"""Seconds to write down the last counts at a stop."""

log = structlog.get_logger()


class Followed(Protocol):
    """The storage, as the follower needs it; `storage.base.Storage` states the promise."""

    async def lead(self) -> int | None: ...

    async def gathered(self, after: int, limit: int) -> Page: ...

    async def states(self, sensors: Sequence[int]) -> dict[int, State]: ...

    async def follow(self, page: Page, states: Mapping[int, State]) -> bool: ...


class Follower:
    """The background task. It also has the ledger written down, on every worker."""

    def __init__(
        self, storage: Followed, ledger: Ledger, page: int = PAGE, turn: float = TURN
    ) -> None:
        self._storage = storage
        self._ledger = ledger
        self._most = page
        self._turn = turn
        self._page = min(page, FIRST_PAGE)
        self._states: dict[int, State] = {}
        """As they are written at the cursor."""
        self._cursor: int | None = None
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Follow, and flush, until `stop`."""
        reason = ""
        pause = 0.0
        while not self._stop.is_set():
            try:
                await self._ledger.flush_if_due()
                more = await self.turn()
                if reason:
                    log.info("the readings are followed again")
                reason, pause = "", 0.0 if more else POLL_INTERVAL
            except StorageUnavailable as error:
                self.forget()
                if str(error) != reason:
                    reason = str(error)
                    log.warning("counts of sensors are put off", reason=reason)
                pause = min(max(2 * pause, POLL_INTERVAL), LONGEST_PAUSE)
            if pause:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), pause)

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

    async def close(self) -> None:
        """Write down the last counts. To be called when nothing is counted any more."""
        with suppress(StorageUnavailable, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._ledger.flush()

    async def turn(self) -> bool:
        """Follow one page, if this is the one that follows; tell whether more may wait.

        Raises `StorageUnavailable`; then `forget` has to be called.
        """
        if self._cursor is None:
            self._cursor = await self._storage.lead()
            if self._cursor is None:
                return False
        started = monotonic()
        page = await self._storage.gathered(self._cursor, self._page)
        if page.until == page.after:
            return False
        await self._know(page.sums.keys())
        follow(self._states, page.sums)
        changed = {sensor: self._states[sensor] for sensor in page.sums}
        if await self._storage.follow(page, changed):
            self._cursor = page.until
            self._resize(monotonic() - started)
        else:
            # Somebody else has followed meanwhile: what is remembered here is of no more use.
            self.forget()
        return page.more

    def forget(self) -> None:
        """Begin anew with what is written: nobody knows whether the last page was."""
        # It may have taken longer than the storage waits for.
        self._resize(math.inf)
        self._cursor = None
        self._states.clear()

    def _resize(self, took: float) -> None:
        """What a page costs depends on how many buckets its readings fall into."""
        if took > self._turn:
            self._page = max(self._page // 2, min(SMALLEST_PAGE, self._most))
        elif took < self._turn / 4:
            self._page = min(self._page * 2, self._most)

    async def _know(self, sensors: Set[int]) -> None:
        missing = sensors - self._states.keys()
        if len(self._states) + len(missing) > STATES_KEPT:
            self._states = {n: self._states[n] for n in sensors & self._states.keys()}
        if missing:
            self._states |= await self._storage.states(sorted(missing))
