"""`POST /api/readings`: one reading or many, as JSON or NDJSON, also compressed."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from sensorflow.errors import Reason, Refusal
from sensorflow.ingest import bodies, formats
from sensorflow.ingest.plain import (
    ENOUGH,
    Plain,
    plain_array,
    plain_columns,
    plain_lines,
    plain_reading,
    readings_of,
)
from sensorflow.ingest.receipts import Answer, Receipt, Status
from sensorflow.ingest.sensor_community import VALUES, Names, station_reading
from sensorflow.ingest.writer import Writer
from sensorflow.readings import Reading
from sensorflow.web import asgi
from sensorflow.web.ingest import JSON, STATUS, IngestRoute, default_sensor, media_type, read_body

NDJSON: Final = frozenset((b"application/x-ndjson", b"application/ndjson", b"application/jsonl"))

SUBMITTED: Final = 1_000
"""Readings of one request that are queued at once: others' batches come in between."""

_OF_THE_SERVER: Final = frozenset(
    (Reason.QUEUE_FULL, Reason.STORAGE_UNAVAILABLE, Reason.SHUTTING_DOWN)
)

T = TypeVar("T")

MAX_TOLD: Final = 100
"""Readings that a receipt names; the rest is counted."""


class ReadingsEndpoint(IngestRoute):
    """Valid readings are stored whatever their neighbours do."""

    async def answer(
        self, scope: asgi.Scope, headers: Mapping[bytes, bytes], receive: asgi.Receive
    ) -> tuple[int, bytes]:
        kind = media_type(headers)
        if kind != JSON and kind not in NDJSON:
            raise Refusal(
                Reason.WRONG_CONTENT_TYPE,
                "Readings must be JSON or NDJSON; send the header Content-Type: application/json "
                "or application/x-ndjson.",
            )
        sensor_id = default_sensor(scope["query_string"])
        body = await read_unpacked(headers, receive)
        now, client_ip = datetime.now(UTC), asgi.client_address(scope)
        as_lines = kind in NDJSON
        lines = bodies.ndjson_parts(body) if as_lines else ()
        plain = await bodies.in_slices(plain_lines, lines) if as_lines else plain_array(body)
        if plain and (not as_lines or len(plain) == len(lines)):
            requested = await _plain_parts(plain, now, client_ip, sensor_id)
            if requested:
                return self._told(await store_in_parts(self._writer, requested), 0)
        # Some have another form, or are to be refused: then each is looked at by itself.
        parts = lines if as_lines else bodies.json_parts(body)

        def read(part: bytes | msgspec.Raw) -> tuple[Reading, int]:
            fields = formats.decode_object(bytes(part))
            if VALUES in fields:
                names = Names(_text(headers, b"x-sensor"), _text(headers, b"x-mac-id"), sensor_id)
                return station_reading(fields, now, client_ip, names)
            return formats.reading_from_fields(fields, now, client_ip, sensor_id)

        ignoring: list[tuple[Reading, int]] = []

        def check(part: bytes | msgspec.Raw) -> Reading | Refusal:
            reading = plain_reading(part, now, client_ip, sensor_id)
            if reading is not None:
                return reading
            try:
                reading, ignored = read(part)
                if ignored:
                    ignoring.append((reading, ignored))
                return reading
            except Refusal as refusal:
                # An element that is no JSON is a fault of the whole array; a line is one by itself.
                if refusal.reason is Reason.NOT_JSON and not as_lines:
                    raise
                return refusal

        if parts is None:
            one = plain_reading(body, now, client_ip, sensor_id)
            return await self.store_one(*read(body) if one is None else (one, 0))
        if not parts:
            raise Refusal(Reason.WRONG_SHAPE, "The body holds no reading.")
        checked = await bodies.in_slices(partial(map, check), parts)
        return await self._store(checked, ignoring)

    async def _store(
        self, checked: Sequence[Reading | Refusal], ignoring: Sequence[tuple[Reading, int]]
    ) -> tuple[int, bytes]:
        """The response once all are safe or refused; of some, so many fields were ignored."""
        readings = [one for one in checked if isinstance(one, Reading)]
        answers = await store_in_parts(self._writer, in_parts(readings))
        ignored = 0
        if ignoring:
            safe = {id(r) for r, a in zip(readings, answers, strict=True) if isinstance(a, Receipt)}
            ignored = sum(fields for reading, fields in ignoring if id(reading) in safe)
            self._metrics.ignored_fields.inc(ignored)
        if len(readings) < len(checked):
            left = iter(answers)
            answers = [one if isinstance(one, Refusal) else next(left) for one in checked]
        return self._told(answers, ignored)

    def _told(self, answers: Sequence[Answer], ignored: int) -> tuple[int, bytes]:
        """Counts, and what became of those that were not simply stored."""
        receipts = [answer.status for answer in answers if isinstance(answer, Receipt)]
        counts = {status: receipts.count(status) for status in Status}
        refusals = [answer for answer in answers if isinstance(answer, Refusal)]
        conflicts = sum(refusal.reason is Reason.CONFLICT for refusal in refusals)
        told = []
        if refusals or counts[Status.DUPLICATE]:
            told = [
                _told_of(n, answer)
                for n, answer in enumerate(answers)
                if isinstance(answer, Refusal) or answer.status is Status.DUPLICATE
            ]
        summary = {
            **{status.value: count for status, count in counts.items()},
            "conflict": conflicts,
            "refused": len(refusals) - conflicts,
            "ignored_fields": ignored,
            "readings": told[:MAX_TOLD],
            "readings_not_shown": max(0, len(told) - MAX_TOLD),
        }
        for status in (Status.STORED, Status.SPOOLED, Status.DUPLICATE):
            if counts[status]:
                self._count(refusals)
                return STATUS[status], msgspec.json.encode(summary)
        first = refusals[0]
        if {refusal.reason for refusal in refusals} <= _OF_THE_SERVER:
            self._count(refusals[1:])
            raise Refusal(first.reason, first.detail, retry_after=first.retry_after, told=summary)
        self._count(refusals)
        raise Refusal(
            Reason.NOTHING_TAKEN,
            f"None of the {len(refusals)} readings was taken; `readings` says why.",
            told=summary,
        )

    def _count(self, refusals: Sequence[Refusal]) -> None:
        for refusal in refusals:
            self._metrics.refused(refusal.reason, sensor_id=refusal.sensor_id)


async def read_unpacked(headers: Mapping[bytes, bytes], receive: asgi.Receive) -> bytes:
    """The whole body, which may be gzip. Raises a `Refusal` for what is too large or none."""
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b"gzip"):
        raise Refusal(Reason.WRONG_CONTENT_ENCODING, "The body may be compressed with gzip only.")
    body = await read_body(headers, receive, bodies.MAX_UNPACKED, bodies.too_large)
    return await bodies.unpacked(body) if encoding == b"gzip" else body


async def _plain_parts(
    plain: Sequence[Plain], received_at: datetime, client_ip: str | None, sensor_id: str | None
) -> list[Sequence[Reading]]:
    """What is submitted of a request, part by part; nothing where any reading is to be refused."""

    def made(decoded: Iterable[Plain]) -> list[Reading]:
        return readings_of(decoded, received_at, client_ip, sensor_id)

    parts: list[Sequence[Reading]] = []
    for decoded in in_parts(plain):
        columns = None
        if len(decoded) >= ENOUGH:
            columns = plain_columns(decoded, received_at, client_ip, sensor_id)
            await asyncio.sleep(0)
        parts.append(await bodies.in_slices(made, decoded) if columns is None else columns)
        if len(parts[-1]) < len(decoded):
            return []
    return parts


def in_parts(items: Sequence[T]) -> list[Sequence[T]]:
    """All of them, `SUBMITTED` together."""
    return [items[start : start + SUBMITTED] for start in range(0, len(items), SUBMITTED)]


async def store_in_parts(writer: Writer, parts: Iterable[Sequence[Reading]]) -> list[Answer]:
    """Have one request's readings committed, a part of them after another."""
    answers: list[Answer] = []
    for part in parts:
        try:
            answers += await writer.submit(part)
        except Refusal as refusal:
            # What was stored before stays stored, so each of the others is told.
            answers += [refusal] * len(part)
    return answers


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    """A header's value; None where it is empty or absent."""
    return headers.get(name, b"").decode("latin-1") or None


def _told_of(index: int, answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Receipt):
        return {"index": index, "reason": answer.status.value}
    told: dict[str, Any] = {"index": index, "reason": answer.reason.value, "detail": answer.detail}
    return told if answer.field is None else {**told, "field": answer.field}
