"""Subscribers: each has a bounded buffer of its own, so that a slow one harms only itself."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

MAX_BUFFERED: Final = 1_048_576
"""Bytes a subscriber may lag behind: five seconds of a thousand readings a second."""

CLOSE_POLICY: Final = 1008
CLOSE_RESTART: Final = 1012
CLOSE_TOO_SLOW: Final = 1013


class FrameSink(Protocol):
    """A connection that takes ready-made frames, as `web.protocols` offers it."""

    def write_frames(self, frames: bytes) -> None:
        """Queue whole frames for sending. Never blocks; ignored once the connection closes."""

    def buffered(self) -> int:
        """How many queued bytes the peer has not taken yet."""

    def close_frames(self, code: int, reason: str) -> None:
        """Send a close frame after what is queued, and give up on a peer that takes nothing."""


class Subscriber(Protocol):
    """One who watches the stream."""

    def offer(self, joined: bytes, messages: Sequence[bytes]) -> bool:
        """Take a batch: `joined` holds its frames, `messages` their payloads.

        Returns False where the buffer is full: the subscriber gets nothing more of the stream.
        """

    def close(self, code: int, reason: str) -> None:
        """End the subscription; the peer is told why."""


class DirectSubscriber:
    """Writes a batch's frames at once, whole, to a transport that many share the bytes with."""

    def __init__(self, sink: FrameSink, max_buffered: int = MAX_BUFFERED) -> None:
        self._sink = sink
        self._max_buffered = max_buffered

    def offer(self, joined: bytes, messages: Sequence[bytes]) -> bool:
        if self._sink.buffered() > self._max_buffered:
            return False
        self._sink.write_frames(joined)
        return True

    def close(self, code: int, reason: str) -> None:
        self._sink.close_frames(code, reason)


class QueuedSubscriber:
    """For ASGI servers without our extension: one send a message, from a bounded queue."""

    def __init__(self, max_buffered: int = MAX_BUFFERED) -> None:
        self._max_buffered = max_buffered
        self._messages: deque[bytes] = deque()
        self._buffered = 0
        self._wake = asyncio.Event()
        self.closed_with: tuple[int, str] | None = None

    def offer(self, joined: bytes, messages: Sequence[bytes]) -> bool:
        if self._buffered > self._max_buffered:
            return False
        self._messages.extend(messages)
        self._buffered += len(joined)
        self._wake.set()
        return True

    def close(self, code: int, reason: str) -> None:
        self.closed_with = (code, reason)
        self._wake.set()

    async def messages(self) -> AsyncIterator[bytes]:
        """What was offered, in order, until the subscriber is closed."""
        while True:
            while self._messages:
                message = self._messages.popleft()
                yield message
                self._buffered = self._buffered - len(message) if self._messages else 0
            if self.closed_with is not None:
                return
            self._wake.clear()
            await self._wake.wait()
