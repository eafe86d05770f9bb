"""`POST /api/temperature_reading`, as one small ASGI endpoint.

It is dispatched ahead of FastAPI's router, whose routing, validation and dependency injection
would cost more than everything this endpoint does; `web.openapi` describes it in /docs.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from sensorflow.errors import Reason, Refusal
from sensorflow.ingest import formats
from sensorflow.ingest.receipts import Receipt, Status
from sensorflow.ingest.writer import Writer
from sensorflow.keys.keyring import Scope
from sensorflow.metrics import Metrics
from sensorflow.web import asgi
from sensorflow.web.gate import Gate

MAX_BODY: Final = 65_536
"""Bytes; a reading with 64 measurements of the longest names needs a tenth of it."""

_STATUS: Final = {Status.STORED: 201, Status.SPOOLED: 202, Status.DUPLICATE: 200}
_JSON: Final = (b"content-type", b"application/json")


class IngestEndpoint:
    """Authenticate, decode, check, submit; answer when the reading is durable."""

    def __init__(self, gate: Gate, writer: Writer, metrics: Metrics) -> None:
        self._gate = gate
        self._writer = writer
        self._metrics = metrics

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        try:
            receipt = await self._ingest(scope, receive)
        except Refusal as refusal:
            allow = [(b"allow", b"POST")] if refusal.reason is Reason.METHOD_NOT_ALLOWED else []
            await asgi.refuse(scope, send, self._metrics, refusal, allow)
            return
        except _Disconnected:
            return
        body = receipt.with_status()
        await asgi.respond(
            scope,
            send,
            _STATUS[receipt.status],
            [_JSON, (b"content-length", b"%d" % len(body))],
            body,
        )

    async def _ingest(self, scope: asgi.Scope, receive: asgi.Receive) -> Receipt:
        if scope["method"] != "POST":
            raise Refusal(Reason.METHOD_NOT_ALLOWED, "Readings are sent with POST.")
        headers = dict(scope["headers"])
        self._gate.require(scope, Scope.INGEST, headers, url_key=True)
        _check_headers(headers)
        body = await _read_body(receive)
        reading, ignored = formats.original_reading(
            formats.decode_object(body), datetime.now(UTC), asgi.client_address(scope)
        )
        answers = await self._writer.submit((reading,))
        answer = answers[0]
        if isinstance(answer, Refusal):
            raise answer
        if ignored:
            self._metrics.ignored_fields.inc(ignored)
        return answer


class _Disconnected(Exception):
    """The client left before its request was whole; there is nobody to answer."""


def _check_headers(headers: Mapping[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type", b"application/json")
    if content_type != b"application/json":
        media_type = content_type.partition(b";")[0].strip().lower()
        if media_type != b"application/json":
            raise Refusal(
                Reason.WRONG_CONTENT_TYPE,
                "The reading must be JSON; send the header Content-Type: application/json.",
            )
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Refusal(
            Reason.WRONG_CONTENT_ENCODING, "The body must not be compressed on this route."
        )
    length = headers.get(b"content-length")
    if length is not None and int(length) > MAX_BODY:
        raise _too_large()


async def _read_body(receive: asgi.Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        body += message["body"]
        if len(body) > MAX_BODY:
            raise _too_large()
        if not message.get("more_body"):
            return body


def _too_large() -> Refusal:
    return Refusal(
        Reason.BODY_TOO_LARGE, f"The body is larger than {MAX_BODY:,} bytes; send one reading."
    )
