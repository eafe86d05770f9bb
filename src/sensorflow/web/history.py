"""`GET /api/readings`: the stored readings, a page as JSON, or all as NDJSON or CSV."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
import structlog

from sensorflow.errors import Refusal, StorageUnavailable
from sensorflow.history.raw import PAGE, Cursor, Gap, History, Page
from sensorflow.metrics import Metrics
from sensorflow.readings import Reading
from sensorflow.web import asgi
from sensorflow.web.asked import Asked, Format, asked_of
from sensorflow.web.forms import MAX_COLUMNS, Encode, Form, Lines, Table, columns_of
from sensorflow.web.gate import Gate
from sensorflow.web.routes import away
from sensorflow.web.sinks import until_disconnect

SLICE: Final = 200
"""Readings encoded in one turn of the event loop: a millisecond or two."""

LOOKS: Final = 20
"""Pages read for one answer in JSON, in a few tenths of a second; then it ends, whatever it holds,
and `next` goes on."""

SEND_TIMEOUT: Final = 30.0
"""Seconds in which a client may take nothing of a stream; then it is cut off."""

CURSOR_HEADER: Final = b"sensorflow-cursor"
"""The response's header with the cursor that the stream began at."""

GAP_HEADER: Final = b"sensorflow-gap"

log = structlog.get_logger()


class Stream(NamedTuple):
    """What is to be sent when the first page is there."""

    form: Form
    first: Page
    rest: AsyncIterator[Page]
    limit: int | None


class HistoryEndpoint:
    """Gives stored readings to who may read."""

    def __init__(self, gate: Gate, history: History, encode: Encode, metrics: Metrics) -> None:
        self._gate = gate
        self._history = history
        self._encode = encode
        self._metrics = metrics

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        try:
            headers = dict(scope["headers"])
            self._gate.require_reader(scope, headers, url_key=False)
            asked = asked_of(scope["query_string"], headers, datetime.now(UTC))
            cursor = asked.cursor or await self._history.begin(asked.selection, asked.after)
            pages = self._history.pages(asked.selection, cursor, asked.page_size(PAGE))
            async with aclosing(pages):  # type: ignore[type-var]
                if asked.format is Format.JSON:
                    await self._answer(scope, send, asked, pages)
                else:
                    await self._stream(scope, receive, send, asked, cursor, pages)
        except Refusal as refusal:
            await asgi.refuse(scope, send, self._metrics, refusal)
        except StorageUnavailable as error:
            await asgi.refuse(scope, send, self._metrics, away(error))

    async def _answer(
        self, scope: asgi.Scope, send: asgi.Send, asked: Asked, pages: AsyncIterator[Page]
    ) -> None:
        """One page in JSON. It takes one reading more to see whether `next` is needed."""
        readings: list[Reading] = []
        gap: Gap | None = None
        looks = 0
        async for page in pages:
            readings += page.readings
            gap = gap or page.gap
            looks += 1
            if len(readings) > asked.json_limit or looks == LOOKS:
                break
        following = page.cursor if page.more else None
        if len(readings) > asked.json_limit:
            del readings[asked.json_limit :]
            following = page.cursor.behind(readings[-1])
        encoded = [line async for line in self._in_slices(readings)]
        told = {"next": following.text() if following is not None else None}
        rest = msgspec.json.encode(told if gap is None else {**told, "gap": gap._asdict()})
        body = b'{"readings":[%b],%b' % (b",".join(encoded), rest[1:])
        length = (b"content-length", b"%d" % len(body))
        kind = (b"content-type", b"application/json")
        await asgi.respond(scope, send, 200, [kind, length, _NO_STORE], body)

    async def _in_slices(self, readings: Sequence[Reading]) -> AsyncIterator[bytes]:
        for part in _parts(readings):
            for reading in part:
                yield self._encode(reading)
            await asyncio.sleep(0)

    async def _stream(
        self,
        scope: asgi.Scope,
        receive: asgi.Receive,
        send: asgi.Send,
        asked: Asked,
        cursor: Cursor,
        pages: AsyncIterator[Page],
    ) -> None:
        # Whatever can be refused is, before anything is sent.
        first = await anext(pages)
        form = await self._form(asked, first)
        headers = [
            (b"content-type", form.media_type),
            (b"content-disposition", _disposition(asked, form.suffix)),
            (CURSOR_HEADER, cursor.text().encode()),
            _NO_STORE,
        ]
        if first.gap is not None:
            headers.append((GAP_HEADER, msgspec.json.encode(first.gap._asdict())))
        scope[asgi.ANSWERED] = 200
        leaving = asyncio.create_task(until_disconnect(receive), name="history-receive")
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await _send(send, form.head())
            async for part in _bodies(Stream(form, first, pages, asked.limit)):
                await _send(send, part)
                await asyncio.sleep(0)
                if leaving.done():
                    return
            await _send(send, b"", more=False)
        except (StorageUnavailable, TimeoutError, _Overtaken) as error:
            # A response that ends without its end: the client sees that something is missing.
            log.warning("a stream of readings was cut off", reason=str(error) or "nothing is taken")
            if (cut := scope.get("extensions", {}).get(asgi.CUT)) is not None:
                cut["cut"]()
        finally:
            leaving.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await leaving

    async def _form(self, asked: Asked, first: Page) -> Form:
        if asked.format is Format.NDJSON:
            return Lines(self._encode)
        if asked.selection.measurements is not None:
            return Table(asked.selection.measurements, others=False)
        names = await self._history.names(asked.selection, MAX_COLUMNS)
        return Table(columns_of(names, first.readings), others=True)


class _Overtaken(Exception):
    """Readings were removed in the midst of a stream whose form cannot tell so."""


async def _bodies(stream: Stream) -> AsyncIterator[bytes]:
    """The stream in parts of a turn's work."""
    left = stream.limit
    page = stream.first
    while True:
        if page.gap is not None:
            told = stream.form.gap(page.gap)
            if told is not None:
                yield told
            elif page is not stream.first:
                raise _Overtaken("readings were removed before they were read")
        for part in _parts(page.readings if left is None else page.readings[:left]):
            yield stream.form.rows(part)
        if left is not None:
            left -= min(left, len(page.readings))
        if not page.more or left == 0:
            return
        try:
            page = await anext(stream.rest)
        except StopAsyncIteration:
            return


def _parts(readings: Sequence[Reading]) -> Iterator[Sequence[Reading]]:
    for start in range(0, len(readings), SLICE):
        yield readings[start : start + SLICE]


async def _send(send: asgi.Send, body: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(SEND_TIMEOUT):
        await send({"type": "http.response.body", "body": body, "more_body": more})


def _disposition(asked: Asked, suffix: str) -> bytes:
    """A file's name that says which sensor and which days it holds."""
    sensors = asked.selection.sensors
    named = _ODD.sub("_", sensors[0])[:64] if sensors and len(sensors) == 1 else "readings"
    start, end = asked.selection.range
    days = [day.date().isoformat() for day in (start, end or datetime.now(UTC)) if day is not None]
    name = "-".join(["sensorflow", named, *(day.replace("-", "") for day in days)])
    return f'attachment; filename="{name}.{suffix}"'.encode()


_ODD: Final = re.compile("[^A-Za-z0-9._-]+")
_NO_STORE: Final = (b"cache-control", b"no-store")
