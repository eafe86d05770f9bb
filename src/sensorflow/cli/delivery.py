"""From a source of readings to the senders, until the source ends or the user does."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Final

from sensorflow.cli.sending import Outgoing, SendingStopped
from sensorflow.cli.tally import Tally

GRACE: Final = 2.0
"""Seconds that answers may still take after Ctrl-C."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Delivery:
    """Passes readings through a bounded queue to `concurrency` senders.

    The first reading is sent alone: a wrong key is told after one failure, where one from each
    sender would have the server shut out this address.
    """

    def __init__(
        self, send: Callable[[Outgoing], Awaitable[None]], tally: Tally, concurrency: int
    ) -> None:
        self._send = send
        self._tally = tally
        self._concurrency = concurrency
        # None ends one sender; there is always room for all of them once the queue is empty.
        self._queue: asyncio.Queue[Outgoing | None] = asyncio.Queue(maxsize=2 * concurrency)
        self._opened = asyncio.Event()
        self._stop = asyncio.Event()
        self.interrupted = False
        """Whether Ctrl-C or SIGTERM came."""
        self.stopped: SendingStopped | None = None
        """Why the sending ended before the source did, if it was not the user."""

    async def run(
        self, source: AsyncIterator[Outgoing], watch: Callable[[], Coroutine[None, None, None]]
    ) -> None:
        """Deliver everything; `watch` runs beside it and is cancelled at the end."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._interrupt)
        try:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._read(source), name="reader")
                senders = [
                    group.create_task(self._work(first=n == 1), name=f"sender-{n}")
                    for n in range(1, self._concurrency + 1)
                ]
                beside = [
                    group.create_task(watch(), name="progress"),
                    group.create_task(self._end_early(reader, senders), name="end-early"),
                ]
                await asyncio.wait([reader, *senders])
                for task in beside:
                    task.cancel()
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _interrupt(self) -> None:
        self.interrupted = True
        self._stop.set()

    async def _read(self, source: AsyncIterator[Outgoing]) -> None:
        async for outgoing in source:
            await self._queue.put(outgoing)
        for _ in range(self._concurrency):
            await self._queue.put(None)

    async def _work(self, *, first: bool) -> None:
        try:
            if not first:
                await self._opened.wait()
            while not self._stop.is_set() and (outgoing := await self._queue.get()) is not None:
                try:
                    await self._send(outgoing)
                except asyncio.CancelledError:
                    self._tally.unanswered += 1
                    raise
                self._opened.set()
        except SendingStopped as stopped:
            self.stopped = self.stopped or stopped
            self._stop.set()
        finally:
            self._opened.set()

    async def _end_early(
        self, reader: asyncio.Task[None], senders: Sequence[asyncio.Task[None]]
    ) -> None:
        """Once asked to stop: send nothing new, and wait a little for answers under way."""
        await self._stop.wait()
        reader.cancel()
        await asyncio.wait([reader])
        while not self._queue.empty():
            self._queue.get_nowait()
        for _ in senders:
            self._queue.put_nowait(None)
        _, late = await asyncio.wait(senders, timeout=GRACE)
        for task in late:
            task.cancel()
