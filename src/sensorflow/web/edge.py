"""The outermost ASGI application: the hot routes first, everything else to FastAPI."""

from collections.abc import Mapping, MutableMapping
from time import perf_counter
from typing import Any

from sensorflow.errors import Reason, Refusal
from sensorflow.metrics import Metrics
from sensorflow.metrics.instruments import Route
from sensorflow.web import asgi
from sensorflow.web.live import refuse_handshake
from sensorflow.web.prompt import Endpoint, PromptRoute
from sensorflow.web.proxies import Proxies

LIVE_PATH = "/ws/sensor_updates"
STREAM_PATH = "/api/stream"
INGEST_PATH = "/api/temperature_reading"
READINGS_PATH = "/api/readings"
INFLUX_1_PATH = "/write"
INFLUX_2_PATH = "/api/v2/write"
INFLUX_QUERY_PATH = "/query"
INFLUX_PING_PATH = "/ping"


class Edge:
    """Dispatches by path. `direct` and `live` never pass through FastAPI's router.

    Whatever is dispatched has the client's address in its scope, not that of one of the
    `proxies`; None where nobody is trusted.
    """

    def __init__(
        self,
        prompt: Mapping[str, Endpoint],
        direct: Mapping[str, asgi.App],
        live: Mapping[str, asgi.App],
        fallback: asgi.App,
        metrics: Metrics,
        proxies: Proxies | None,
    ) -> None:
        self._direct = {path: (app, metrics.route(path)) for path, app in direct.items()}
        self.prompt: Mapping[bytes, PromptRoute] = {
            path.encode(): PromptRoute(endpoint, metrics.route(path), metrics, proxies)
            for path, endpoint in prompt.items()
        }
        """By the request's whole target: what is answered without a task, past `__call__`."""
        self._live = live
        self._fallback = fallback
        self._metrics = metrics
        self._proxies = proxies

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        kind = scope["type"]
        if self._proxies is not None and kind != "lifespan":
            self._proxies.unwrap(scope)
        if kind == "http":
            await self._request(scope, receive, send)
        elif kind == "websocket":
            await self._handshake(scope, receive, send)
        else:
            await self._fallback(scope, receive, send)

    async def _request(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        began = perf_counter()
        direct = self._direct.get(scope["path"])
        try:
            if direct is not None:
                await direct[0](scope, receive, send)
            else:
                await self._fallback(scope, receive, _noting_status(scope, send))
        finally:
            # Nothing is noted for a client that has left before its request was whole.
            if (status := scope.get(asgi.ANSWERED)) is not None:
                route = direct[1] if direct is not None else self._metrics.route(_name(scope))
                route.answered(status, perf_counter() - began)

    async def _handshake(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        path = scope["path"]
        endpoint = self._live.get(path)
        counting = _counting_answer(self._metrics.route(path if endpoint else ""), send)
        if endpoint is not None:
            await endpoint(scope, receive, counting)
            return
        await receive()
        self._metrics.refused(Reason.NOT_FOUND)
        refusal = Refusal(Reason.NOT_FOUND, f"The live stream is at {LIVE_PATH}.")
        await refuse_handshake(scope, counting, refusal)


def _name(scope: asgi.Scope) -> str:
    """The route that FastAPI's part has found, as it is declared."""
    route = scope.get("route")
    name: str = route.path if route is not None else scope.get("root_path", "")
    return name.replace(":path}", "}")


def _noting_status(scope: asgi.Scope, send: asgi.Send) -> asgi.Send:
    async def noting(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            scope[asgi.ANSWERED] = message["status"]
        await send(message)

    return noting


def _counting_answer(route: Route, send: asgi.Send) -> asgi.Send:
    async def counting(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "websocket.accept":
            route.began(101)
        elif message["type"] == "websocket.http.response.start":
            route.began(message["status"])
        await send(message)

    return counting


class ByMethod:
    """Serves each method of one path by an endpoint of its own."""

    def __init__(self, endpoints: Mapping[str, asgi.App], metrics: Metrics) -> None:
        self._endpoints = endpoints
        self._metrics = metrics

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is not None:
            await endpoint(scope, receive, send)
            return
        refusal = Refusal(
            Reason.METHOD_NOT_ALLOWED, f"This path takes {' and '.join(self._endpoints)}."
        )
        allow = [(b"allow", ", ".join(self._endpoints).encode())]
        await asgi.refuse(scope, send, self._metrics, refusal, allow)


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
