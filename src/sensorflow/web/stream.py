"""`GET /api/stream`: the live stream as server-sent events (WHATWG HTML, section 9.2)."""

import asyncio
from contextlib import suppress
from random import randrange
from typing import Final

from sensorflow.errors import Reason, Refusal
from sensorflow.live.catchup import CatchUp
from sensorflow.live.frames import Frames
from sensorflow.live.subscriber import QueueSink, Sink, Subscriber
from sensorflow.metrics import Metrics
from sensorflow.web import asgi
from sensorflow.web.admission import Admission, Asked
from sensorflow.web.sinks import EVENT_STREAM, send_until_disconnect, until_disconnect

HEARTBEAT: Final = 15
"""Seconds between two heartbeats of a connection; proxies cut a line that is silent for 60."""

_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"connection", b"close"),
    # nginx would else collect events until its buffer is full.
    (b"x-accel-buffering", b"no"),
    # A key is enough for any origin; a session is not, for no cookie goes with a foreign request.
    (b"access-control-allow-origin", b"*"),
]
_FIRST: Final = b"retry: 1000\n\n"
"""Milliseconds after which a browser connects again; it also has the headers sent at once."""


class StreamEndpoint:
    """Serves event streams; `run` is the background task of their heartbeats, `stop` ends it."""

    def __init__(
        self, admission: Admission, catch_up: CatchUp, max_buffered: int, metrics: Metrics
    ) -> None:
        """`max_buffered`: bytes that may wait for one subscriber of the live stream."""
        self._admission = admission
        self._catch_up = catch_up
        self._max_buffered = max_buffered
        self._metrics = metrics
        self._beats: list[set[Subscriber]] = [set() for _ in range(HEARTBEAT)]
        """Who gets a heartbeat in which second, so that they are spread over time."""
        self._stop = asyncio.Event()

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        try:
            if scope["method"] != "GET":
                raise Refusal(Reason.METHOD_NOT_ALLOWED, "The stream is read with GET.")
            holder, asked = await self._admission.check(scope, dict(scope["headers"]))
            with self._admission.place(holder):
                await self._serve(scope, receive, send, asked)
        except Refusal as refusal:
            allow = [(b"allow", b"GET")] if refusal.reason is Reason.METHOD_NOT_ALLOWED else []
            await asgi.refuse(scope, send, self._metrics, refusal, allow)

    async def run(self) -> None:
        """Have each connection hear something, and its cursor move, whatever its filter."""
        second = 0
        while not self._stop.is_set():
            for subscriber in self._beats[second]:
                if not subscriber.buffered():
                    subscriber.tell(Frames.heartbeat(self._catch_up.position(subscriber)))
            second = (second + 1) % HEARTBEAT
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 1.0)

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

    async def _serve(
        self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send, asked: Asked
    ) -> None:
        offered = scope.get("extensions", {}).get(EVENT_STREAM)
        direct = offered["open"](200, _HEADERS, _FIRST) if offered is not None else None
        sink: Sink = direct or QueueSink()
        subscriber = Subscriber(sink, asked.sensors, self._max_buffered)
        beat = self._beats[randrange(HEARTBEAT)]  # noqa: S311
        self._catch_up.begin(subscriber, asked.since)
        beat.add(subscriber)
        try:
            if isinstance(sink, QueueSink):
                await _serve_queued(sink, receive, send)
            else:
                await until_disconnect(receive)
        finally:
            beat.discard(subscriber)
            self._catch_up.end(subscriber)


async def _serve_queued(queue: QueueSink, receive: asgi.Receive, send: asgi.Send) -> None:
    async def send_events(frames: Frames) -> None:
        await _send(send, frames.events)

    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await _send(send, _FIRST)
    await send_until_disconnect(queue, receive, send_events)
    if queue.ended_with is not None:
        await _send(send, f": {queue.ended_with[1]}\n\n".encode(), more=False)


async def _send(send: asgi.Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})
