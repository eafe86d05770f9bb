"""uvicorn's HTTP protocol, made to answer at less cost: in one write, and some without a task."""

from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from sensorflow.web.asgi import WHOLE_RESPONSE, Headers
from sensorflow.web.prompt import PromptCycle, PromptRoute


class AnsweringHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 that offers `asgi.WHOLE_RESPONSE`.

    A POST to one of the `prompt` targets is answered by its route where the request is an ordinary
    one; all else goes to the ASGI application, with the same outcome. Connections that are idle
    for long are to be closed by the server.
    """

    def __init__(self, prompt: Mapping[bytes, PromptRoute], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prompt = prompt
        self.idle_since: float | None = None
        """When the last response was sent (loop time), where nothing came since."""

    def extensions(self) -> dict[str, dict[object, object]]:
        """Those of ASGI that a request with a task has."""
        return {WHOLE_RESPONSE: {"respond": self.respond_whole}}

    def data_received(self, data: bytes) -> None:
        self.idle_since = None
        super().data_received(data)

    def on_headers_complete(self) -> None:
        route = self._prompt.get(self.url)
        if route is None or not self._begin_prompt(route):
            self.scope["extensions"] = self.extensions()
            super().on_headers_complete()

    def _begin_prompt(self, route: PromptRoute) -> bool:
        """Whether the request can do without a task.

        Not where it has to wait for another or for the client to read, or asks for more than to be
        answered, or may be too long.
        """
        parser = self.parser
        under_way = self.cycle is not None and not self.cycle.response_complete
        if (
            under_way
            or self.expect_100_continue
            or self.flow.write_paused
            or parser.get_method() != b"POST"
        ):
            return False
        headers = dict(self.headers)
        length = headers.get(b"content-length")
        if length is None or int(length) > route.longest:
            return False
        keep_alive = parser.should_keep_alive()
        if b"connection" in headers or b"proxy-connection" in headers:
            keep_alive = keep_alive and parser.get_http_version() != "1.0"
        self.scope["query_string"] = b""
        default = self.server_state.default_headers
        cycle = PromptCycle(route, self.scope, headers, default, keep_alive)
        self.cycle = cycle  # type: ignore[assignment]
        return True

    def on_message_complete(self) -> None:
        cycle: object = self.cycle
        # Once: a handshake behind it ends here too, without a cycle of its own.
        if type(cycle) is PromptCycle and cycle.more_body:
            super().on_message_complete()
            cycle.route.take(cycle, self._write)
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's, but for its timer on each response: `idle_since` is looked at instead."""
        if self.pipeline:
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.idle_since = self.loop.time()

    def respond_whole(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send the current request's response in one write; see `asgi.WHOLE_RESPONSE`.

        What `send` of uvicorn's cycle does in two messages and two writes, headers checked one
        by one, is a third of what a request costs us.
        """
        cycle = self.cycle
        if self.pipeline or self.flow.write_paused or cycle.scope["method"] == "HEAD":
            return False
        self._write(cycle, status, headers, body)
        cycle.message_event.set()
        return True

    def _write(
        self,
        cycle: RequestResponseCycle | PromptCycle,
        status: int,
        headers: Headers,
        body: bytes,
    ) -> None:
        """Send the response to one request, and go on to the next; nothing if nobody is there."""
        if cycle.disconnected:
            return
        parts = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        parts.append(body)
        self.transport.write(b"".join(parts))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
