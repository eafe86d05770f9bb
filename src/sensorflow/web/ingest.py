"""`POST /api/temperature_reading`, as one small ASGI endpoint.

It is dispatched ahead of FastAPI's router, whose routing, validation and dependency injection
would cost more than everything this endpoint does; `web.openapi` describes it in /docs.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from sensorflow.errors import Reason, Refusal
from sensorflow.ingest import formats
from sensorflow.ingest.writer import Receipt, Status, Writer
from sensorflow.keys.keyring import Scope
from sensorflow.metrics import Metrics
from sensorflow.web import asgi
from sensorflow.web.gate import Gate

MAX_BODY: Final = 65_536
"""Bytes; a reading with 64 measurements of the longest names needs a tenth of it."""

BODY_TIMEOUT: Final = 10.0
"""Seconds from the end of the headers to the end of the body."""

_STATUS: Final = {Status.STORED: 201, Status.DUPLICATE: 200}
_SUFFIX: Final = {status: f',"status":"{status.value}"}}'.encode() for status in Status}
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
            # What is left of a body that came too slowly would be taken for the next request.
            close = [(b"connection", b"close")] if refusal.reason is Reason.BODY_TIMEOUT else []
            await asgi.refuse(send, self._metrics, refusal, [*allow, *close])
            return
        except _Disconnected:
            return
        body = receipt.encoded[:-1] + _SUFFIX[receipt.status]
        await asgi.respond(
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
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                body: bytes = message["body"]
            else:
                body = await _read_rest(message, receive)
    except TimeoutError:
        raise Refusal(
            Reason.BODY_TIMEOUT,
            f"The body did not arrive within {BODY_TIMEOUT:.0f} s; check Content-Length.",
        ) from None
    if len(body) > MAX_BODY:
        raise _too_large()
    return body


async def _read_rest(message: Mapping[str, object], receive: asgi.Receive) -> bytes:
    body = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise _Disconnected
        body += message.get("body", b"")  # type: ignore[arg-type]
        if len(body) > MAX_BODY:
            raise _too_large()
        if not message.get("more_body"):
            return bytes(body)
        message = await receive()


def _too_large() -> Refusal:
    return Refusal(
        Reason.BODY_TOO_LARGE, f"The body is larger than {MAX_BODY:,} bytes; send one reading."
    )
