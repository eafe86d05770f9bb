"""uvicorn's protocols with what we need of them: bounds in time and size, and shared frames."""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from sensorflow.web.live import EXTENSION

MAX_HEAD: Final = 32_768
"""Bytes of request line and headers; the parser itself knows no bound."""

REQUEST_TIMEOUT: Final = 60.0
"""Seconds that one request may take to arrive. Endpoints with shorter bounds answer first."""

LINGER: Final = 5.0
"""Seconds that a closed WebSocket has to take what is still queued for it."""

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose requests have to arrive within bounds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True
        # From the connection on: whoever sends nothing at all is not kept either.
        self._waiting_since: float | None = self.loop.time()

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        self._waiting_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._waiting_since = None
        self._in_head = True
        self._head_bytes = 0
        super().on_message_complete()

    def close_if_late(self, now: float) -> None:
        """Cut the connection if its request should have arrived by `now` (loop time)."""
        if self._waiting_since is not None and now - self._waiting_since > REQUEST_TIMEOUT:
            self.transport.abort()


class LiveProtocol(WebSocketsSansIOProtocol):
    """A WebSocket that offers itself to the application as a `live.subscriber.FrameSink`.

    However it is closed, a peer that takes nothing any more is cut off after `LINGER`: closing
    a transport alone waits for its buffer, and such a buffer never empties.
    """

    async def run_asgi(self) -> None:
        self.scope["extensions"][EXTENSION] = {"sink": self}
        await super().run_asgi()
        self._linger()

    def write_frames(self, frames: bytes) -> None:
        if not self.close_sent and not self.transport.is_closing():
            self.transport.write(frames)

    def buffered(self) -> int:
        return self.transport.get_write_buffer_size()

    def close_frames(self, code: int, reason: str) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        self.close_timer = self.loop.call_later(LINGER, self.transport.abort)

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._linger()

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._linger()

    def shutdown(self) -> None:
        super().shutdown()
        self._linger()

    def _linger(self) -> None:
        if not self.disconnected:
            self.loop.call_later(LINGER, self.transport.abort)
