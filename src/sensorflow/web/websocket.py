"""uvicorn's WebSocket protocol with what we need of it: frames that many share, and patience."""

from random import uniform
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from sensorflow.live.frames import Frames
from sensorflow.web.sinks import FRAMES, LINGER, bound_kernel_buffer

MAX_PINGED: Final = 1_048_576
"""Bytes that may wait for a peer that pings; each ping has to be answered."""


class LiveProtocol(WebSocketsSansIOProtocol):
    """A WebSocket that offers itself to the application as a `live.subscriber.Sink`.

    However it is closed, a peer that takes nothing any more is cut off after `LINGER`: closing
    a transport alone waits for its buffer, and such a buffer never empties.
    """

    _written = 0
    _taken_before = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.handshake_initiated:
            # The whole handshake came with the first bytes, and it was none.
            self.transport.abort()

    def send_receive_event_to_app(self) -> None:
        # What subscribers send means nothing here; it is not even decoded.
        self.frames = []

    def handle_ping(self) -> None:
        if self.buffered() > MAX_PINGED:
            self.transport.abort()
        else:
            super().handle_ping()

    async def run_asgi(self) -> None:
        bound_kernel_buffer(self.transport)
        self.scope["extensions"][FRAMES] = {"sink": self}
        await super().run_asgi()
        self._linger()

    def schedule_ping(self) -> None:
        # Connections that came together must not be pinged together for ever.
        assert self.ping_interval is not None
        delay = self.ping_interval * uniform(0.5, 1.0)  # noqa: S311
        self.ping_timer = self.loop.call_later(delay, self.send_keepalive_ping)

    def send_keepalive_ping(self) -> None:
        self._taken_before = self._taken()
        super().send_keepalive_ping()

    def _taken(self) -> int:
        """How many bytes of frames have left for the peer."""
        return self._written - self.buffered()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept":
            # Most of a subscriber's memory, and nobody reads it again.
            self.scope["headers"] = []
            del self.request, self.response
        elif message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            # uvicorn would log an error for every handshake that the application refused.
            self.handshake_complete = True

    def write(self, frames: Frames) -> None:
        if not self.close_sent and not self.transport.is_closing():
            content = frames.websocket
            self._written += len(content)
            self.transport.write(content)

    def buffered(self) -> int:
        return self.transport.get_write_buffer_size()

    async def drained(self) -> None:
        await self.writable.wait()

    def end(self, code: int, reason: str) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        self.close_timer = self.loop.call_later(LINGER, self.transport.abort)

    def keepalive_timeout(self) -> None:
        taken = self._taken()
        if self.buffered() and taken > self._taken_before and self.ping_timeout is not None:
            # The ping waits behind what the peer is still taking.
            self._taken_before = taken
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)
            return
        super().keepalive_timeout()
        self._linger()

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._linger()

    def shutdown(self) -> None:
        try:
            super().shutdown()
        except Exception:  # one connection's state must not end the shutdown of all
            self.transport.abort()
        self._linger()

    def _linger(self) -> None:
        if not self.disconnected:
            self.loop.call_later(LINGER, self.transport.abort)
