"""The bus over PostgreSQL: every worker's batches reach every worker, in order of id, once.

Each commit notifies who committed it, and its first and last id. A notice is a hint: what counts is
the cursor, the highest id that was delivered or skipped. Ids are given in the order of commits, so
what follows the cursor without a gap is next. Anything else waits for its notice, for notices come
in the order of commits too, or it is read from the database; what others have committed is skipped
while nobody here watches.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Final, NamedTuple, Protocol

import structlog

from sensorflow.bus.base import Deliver
from sensorflow.errors import StorageUnavailable
from sensorflow.readings import CommittedBatch, Reading, WireForms

POLL_INTERVAL: Final = 1.0
"""Seconds without a delivery after which the database is asked whether it has more."""

OWN_BATCH_TIMEOUT: Final = 1.5
"""Seconds by which an own batch may follow its notice; a commit that takes longer has failed."""

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 2.0
"""Seconds between two attempts to listen."""

READ_AT_ONCE: Final = 1_000
"""Readings of others that are read and delivered as one batch."""

MAX_NOTICES: Final = 10_000
"""Notices that may wait; beyond that the readings are read from the database."""

MAX_WAITING: Final = 20_000
"""Own readings that may wait for those before them; beyond that they are read again."""

Listen = Callable[[Callable[[str], None], Callable[[], None]], Awaitable[None]]
"""`listen(heard, listening)` calls `listening` as soon as it does, then `heard` with each notice,
in the order of commits, until it is cancelled or raises `StorageUnavailable`."""

After = Callable[[int, int], Awaitable[list[Reading]]]
"""`storage.base.Storage.after`."""

log = structlog.get_logger()


class Audience(Protocol):
    """For whom others' readings are read; `live.hub.Hub`."""

    @property
    def watched(self) -> bool:
        """Whether they have to be delivered."""

    def skip(self, last: int) -> None:
        """Take it that the stream goes on behind this id."""


class Notice(NamedTuple):
    """One commit: by whom, which ids, and when it was heard of."""

    announcer: str
    first: int
    last: int
    heard_at: float


class PostgresBus:
    """Implements `bus.base.Bus`. `listen` and `run` are its background tasks; `end` ends them.

    Nothing is delivered before `attach` has told where the stream stands.
    """

    def __init__(
        self,
        announcer: str,
        listen: Listen,
        after: After,
        encode: Callable[[Reading], bytes],
        audience: Audience | None = None,
    ) -> None:
        """`announcer` names this process in the notices of its own commits.

        Without an `audience` everything is delivered.
        """
        self._announcer = announcer
        self._listen = listen
        self._after = after
        self._encode = encode
        self._audience = audience
        self._deliver: Deliver | None = None
        self.attached = False
        """Whether the database has ever been there."""
        self._cursor = 0
        self._delivered_at = 0.0
        self._notices: deque[Notice] = deque()
        self._waiting: deque[CommittedBatch] = deque()
        self._waiting_readings = 0
        self._behind = False
        self._wake = asyncio.Event()
        self._end = asyncio.Event()
        self.listening = False
        """Whether notices are heard; while not, others' readings come with the next poll."""

    async def start(self, deliver: Deliver) -> None:
        self._deliver = deliver

    @property
    def cursor(self) -> int:
        """The highest id that was delivered or skipped; 0 before `attach`."""
        return self._cursor

    def attach(self, newest: int, reached: int) -> None:
        """Deliver what comes after this id, the newest in the database.

        Called again whenever the database was away; `reached` is the cursor of before `newest` was
        asked for. A stream that ends before that is another one, such as a restored backup, and is
        followed from its end.
        """
        if newest < reached:
            log.warning("the database has lost readings", last_id=newest, expected=reached)
        if not self.attached or newest < reached:
            self._cursor = newest
        self.attached = True
        self._lose_track()

    def committed(self, batch: CommittedBatch) -> None:
        first, last = _ids(batch)
        if first == self._cursor + 1:
            self._hand_out(batch)
        elif first > self._cursor:
            self._waiting.append(batch)
            self._waiting_readings += len(batch.readings)
            if self._waiting_readings > MAX_WAITING:
                self._lose_track()
        elif last > self._cursor:
            self._behind = True
        if self._behind or self._notices or self._waiting:
            self._wake.set()

    async def listen(self) -> None:
        """Keep listening, whatever becomes of the connection."""
        pause = FIRST_PAUSE
        ending = asyncio.ensure_future(self._end.wait())
        while not ending.done():
            hearing = asyncio.ensure_future(self._listen(self._hear, self._begin))
            await asyncio.wait((hearing, ending), return_when=asyncio.FIRST_COMPLETED)
            if self.listening:
                pause = FIRST_PAUSE
            self.listening = False
            hearing.cancel()
            with suppress(StorageUnavailable, asyncio.CancelledError):
                await hearing
            await asyncio.wait((ending,), timeout=pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def run(self) -> None:
        """Deliver what has to be waited for or read."""
        while not self._end.is_set():
            self._wake.clear()
            pause = POLL_INTERVAL
            if self.attached:
                try:
                    pause = await self._catch_up()
                except StorageUnavailable:
                    self._behind = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)
            if monotonic() - self._delivered_at > POLL_INTERVAL:
                self._behind = True

    def end(self) -> None:
        """End `listen` and `run`."""
        self._end.set()
        self._wake.set()

    async def stop(self) -> None:
        self._deliver = None

    def _begin(self) -> None:
        """What was notified before is not known: look for it."""
        self.listening = True
        self._lose_track()

    def _hear(self, payload: str) -> None:
        announcer, first, last = payload.split(" ")
        notice = Notice(announcer, int(first), int(last), monotonic())
        if notice.last <= self._cursor:
            return
        self._notices.append(notice)
        if len(self._notices) > MAX_NOTICES:
            self._lose_track()
        self._wake.set()

    def _lose_track(self) -> None:
        """Have everything after the cursor read from the database."""
        self._notices.clear()
        self._waiting.clear()
        self._waiting_readings = 0
        self._behind = True
        self._wake.set()

    async def _catch_up(self) -> float:
        """Deliver what can be delivered; return how long there is nothing to do but wait."""
        while not self._end.is_set():
            if self._behind:
                self._behind = False
                while await self._read(READ_AT_ONCE) == READ_AT_ONCE:
                    if self._notices and (audience := self._skipping) is not None:
                        # Nobody tells of what was committed before the first of them.
                        self._skip(audience, self._notices[0].first - 1)
                        break
                self._delivered_at = monotonic()
                continue
            if self._release(self._cursor + 1):
                continue
            if not self._notices:
                break
            notice = self._notices[0]
            if notice.last > self._cursor:
                if notice.announcer == self._announcer and notice.first > self._cursor:
                    if self._release(notice.first):
                        continue
                    late = monotonic() - notice.heard_at
                    if late < OWN_BATCH_TIMEOUT:
                        return OWN_BATCH_TIMEOUT - late
                if (audience := self._skipping) is not None:
                    self._skip(audience, notice.last)
                elif await self._read(min(READ_AT_ONCE, notice.last - self._cursor)):
                    continue
            # While it was read all notices may have been forgotten.
            if self._notices and self._notices[0] is notice:
                self._notices.popleft()
        return POLL_INTERVAL

    @property
    def _skipping(self) -> Audience | None:
        """Who is to be told what is skipped; None while it has to be delivered."""
        audience = self._audience
        return None if audience is None or audience.watched else audience

    def _skip(self, audience: Audience, last: int) -> None:
        if last > self._cursor:
            self._cursor = last
            self._delivered_at = monotonic()
            audience.skip(last)

    def _release(self, first: int) -> bool:
        """Deliver the own batch that begins with this id, if it waits."""
        while self._waiting:
            batch = self._waiting[0]
            begins, ends = _ids(batch)
            if begins > self._cursor and begins != first:
                return False
            self._waiting.popleft()
            self._waiting_readings -= len(batch.readings)
            if begins == first:
                self._hand_out(batch)
                return True
            # It was read from the database, perhaps only in part.
            self._behind = self._behind or ends > self._cursor
        return False

    async def _read(self, limit: int) -> int:
        """Deliver up to `limit` readings from the database; return how many there were."""
        found = await self._after(self._cursor, limit)
        # Own batches may have been delivered meanwhile.
        new = [reading for reading in found if reading.id is not None and reading.id > self._cursor]
        if new:
            self._hand_out(CommittedBatch(new, WireForms(new, self._encode)))
        return len(found)

    def _hand_out(self, batch: CommittedBatch) -> None:
        self._cursor = _ids(batch)[1]
        self._delivered_at = monotonic()
        if self._deliver is not None:
            self._deliver(batch)


def _ids(batch: CommittedBatch) -> tuple[int, int]:
    """The first and the last id."""
    first, last = batch.readings[0].id, batch.readings[-1].id
    assert first is not None
    assert last is not None
    return first, last
