"""`GET /ws/sensor_updates`: the live stream over WebSocket."""

import asyncio
from contextlib import suppress
from typing import Final

from sensorflow.errors import Reason, Refusal
from sensorflow.keys.limits import ConnectionLimit
from sensorflow.live.hub import Hub
from sensorflow.live.subscriber import CLOSE_POLICY, DirectSubscriber, QueuedSubscriber
from sensorflow.metrics import Metrics
from sensorflow.web import asgi
from sensorflow.web.gate import Gate
from sensorflow.web.problems import problem

EXTENSION: Final = "sensorflow.frames"
"""The ASGI extension by which a server offers its transport: `{"sink": FrameSink}`."""

_CLOSE_REASONS: Final = {
    Reason.KEY_MISSING: "invalid key: no key was sent",
    Reason.KEY_UNKNOWN: "invalid key: the key is wrong",
    Reason.KEY_NOT_ALLOWED: "invalid key: this key may not read",
    Reason.FOREIGN_ORIGIN: "foreign origin: a session is good for our own page only",
    Reason.TOO_MANY_CONNECTIONS: "too many connections with this key",
}


class LiveEndpoint:
    """Accepts a subscriber and keeps it on the hub until either side leaves."""

    def __init__(
        self, gate: Gate, hub: Hub, connections: ConnectionLimit, metrics: Metrics
    ) -> None:
        self._gate = gate
        self._hub = hub
        self._connections = connections
        self._metrics = metrics

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        try:
            holder = self._gate.require_reader(scope, dict(scope["headers"]))
            if not self._connections.acquire(holder):
                raise Refusal(Reason.TOO_MANY_CONNECTIONS, "")
        except Refusal as refusal:
            await self._turn_away(scope, send, refusal)
            return
        try:
            await send({"type": "websocket.accept"})
            offered = scope.get("extensions", {}).get(EXTENSION)
            if offered is None:
                await self._serve_queued(receive, send)
            else:
                await self._serve_direct(DirectSubscriber(offered["sink"]), receive)
        finally:
            self._connections.release(holder)

    async def _serve_direct(self, subscriber: DirectSubscriber, receive: asgi.Receive) -> None:
        self._hub.subscribe(subscriber)
        try:
            await _until_disconnect(receive)
        finally:
            self._hub.unsubscribe(subscriber)

    async def _serve_queued(self, receive: asgi.Receive, send: asgi.Send) -> None:
        subscriber = QueuedSubscriber()
        self._hub.subscribe(subscriber)
        sending = asyncio.create_task(_send_queued(subscriber, send), name="live-send")
        leaving = asyncio.create_task(_until_disconnect(receive), name="live-receive")
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.unsubscribe(subscriber)
            for task in (sending, leaving):
                task.cancel()
                # A peer that went away makes send fail in ways that differ by server.
                with suppress(asyncio.CancelledError, Exception):
                    await task

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


async def refuse_handshake(scope: asgi.Scope, send: asgi.Send, refusal: Refusal) -> None:
    """Answer a WebSocket handshake with a problem, where the server can; else just refuse it."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    status, headers, body = problem(refusal)
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


async def _until_disconnect(receive: asgi.Receive) -> None:
    """What subscribers send means nothing here and is dropped."""
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def _send_queued(subscriber: QueuedSubscriber, send: asgi.Send) -> None:
    async for message in subscriber.messages():
        await send({"type": "websocket.send", "text": message.decode()})
    if subscriber.closed_with is not None:
        code, reason = subscriber.closed_with
        await send({"type": "websocket.close", "code": code, "reason": reason})
