"""Connections that take the stream's frames: our protocols' own, and what other servers have."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl

from sensorflow.live.frames import Frames
from sensorflow.live.subscriber import QueueSink
from sensorflow.web import asgi

LINGER: Final = 5.0
"""Seconds that a closed connection has to take what is still queued for it.

Closing a transport alone waits for its buffer, and such a buffer may never empty.
"""

KERNEL_BUFFER: Final = 131_072
"""Bytes; the kernel takes twice as many. Half a second's worth at 1,000 readings/s."""

EVENT_STREAM: Final = "sensorflow.event_stream"
"""The ASGI extension by which a server offers its transport for events that never end.

`{"open": (status, headers, body) -> Sink | None}`: `body` is what is sent first; None where the
connection cannot take it now, and the ordinary messages have to be sent.
"""

FRAMES: Final = "sensorflow.frames"
"""The ASGI extension by which a server offers its WebSocket's transport: `{"sink": Sink}`."""


class EventSink:
    """Implements `live.subscriber.Sink`: events, written as they are to an HTTP response's body."""

    def __init__(self, transport: asyncio.Transport, flow: FlowControl) -> None:
        bound_kernel_buffer(transport)
        self._transport = transport
        self._flow = flow

    def write(self, frames: Frames) -> None:
        if not self._transport.is_closing():
            self._transport.write(frames.events)

    def buffered(self) -> int:
        return self._transport.get_write_buffer_size()

    async def drained(self) -> None:
        await self._flow.drain()

    def end(self, code: int, reason: str) -> None:
        if not self._transport.is_closing():
            self._transport.write(f": {reason}\n\n".encode())
            close_soon(self._transport)


def bound_kernel_buffer(transport: asyncio.BaseTransport) -> None:
    """Have the kernel keep no more than `KERNEL_BUFFER` for a subscriber.

    It would else grow to megabytes for each peer that does not read, before we see that it lags.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)


def close_soon(transport: asyncio.Transport) -> None:
    """Close when everything is sent, or after `LINGER`. Idempotent."""
    if transport.is_closing():
        return
    transport.close()
    asyncio.get_running_loop().call_later(LINGER, transport.abort)


async def until_disconnect(receive: asgi.Receive) -> None:
    """Return when the peer has left. What subscribers send means nothing here and is dropped."""
    while not (await receive())["type"].endswith(".disconnect"):
        pass


async def send_until_disconnect(
    queue: QueueSink, receive: asgi.Receive, send: Callable[[Frames], Any]
) -> None:
    """Send what is queued until the peer leaves or the queue is ended."""
    sending = asyncio.create_task(_send_all(queue, send), name="live-send")
    leaving = asyncio.create_task(until_disconnect(receive), name="live-receive")
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
            # A peer that went away makes send fail in ways that differ by server.
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _send_all(queue: QueueSink, send: Callable[[Frames], Any]) -> None:
    async for frames in queue.frames():
        await send(frames)
