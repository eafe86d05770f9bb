"""Subscribers: each has a bounded buffer of its own, so that a slow one harms only itself."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

from sensorflow.live.frames import Frames

CLOSE_POLICY: Final = 1008
CLOSE_TOO_SLOW: Final = 1013


class Sink(Protocol):
    """A connection that takes frames."""

    def write(self, frames: Frames) -> None:
        """Queue them for sending. Never blocks; ignored once the connection closes."""

    def buffered(self) -> int:
        """How many queued bytes the peer has not taken yet."""

    async def drained(self) -> None:
        """Return when there is room for more, or the connection is gone."""

    def end(self, code: int, reason: str) -> None:
        """Tell why after what is queued, and give up on a peer that takes nothing."""


class Subscriber:
    """One who watches the stream: all of it, or some sensors."""

    __slots__ = ("_max_buffered", "_sink", "cursor", "sensors")

    def __init__(self, sink: Sink, sensors: frozenset[str] | None, max_buffered: int) -> None:
        self._sink = sink
        self._max_buffered = max_buffered
        self.sensors = sensors
        self.cursor = 0
        """Up to where it has had the stream. Of no meaning while the hub hands it each batch."""

    def offer(self, frames: Frames) -> bool:
        """Take frames of the live stream; False where the buffer is full, and nothing is taken."""
        if self._sink.buffered() > self._max_buffered:
            return False
        self._sink.write(frames)
        return True

    def give(self, frames: Frames) -> Sequence[bytes]:
        """Take what comes next; return the payloads that its filter lets through."""
        self.cursor = frames.ids[-1] or self.cursor
        wanted = frames if self.sensors is None else frames.only(self.sensors)
        if wanted is None:
            return ()
        self._sink.write(wanted)
        return wanted.payloads

    def tell(self, frames: Frames) -> None:
        """Send these whatever the filter."""
        self._sink.write(frames)

    def buffered(self) -> int:
        """How many bytes wait for it."""
        return self._sink.buffered()

    async def drained(self) -> None:
        """Return when there is room for more, or the connection is gone."""
        await self._sink.drained()

    def end(self, code: int, reason: str) -> None:
        """End the subscription; the peer is told why."""
        self._sink.end(code, reason)


class QueueSink:
    """For ASGI servers without our extensions: frames wait for a task that sends them."""

    def __init__(self, low: int = 65_536) -> None:
        """There is room for more below `low` bytes."""
        self._low = low
        self._queue: deque[Frames] = deque()
        self._buffered = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.ended_with: tuple[int, str] | None = None

    def write(self, frames: Frames) -> None:
        self._queue.append(frames)
        self._count(_size(frames))
        self._wake.set()

    def buffered(self) -> int:
        return self._buffered

    async def drained(self) -> None:
        await self._room.wait()

    def end(self, code: int, reason: str) -> None:
        self.ended_with = (code, reason)
        self._wake.set()

    async def frames(self) -> AsyncIterator[Frames]:
        """What was written, in order, until the sink is ended."""
        while True:
            while self._queue:
                frames = self._queue.popleft()
                yield frames
                self._count(-_size(frames))
            if self.ended_with is not None:
                return
            self._wake.clear()
            await self._wake.wait()

    def _count(self, more: int) -> None:
        self._buffered += more
        if self._buffered < self._low:
            self._room.set()
        else:
            self._room.clear()


def _size(frames: Frames) -> int:
    return sum(map(len, frames.payloads))
