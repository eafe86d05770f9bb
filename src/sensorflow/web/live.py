"""`GET /ws/sensor_updates`: the live stream over WebSocket."""

from typing import Final

from sensorflow.errors import Reason, Refusal
from sensorflow.live.catchup import CURSOR_AHEAD, CatchUp
from sensorflow.live.frames import Frames
from sensorflow.live.subscriber import CLOSE_POLICY, QueueSink, Sink, Subscriber
from sensorflow.metrics import Metrics
from sensorflow.web import asgi
from sensorflow.web.admission import Admission, Asked
from sensorflow.web.problems import problem
from sensorflow.web.sinks import FRAMES, send_until_disconnect, until_disconnect

_CLOSE_REASONS: Final = {
    Reason.KEY_MISSING: "invalid key: no key was sent",
    Reason.KEY_UNKNOWN: "invalid key: the key is wrong",
    Reason.KEY_NOT_ALLOWED: "invalid key: this key may not read",
    Reason.FOREIGN_ORIGIN: "foreign origin: a session is good for our own page only",
    Reason.TOO_MANY_CONNECTIONS: "too many connections with this key",
    Reason.BAD_CURSOR: "bad cursor: since must be the id of a reading",
    Reason.CURSOR_AHEAD: CURSOR_AHEAD,
    Reason.BAD_SENSOR_ID: "bad filter: sensor_id has 1 to 128 printable characters",
    Reason.TOO_MANY_SENSORS: "bad filter: too many sensors",
}


class LiveEndpoint:
    """Accepts a subscriber and keeps it supplied until either side leaves."""

    def __init__(
        self, admission: Admission, catch_up: CatchUp, max_buffered: int, metrics: Metrics
    ) -> None:
        """`max_buffered`: bytes that may wait for one subscriber of the live stream."""
        self._admission = admission
        self._catch_up = catch_up
        self._max_buffered = max_buffered
        self._metrics = metrics

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        try:
            holder, asked = await self._admission.check(scope, dict(scope["headers"]))
            with self._admission.place(holder):
                await send({"type": "websocket.accept"})
                await self._serve(scope, receive, send, asked)
        except Refusal as refusal:
            await self._turn_away(scope, send, refusal)

    async def _serve(
        self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send, asked: Asked
    ) -> None:
        offered = scope.get("extensions", {}).get(FRAMES)
        sink: Sink = QueueSink() if offered is None else offered["sink"]
        subscriber = Subscriber(sink, asked.sensors, self._max_buffered)
        self._catch_up.begin(subscriber, asked.since)
        try:
            if isinstance(sink, QueueSink):
                await _serve_queued(sink, receive, send)
            else:
                await until_disconnect(receive)
        finally:
            self._catch_up.end(subscriber)

    async def _turn_away(self, scope: asgi.Scope, send: asgi.Send, refusal: Refusal) -> None:
        self._metrics.refused(refusal.reason)
        if refusal.reason is Reason.TOO_MANY_FAILED_KEYS:
            await refuse_handshake(scope, send, refusal)
            return
        # Browsers tell their scripts nothing about a refused handshake, so accept, then close.
        reason = _CLOSE_REASONS[refusal.reason]
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": CLOSE_POLICY, "reason": reason})
        self._metrics.closed.labels(refusal.reason.value).inc()


async def _serve_queued(queue: QueueSink, receive: asgi.Receive, send: asgi.Send) -> None:
    async def send_each(frames: Frames) -> None:
        for payload in frames.payloads:
            await send({"type": "websocket.send", "text": payload.decode()})

    await send_until_disconnect(queue, receive, send_each)
    if queue.ended_with is not None:
        code, reason = queue.ended_with
        await send({"type": "websocket.close", "code": code, "reason": reason})


async def refuse_handshake(scope: asgi.Scope, send: asgi.Send, refusal: Refusal) -> None:
    """Answer a WebSocket handshake with a problem, where the server can; else just refuse it."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    status, headers, body = problem(refusal)
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
