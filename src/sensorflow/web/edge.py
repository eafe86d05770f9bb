"""The outermost ASGI application: the hot routes first, everything else to FastAPI."""

from collections.abc import Mapping

from sensorflow.errors import Reason, Refusal
from sensorflow.metrics import Metrics
from sensorflow.web import asgi
from sensorflow.web.live import refuse_handshake

LIVE_PATH = "/ws/sensor_updates"
STREAM_PATH = "/api/stream"
INGEST_PATH = "/api/temperature_reading"


class Edge:
    """Dispatches by path. `direct` and `live` never pass through FastAPI's router."""

    def __init__(
        self,
        direct: Mapping[str, asgi.App],
        live: Mapping[str, asgi.App],
        fallback: asgi.App,
        metrics: Metrics,
    ) -> None:
        self._direct = direct
        self._live = live
        self._fallback = fallback
        self._metrics = metrics

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._direct.get(scope["path"], self._fallback)(scope, receive, send)
        elif kind == "websocket":
            endpoint = self._live.get(scope["path"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return
            await receive()
            self._metrics.refused(Reason.NOT_FOUND)
            refusal = Refusal(Reason.NOT_FOUND, f"The live stream is at {LIVE_PATH}.")
            await refuse_handshake(scope, send, refusal)
        else:
            await self._fallback(scope, receive, send)


class UpgradeRequired:
    """Answers plain HTTP on a WebSocket's path."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        refusal = Refusal(
            Reason.UPGRADE_REQUIRED,
            "This path speaks WebSocket only; behind a proxy, have it pass on Upgrade and "
            "Connection.",
        )
        upgrade = [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
        await asgi.refuse(scope, send, self._metrics, refusal, upgrade)
