"""From a cursor to the live stream, without gap, repeat or disorder at the seam.

A subscriber that is not live is given what follows its cursor, from the ring or from the storage,
as fast as it takes it. The moment its cursor is the hub's it joins the hub: nothing is awaited in
between, so no batch can come in between. Who falls behind the live stream comes back here.
"""

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from sensorflow.errors import StorageUnavailable
from sensorflow.live.frames import Frames
from sensorflow.live.hub import Hub
from sensorflow.live.pages import Pages
from sensorflow.live.subscriber import CLOSE_POLICY, CLOSE_TOO_SLOW, Subscriber
from sensorflow.metrics import Metrics

STALL_TIMEOUT: Final = 30.0
"""Seconds without a byte taken after which a subscriber is closed."""

PIECE_BYTES: Final = 65_536
"""Bytes that are given at once; then it is seen whether there is room for more."""

RETRY_PAUSE: Final = 1.0
"""Seconds after which the storage is asked again where it was not available."""

CURSOR_AHEAD: Final = "cursor ahead: the stream has not come as far as since"

log = structlog.get_logger()


class CatchUp:
    """Begins and ends subscriptions. Each that is not live has a task of its own."""

    def __init__(
        self, hub: Hub, pages: Pages, metrics: Metrics, stall_timeout: float = STALL_TIMEOUT
    ) -> None:
        self._hub = hub
        self._pages = pages
        self._metrics = metrics
        self._stall_timeout = stall_timeout
        self._tasks: dict[Subscriber, asyncio.Task[None]] = {}
        self._unplaced: set[Subscriber] = set()
        """Those who have no place in the stream yet."""
        hub.on_behind(self._follow)
        metrics.subscribers.set_function(lambda: len(hub.subscribers))
        metrics.catching_up.set_function(lambda: len(self._tasks))
        metrics.buffered.set_function(lambda: sum(s.buffered() for s in hub.subscribers))

    async def is_ahead(self, cursor: int) -> bool:
        """Whether the stream has never come as far as this cursor, as far as can be known now."""
        if self._hub.cursor is not None and cursor <= self._hub.cursor:
            return False
        try:
            return cursor > await self._pages.newest_id()
        except StorageUnavailable:
            return False

    def begin(self, subscriber: Subscriber, since: int | None) -> None:
        """Give it the newest reading, or everything after the cursor `since`; then the stream."""
        self._hub.come(subscriber)
        if since is not None:
            subscriber.cursor = since
            self._follow(subscriber)
        elif self._hub.cursor is None or self._hub.skipped or subscriber.sensors is not None:
            self._unplaced.add(subscriber)
            self._run(subscriber, self._greet(subscriber))
        else:
            if self._hub.newest is not None:
                subscriber.tell(self._hub.newest)
            self._hub.join(subscriber)

    def position(self, subscriber: Subscriber) -> int | None:
        """The cursor up to which it has been given the stream; None where that is not known."""
        if subscriber in self._unplaced:
            return None
        return subscriber.cursor if subscriber in self._tasks else self._hub.cursor

    def end(self, subscriber: Subscriber) -> None:
        """Give it nothing more."""
        self._hub.go(subscriber)
        self._unplaced.discard(subscriber)
        task = self._tasks.pop(subscriber, None)
        if task is not None:
            task.cancel()

    def _follow(self, subscriber: Subscriber) -> None:
        if subscriber in self._hub.subscribers:
            self._run(subscriber, self._catch_up(subscriber))

    def _run(self, subscriber: Subscriber, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.create_task(work, name="live-catch-up")
        self._tasks[subscriber] = task
        task.add_done_callback(lambda done: self._done(subscriber, done))

    def _done(self, subscriber: Subscriber, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(subscriber) is task:
            del self._tasks[subscriber]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a subscriber is closed by a fault", exc_info=error)
            subscriber.end(1011, "internal error")

    async def _greet(self, subscriber: Subscriber) -> None:
        """What `begin` does at once where it can: with the newest of the sensors asked for."""
        while self._hub.cursor is None:
            await self._hub.moved()
        self._unplaced.discard(subscriber)
        subscriber.cursor = cursor = self._hub.cursor
        newest = self._hub.newest
        if subscriber.sensors is not None:
            newest = self._hub.ring.newest(subscriber.sensors)
        if newest is None:
            with suppress(StorageUnavailable):  # a greeting is no promise; what comes now is
                newest = await self._pages.newest(subscriber.sensors, cursor)
            if newest is not None and subscriber.sensors is None and self._hub.cursor == cursor:
                self._hub.found(newest)
        if newest is not None:
            subscriber.tell(newest)
        await self._catch_up(subscriber)

    async def _catch_up(self, subscriber: Subscriber) -> None:
        while await self._has_room(subscriber):
            cursor, reached = subscriber.cursor, self._hub.cursor
            if reached is None or cursor > reached:
                # Another worker has had it already, and ours comes as far soon; or a backup was
                # restored, and the stream is another one.
                if await self.is_ahead(cursor):
                    subscriber.end(CLOSE_POLICY, CURSOR_AHEAD)
                    return
                if self._hub.cursor == reached:
                    # Not `wait_for`, which forgets that it was cancelled when both come at once.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(RETRY_PAUSE):
                            await self._hub.moved()
            elif cursor == reached:
                self._hub.join(subscriber)
                return
            elif self._hub.ring.covers(cursor):
                await self._give(subscriber, *self._hub.ring.after(cursor))
            else:
                await self._give_page(subscriber, reached)
            await asyncio.sleep(0)  # one of many: each gets its turn
        self._metrics.closed.labels("too_slow").inc()
        subscriber.end(CLOSE_TOO_SLOW, f"too slow; last id {subscriber.cursor}")

    async def _give_page(self, subscriber: Subscriber, until: int) -> None:
        try:
            page = await self._pages.after(subscriber.cursor, until, subscriber.sensors)
        except StorageUnavailable:
            await asyncio.sleep(RETRY_PAUSE)
            return
        if page.oldest > subscriber.cursor + 1:
            subscriber.tell(Frames.gap(subscriber.cursor, page.oldest))
            subscriber.cursor = page.oldest - 1
        if page.last > subscriber.cursor:
            await self._give(subscriber, page.frames.after(subscriber.cursor), page.last)

    async def _give(self, subscriber: Subscriber, frames: Frames, last: int) -> None:
        """Give it all of them, as it takes them; its cursor is `last` then."""
        for piece in frames.pieces(PIECE_BYTES):
            if not await self._has_room(subscriber):
                return
            self._metrics.delivered(1, subscriber.give(piece))
        subscriber.cursor = last

    async def _has_room(self, subscriber: Subscriber) -> bool:
        """Wait until it takes more; False where it has taken nothing for too long."""
        while True:
            before = subscriber.buffered()
            try:
                async with asyncio.timeout(self._stall_timeout):
                    await subscriber.drained()
            except TimeoutError:
                if subscriber.buffered() >= before:
                    return False
            else:
                return True
