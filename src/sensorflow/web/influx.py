"""What writes to InfluxDB writes here: `/write`, `/api/v2/write`, `/ping` and `/query`."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from sensorflow import __version__
from sensorflow.errors import Reason, Refusal
from sensorflow.ingest import bodies
from sensorflow.ingest.influx import NANOSECONDS, SENSOR_TAGS, Lines, Merged, split
from sensorflow.ingest.receipts import Answer
from sensorflow.ingest.writer import Writer
from sensorflow.keys.keyring import Scope
from sensorflow.metrics import Metrics
from sensorflow.readings import Reading
from sensorflow.web import asgi
from sensorflow.web.gate import Gate
from sensorflow.web.ingest import JSON, JSON_HEADER, Disconnected, default_sensor, read_body
from sensorflow.web.problems import headers_of, status_of
from sensorflow.web.readings import in_parts, read_unpacked, store_in_parts

MAX_QUERY: Final = 8_192
"""Bytes of a body with a query."""

# Clients compare the number with that of the protocol they speak.
_VERSION: Final = (b"x-influxdb-version", f"1.8.0-sensorflow-{__version__}".encode())
_NO_RESULT: Final = b'{"results":[{"statement_id":0}]}'
_CREATE_DATABASE: Final = re.compile(
    r'\s*create\s+database\s+(?:"(?:[^"\\]|\\.)*+"|[^\s;"]++)(?:\s+with\s[^;]*+)?\s*;?\s*',
    re.IGNORECASE,
)
_CODES: Final = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    405: "method not allowed",
    413: "request too large",
    415: "unsupported media type",
    429: "too many requests",
    500: "internal error",
    503: "unavailable",
}

Error = Callable[[int, str], bytes]


def error_of_v1(_status: int, message: str) -> bytes:
    """An error as InfluxDB 1 tells it."""
    return msgspec.json.encode({"error": message})


def error_of_v2(status: int, message: str) -> bytes:
    """An error as InfluxDB 2 tells it."""
    return msgspec.json.encode({"code": _CODES[status], "message": message})


class InfluxRoute:
    """What these routes do around `answer`: keys are sent and errors told in Influx's ways."""

    methods: tuple[str, ...] = ("POST",)

    def __init__(self, gate: Gate, metrics: Metrics, error: Error) -> None:
        self._gate = gate
        self._metrics = metrics
        self._error = error

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        try:
            if scope["method"] not in self.methods:
                raise Refusal(
                    Reason.METHOD_NOT_ALLOWED, f"This path takes {' and '.join(self.methods)}."
                )
            headers = dict(scope["headers"])
            self._admit(scope, headers)
            status, body = await self.answer(scope, headers, receive)
        except Refusal as refusal:
            await self._refuse(scope, send, refusal)
        except Disconnected:
            pass
        else:
            content = [JSON_HEADER, (b"content-length", b"%d" % len(body))] if body else []
            await asgi.respond(scope, send, status, [*content, _VERSION], body)

    def _admit(self, scope: asgi.Scope, headers: Mapping[bytes, bytes]) -> None:
        self._gate.require_of_influx(scope, Scope.INGEST, headers)

    async def _refuse(self, scope: asgi.Scope, send: asgi.Send, refusal: Refusal) -> None:
        self._metrics.refused(refusal.reason)
        status = status_of(refusal.reason)
        if status not in _CODES:
            status = 400
        body = self._error(status, refusal.detail)
        headers = [*headers_of(refusal, JSON.decode(), body), _VERSION]
        if status == 405:
            headers.append((b"allow", ", ".join(self.methods).encode()))
        await asgi.respond(scope, send, status, headers, body)

    async def answer(
        self, scope: asgi.Scope, headers: Mapping[bytes, bytes], receive: asgi.Receive
    ) -> tuple[int, bytes]:
        """Status and JSON body, which may be empty; or a `Refusal`."""
        raise NotImplementedError


class WriteEndpoint(InfluxRoute):
    """Lines, merged into readings. 204 says that every one of them is stored or in the spool."""

    def __init__(
        self, gate: Gate, writer: Writer, metrics: Metrics, error: Error, sensor_tag: str | None
    ) -> None:
        """`sensor_tag` is tried before those that name a sensor anyway."""
        super().__init__(gate, metrics, error)
        self._writer = writer
        self._sensor_tags = SENSOR_TAGS if sensor_tag is None else (sensor_tag, *SENSOR_TAGS)

    async def answer(
        self, scope: asgi.Scope, headers: Mapping[bytes, bytes], receive: asgi.Receive
    ) -> tuple[int, bytes]:
        query = scope["query_string"]
        precision = _precision(query)
        sensor_id = default_sensor(query)
        body = await read_unpacked(headers, receive)
        now, client_ip = datetime.now(UTC), asgi.client_address(scope)
        lines = Lines(self._sensor_tags, sensor_id, precision, now)
        await lines.read(body)

        def readings_of(some: Sequence[Merged]) -> list[list[Reading]]:
            return [split(one, now, client_ip) for one in some]

        parts = await bodies.in_slices(readings_of, lines.merged)
        readings = [*chain.from_iterable(parts)]
        answers = await store_in_parts(self._writer, in_parts(readings))
        return self._told(lines, list(map(len, parts)), answers)

    def _told(
        self, lines: Lines, sizes: Sequence[int], answers: Sequence[Answer]
    ) -> tuple[int, bytes]:
        """The response, for so many readings of each that was merged."""
        refusals = [answer for answer in answers if isinstance(answer, Refusal)]
        unavailable = next((r for r in refusals if status_of(r.reason) >= 500), None)
        if unavailable is not None:
            refusals.remove(unavailable)  # counted where it is told
        for reason, count in lines.refused.items():
            self._metrics.refused(reason, count)
        for (sensor_id, reason), count in lines.refused_by_sensor.items():
            self._metrics.by_sensor.count(sensor_id, reason.value, count)
        for refusal in refusals:
            self._metrics.refused(refusal.reason)
        if unavailable is not None:
            # The client sends all of it again, and what is stored is then a duplicate.
            raise unavailable
        if lines.ignored:
            self._metrics.ignored_fields.inc(lines.ignored)
        left = iter(answers)
        dropped = lines.refused.total()
        for one, size in zip(lines.merged, sizes, strict=True):
            part = list(islice(left, size))
            if any(isinstance(answer, Refusal) for answer in part):
                dropped += one.lines
        if not dropped:
            return 204, b""
        first = lines.first_refusal or refusals[0].detail
        return 400, self._error(400, f"partial write: {first} dropped={dropped}")


class QueryEndpoint(InfluxRoute):
    """Nothing can be asked here; but clients make their database before they write."""

    methods = ("GET", "POST")

    async def answer(
        self, scope: asgi.Scope, headers: Mapping[bytes, bytes], receive: asgi.Receive
    ) -> tuple[int, bytes]:
        asked = parse_qsl(scope["query_string"].decode("latin-1"))
        if scope["method"] == "POST":
            body = await read_body(headers, receive, MAX_QUERY, _too_large)
            asked += parse_qsl(body.decode("latin-1"))
        statements = [value for name, value in asked if name == "q"]
        if not statements or not all(map(_CREATE_DATABASE.fullmatch, statements)):
            raise Refusal(
                Reason.BAD_REQUEST,
                "Queries are not served here, only CREATE DATABASE, which does nothing; readings "
                "are read with GET /api/readings and GET /api/series.",
            )
        return 200, _NO_RESULT


class PingEndpoint(InfluxRoute):
    """Tells that lines can be written here; asked without a key, as of InfluxDB."""

    methods = ("GET", "HEAD")

    def _admit(self, scope: asgi.Scope, headers: Mapping[bytes, bytes]) -> None:
        pass

    async def answer(
        self, scope: asgi.Scope, headers: Mapping[bytes, bytes], receive: asgi.Receive
    ) -> tuple[int, bytes]:
        return 204, b""


def _precision(query: bytes) -> int:
    if b"precision" in query:
        for name, value in parse_qsl(query.decode("latin-1")):
            if name == "precision" and value not in NANOSECONDS:
                raise Refusal(
                    Reason.BAD_REQUEST, "The precision must be ns, us, ms, s, m or h (or n or u)."
                )
            if name == "precision":
                return NANOSECONDS[value]
    return 1


def _too_large() -> Refusal:
    return Refusal(Reason.BODY_TOO_LARGE, f"The query is longer than {MAX_QUERY:,} bytes.")
