"""`POST /api/temperature_reading`, as one small ASGI endpoint; and what ingest routes share.

They are dispatched ahead of FastAPI's router, whose routing, validation and dependency injection
would cost more than everything they do; `web.openapi` describes them in /docs.
"""

from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl

from sensorflow.errors import Reason, Refusal
from sensorflow.ingest import formats
from sensorflow.ingest.plain import plain_reading
from sensorflow.ingest.receipts import Answer, Receipt, Status
from sensorflow.ingest.writer import Writer
from sensorflow.keys.keyring import Scope
from sensorflow.metrics import Metrics
from sensorflow.readings import Reading, check_sensor_id
from sensorflow.web import asgi
from sensorflow.web.gate import Gate

MAX_BODY: Final = 65_536
"""Bytes; a reading with 64 measurements of the longest names needs a tenth of it."""

JSON: Final = b"application/json"
STATUS: Final = {Status.STORED: 201, Status.SPOOLED: 202, Status.DUPLICATE: 200}
JSON_HEADER: Final = (b"content-type", JSON)


class Disconnected(Exception):
    """The client left before its request was whole; there is nobody to answer."""


class IngestRoute:
    """What every ingest route does around `answer`. Each route is a subclass."""

    def __init__(self, gate: Gate, writer: Writer, metrics: Metrics) -> None:
        self._gate = gate
        self._writer = writer
        self._metrics = metrics

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        try:
            if scope["method"] != "POST":
                raise Refusal(Reason.METHOD_NOT_ALLOWED, "Readings are sent with POST.")
            headers = dict(scope["headers"])
            self._gate.require(scope, Scope.INGEST, headers, url_key=True)
            status, body = await self.answer(scope, headers, receive)
        except Refusal as refusal:
            allow = [(b"allow", b"POST")] if refusal.reason is Reason.METHOD_NOT_ALLOWED else []
            await asgi.refuse(scope, send, self._metrics, refusal, allow)
        except Disconnected:
            pass
        else:
            length = (b"content-length", b"%d" % len(body))
            await asgi.respond(scope, send, status, [JSON_HEADER, length], body)

    async def answer(
        self, scope: asgi.Scope, headers: Mapping[bytes, bytes], receive: asgi.Receive
    ) -> tuple[int, bytes]:
        """Status and JSON body of the response, once everything is durable; or a `Refusal`."""
        raise NotImplementedError

    async def store_one(self, reading: Reading, ignored: int) -> tuple[int, bytes]:
        """The response for one reading, of which so many fields were ignored."""
        return self.told(await self._writer.submit((reading,)), ignored)

    def told(self, answers: Sequence[Answer], ignored: int) -> tuple[int, bytes]:
        """The response for one reading that was submitted, by what the writer says of it."""
        answer = answers[0]
        if isinstance(answer, Refusal):
            raise answer
        if ignored:
            self._metrics.ignored_fields.inc(ignored)
        return response(answer)


class IngestEndpoint(IngestRoute):
    """The original's route: one reading with the three measurements."""

    longest: Final = MAX_BODY

    async def answer(
        self, scope: asgi.Scope, headers: Mapping[bytes, bytes], receive: asgi.Receive
    ) -> tuple[int, bytes]:
        _check_form(headers)
        body = await read_body(headers, receive, MAX_BODY, _too_large)
        submitted, ignored = self._submit(scope, body)
        return self.told(await submitted, ignored)

    def begin(
        self, scope: asgi.Scope, headers: Mapping[bytes, bytes], body: bytes
    ) -> tuple[Future[list[Answer]], int]:
        """As `web.prompt` asks for it: the same as `answer`, up to the commit."""
        self._gate.require(scope, Scope.INGEST, headers, url_key=True)
        _check_form(headers)
        return self._submit(scope, body)

    def finish(self, answers: Sequence[Answer], ignored: int) -> tuple[int, asgi.Headers, bytes]:
        """As `web.prompt` asks for it: the same as `answer`, from the commit on."""
        status, body = self.told(answers, ignored)
        return status, [JSON_HEADER, (b"content-length", b"%d" % len(body))], body

    def _submit(self, scope: asgi.Scope, body: bytes) -> tuple[Future[list[Answer]], int]:
        """The reading on its way to the disk, and how many of its fields are ignored."""
        now, client_ip = datetime.now(UTC), asgi.client_address(scope)
        query = scope["query_string"]
        sensor_id = default_sensor(query) if query else None
        ignored = 0
        reading = plain_reading(body, now, client_ip, sensor_id, whole=True)
        if reading is None:
            fields = formats.decode_object(body)
            reading, ignored = formats.original_reading(fields, now, client_ip, sensor_id)
        return self._writer.submit((reading,)), ignored


def _check_form(headers: Mapping[bytes, bytes]) -> None:
    if media_type(headers) != JSON:
        raise Refusal(
            Reason.WRONG_CONTENT_TYPE,
            "The reading must be JSON; send the header Content-Type: application/json.",
        )
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Refusal(
            Reason.WRONG_CONTENT_ENCODING, "The body must not be compressed on this route."
        )


def _too_large() -> Refusal:
    return Refusal(
        Reason.BODY_TOO_LARGE, f"The body is larger than {MAX_BODY:,} bytes; send one reading."
    )


def response(receipt: Receipt) -> tuple[int, bytes]:
    """Status and body for one reading."""
    return STATUS[receipt.status], receipt.with_status()


def media_type(headers: Mapping[bytes, bytes]) -> bytes:
    """What the body says it is; JSON where it does not say."""
    content_type = headers.get(b"content-type", JSON)
    return JSON if content_type == JSON else content_type.partition(b";")[0].strip().lower()


def default_sensor(query: bytes) -> str | None:
    """The address's `?sensor_id=`, which counts where a reading has none."""
    if b"sensor_id" not in query:
        return None
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name == "sensor_id":
            return check_sensor_id(value)
    return None


async def read_body(
    headers: Mapping[bytes, bytes],
    receive: asgi.Receive,
    most: int,
    too_large: Callable[[], Refusal],
) -> bytes:
    """The whole body of at most `most` bytes; raises `too_large` as soon as it is more.

    Raises `Disconnected`.
    """
    length = headers.get(b"content-length")
    if length is not None and int(length) > most:
        raise too_large()
    message = await receive()
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise Disconnected
        part: bytes = message["body"]
        size += len(part)
        if size > most:
            raise too_large()
        if not message.get("more_body"):
            return b"".join([*parts, part]) if parts else part
        parts.append(part)
        message = await receive()
