"""The HTTP protocol of our server: requests have bounds in time and size, and streams their end."""

from collections.abc import Mapping
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from sensorflow.errors import Reason, Refusal
from sensorflow.metrics import Metrics
from sensorflow.web.answering import AnsweringHttpProtocol
from sensorflow.web.asgi import CUT, Headers
from sensorflow.web.problems import problem
from sensorflow.web.prompt import PromptRoute
from sensorflow.web.sinks import EVENT_STREAM, EventSink, close_soon
from sensorflow.web.turns import Turns

MAX_HEAD: Final = 32_768
"""Bytes of request line and headers; the parser itself knows no bound."""

MAX_FIELDS: Final = 200
"""Header and trailer fields of one request."""

MAX_MESSAGE: Final = 11_534_336
"""Bytes of one request with all its chunks and trailers: 10 MiB of readings, and some more."""

REQUEST_TIMEOUT: Final = 20.0
"""Seconds that one request may take to arrive, headers and body."""


def _last_response(refusal: Refusal) -> bytes:
    """A whole response for a connection on which no application can answer."""
    status, headers, body = problem(refusal)
    head = [STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in headers)]
    return b"".join([*head, b"connection: close\r\n\r\n", body])


_TOO_LARGE: Final = _last_response(
    Refusal(Reason.HEAD_TOO_LARGE, f"The request's headers are larger than {MAX_HEAD:,} bytes.")
)
_TOO_LATE: Final = _last_response(
    Refusal(
        Reason.REQUEST_TIMEOUT,
        f"The request did not arrive within {REQUEST_TIMEOUT:.0f} s; check its Content-Length.",
    )
)


class BoundedHttpProtocol(AnsweringHttpProtocol):
    """HTTP/1.1 whose requests have to arrive within bounds.

    `metrics` counts those that do not. WebSocket handshakes take their `turns`. What is posted to
    one of the `prompt` targets is answered without a task where it can be.
    """

    def __init__(
        self,
        metrics: Metrics,
        turns: Turns,
        prompt: Mapping[bytes, PromptRoute],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(prompt, *args, **kwargs)
        self._metrics = metrics
        self._turns = turns
        self._head_bytes = 0
        self._message_bytes = 0
        self._in_head = True
        self._retiring = False
        # From the connection on: whoever sends nothing at all is not kept either.
        self._waiting_since: float | None = self.loop.time()
        self._declined = False
        """Whether the request under way offers an upgrade that is none of ours."""
        self._streams = False
        """Whether the response under way is one of events, which never ends by itself."""

    def handle_websocket_upgrade(self) -> None:
        # A thousand handshakes at once, after a restart, must not hold up the stream of the others.
        self.transport.pause_reading()
        self._turns.add(self._upgrade)

    def _upgrade(self) -> None:
        if self.transport.is_closing():
            return
        self.transport.resume_reading()
        super().handle_websocket_upgrade()
        # Each holds the other, and nothing would free them before a collection.
        self.parser = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        self.idle_since = None
        self._feed(data)
        if self._waiting_since is None:
            if self.cycle is None or self.cycle.response_complete:
                # Line breaks between requests.
                self._waiting_since = self.loop.time()
            return
        self._message_bytes += len(data)
        if (self._in_head and self._head_bytes > MAX_HEAD) or len(self.headers) > MAX_FIELDS:
            self._end_with(_TOO_LARGE, Reason.HEAD_TOO_LARGE)
        elif self._message_bytes > MAX_MESSAGE:
            self.transport.abort()

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserError:
                self.send_400_response("")
                return
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                    return
                if not self._declined:
                    return
                self._declined = False
                data = data[upgrade.args[0] :]
                head = self._head_without_upgrade()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.feed_data(head)

    def _head_without_upgrade(self) -> bytes:
        """The head of the request under way, as if it had offered nothing.

        Clients that would rather speak HTTP/2 say so with any request, and go on with HTTP/1.1
        where they are not heard. The parser takes it for the end of HTTP, and loses the body.
        """
        version = self.parser.get_http_version().encode()
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)
        return b"".join([line, *fields, b"\r\n"])

    def _should_upgrade(self) -> bool:
        # Any other method has no handshake to answer, and would never be heard of again. And a
        # response that is under way must not end up in the midst of frames.
        return (
            self.parser.get_method() == b"GET"
            and (self.cycle is None or self.cycle.response_complete)
            and super()._should_upgrade()
        )

    def send_400_response(self, msg: str) -> None:
        self._end_with(_NOT_HTTP, Reason.BAD_REQUEST)

    def _end_with(self, response: bytes, reason: Reason) -> None:
        """Answer in place of an application and close; nothing is answered twice."""
        if self.transport.is_closing():
            return
        self._metrics.refused(reason)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            # The request before is whole, maybe committed: it gets its own answer, the last one.
            cycle.keep_alive = False
            return
        if self._in_head or cycle is None or not cycle.response_started:
            self.transport.write(response)
        self.transport.close()

    def on_message_begin(self) -> None:
        self._waiting_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        parser = self.parser
        if parser.should_upgrade() and parser.get_method() != b"CONNECT":
            self._declined = not self._should_upgrade()
            if self._declined:
                return
        self._in_head = False
        super().on_headers_complete()
        if self._retiring:
            self.retire()

    def extensions(self) -> dict[str, dict[object, object]]:
        return {
            **super().extensions(),
            EVENT_STREAM: {"open": self.open_events},
            CUT: {"cut": self.cut},
        }

    def on_message_complete(self) -> None:
        if self._declined:
            return
        self._waiting_since = None
        self._in_head = True
        self._head_bytes = self._message_bytes = 0
        super().on_message_complete()

    def open_events(self, status: int, headers: Headers, body: bytes) -> EventSink | None:
        """Begin a response that ends with its connection; see `sinks.EVENT_STREAM`.

        Without chunks around them the events are the same bytes for every subscriber.
        """
        cycle = self.cycle
        if self.pipeline or cycle.disconnected:
            return None
        head = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
        self.transport.write(b"".join([STATUS_LINE[status], *head, b"\r\n", body]))
        cycle.response_started = True
        cycle.keep_alive = False
        self._streams = True
        return EventSink(self.transport, self.flow)

    def cut(self) -> None:
        """End the connection, though the peer may take nothing more; see `asgi.CUT`."""
        close_soon(self.transport)

    def close_if_late(self, now: float) -> None:
        """Close the connection if its request should have arrived by `now` (loop time).

        One check now and then over all connections costs the hot path nothing, where a timer for
        each body would cost every request. An application that waits for the body is told that
        the client disconnected. A connection that never sent anything, as browsers open them in
        advance, is closed without a word.
        """
        if self.idle_since is not None and now - self.idle_since > self.timeout_keep_alive:
            self.transport.close()
        if self._waiting_since is None or now - self._waiting_since < REQUEST_TIMEOUT:
            return
        self._waiting_since = None
        if self._head_bytes:
            self._end_with(_TOO_LATE, Reason.REQUEST_TIMEOUT)
        else:
            self.transport.close()

    def retire(self) -> None:
        """Have the response under way, or else the next one, be the last on this connection.

        The client is told so in that response, and nothing that it sends crosses with the close.
        """
        self._retiring = True
        if self._streams:
            close_soon(self.transport)
        elif self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        if self._waiting_since is not None and self._head_bytes:
            # Nobody knows when the rest comes, and what is whole must not wait for it.
            self._end_with(_STOPPING, Reason.SHUTTING_DOWN)
        elif self._streams:
            close_soon(self.transport)
        else:
            super().shutdown()


_NOT_HTTP: Final = _last_response(
    Refusal(Reason.BAD_REQUEST, "What was sent is not an HTTP/1.1 request.")
)
_STOPPING: Final = _last_response(
    Refusal(
        Reason.SHUTTING_DOWN,
        "The server is stopping; send the reading again in a moment.",
        retry_after=5,
    )
)
