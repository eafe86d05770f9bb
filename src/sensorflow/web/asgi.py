"""The ASGI names and answers that the bare endpoints share."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from sensorflow.errors import Refusal
from sensorflow.metrics import Metrics
from sensorflow.web.problems import problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

WHOLE_RESPONSE: Final = "sensorflow.whole_response"
"""The ASGI extension by which a server sends a response in one write.

`{"respond": (status, headers, body) -> bool}`: headers must hold the content-length; False where
the connection cannot take it now, and the ordinary messages have to be sent.
"""

CUT: Final = "sensorflow.cut"
"""The ASGI extension by which a server ends a connection in the midst of a response.

`{"cut": () -> None}`: what is queued still has a moment to leave.
"""

ANSWERED: Final = "sensorflow.answered"
"""The key of a scope under which the status of its response is noted, for `web.edge` to count."""


def client_address(scope: Scope) -> str | None:
    """The client's address, as `web.proxies` leaves it; None on a Unix socket."""
    client = scope.get("client")
    return client[0] if client else None


async def respond(scope: Scope, send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send one whole response, in one write where the server offers the extension."""
    scope[ANSWERED] = status
    extension = scope.get("extensions", {}).get(WHOLE_RESPONSE)
    if extension is not None and extension["respond"](status, headers, body):
        return
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse(
    scope: Scope,
    send: Send,
    metrics: Metrics,
    refusal: Refusal,
    extra: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Count a refusal and tell it, once."""
    status, headers, body = refused(metrics, refusal)
    await respond(scope, send, status, [*headers, *extra], body)


def refused(metrics: Metrics, refusal: Refusal) -> tuple[int, Headers, bytes]:
    """Count a refusal; its response, which is to be sent: each over HTTP is counted here."""
    metrics.refused(refusal.reason, sensor_id=refusal.sensor_id)
    return problem(refusal)
