"""`GET /api/series`: what readings come to in buckets of time, for charts."""

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Annotated, Final

import msgspec
from fastapi import Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel, Field

from sensorflow.disk import Tier
from sensorflow.errors import Reason, Refusal
from sensorflow.history.buckets import Bucket, parse_bucket
from sensorflow.history.ranges import parse_range
from sensorflow.history.series import MAX_POINTS, Answer, Question, SeriesReader
from sensorflow.ingest.formats import check_name
from sensorflow.readings import MAX_MEASUREMENTS, check_sensor_id
from sensorflow.web.admission import MAX_SENSORS
from sensorflow.web.gate import Gate
from sensorflow.web.routes import asked, reader
from sensorflow.web.schemas import KEY_IN_HEADER, refusals

LEAST_POINTS: Final = 10

POINTS: Final = 500

SPAN: Final = timedelta(days=1)
"""Of a range that has no start."""


class OneSeries(BaseModel):
    """A measurement of a sensor, bucket by bucket; null where a bucket holds nothing."""

    sensor_id: str
    measurement: str
    average: list[float | None]
    minimum: list[float | None]
    maximum: list[float | None]
    count: list[int]


class SeriesAnswer(BaseModel):
    """Series over the same whole buckets."""

    start: datetime = Field(description="When the first bucket begins.")
    end: datetime = Field(description="When the last bucket ends.")
    bucket: str = Field(description="How long they are, such as 5m.")
    timezone: str = Field(description="In which days, weeks and months begin.")
    tier: Tier = Field(description="The finest that was read.")
    at: list[int] = Field(description="When each bucket begins, in Unix milliseconds.")
    series: list[OneSeries]


def add_series(app: FastAPI, gate: Gate, series_reader: SeriesReader) -> None:
    """Add the route, for who may read."""

    @app.get(
        "/api/series",
        tags=["history"],
        summary="Average, minimum, maximum and count in buckets of time",
        response_model=SeriesAnswer,
        dependencies=[Depends(reader(gate))],
        responses=refusals("400", "422", "503")
        | {"304": {"description": "As `If-None-Match` says, nothing has changed."}},
        openapi_extra={"security": KEY_IN_HEADER},
    )
    async def series(
        request: Request,
        sensor_id: Annotated[list[str], Query(min_length=1, max_length=MAX_SENSORS)],
        measurement: Annotated[
            list[str] | None,
            Query(max_length=MAX_MEASUREMENTS, description="None: all of these sensors."),
        ] = None,
        start: Annotated[
            str | None,
            Query(
                max_length=64, description="A time, or how long ago, such as -7d; left out: -1d."
            ),
        ] = None,
        end: Annotated[
            str | None, Query(max_length=64, description="The same; left out: now.")
        ] = None,
        points: Annotated[
            int | None,
            Query(ge=LEAST_POINTS, le=MAX_POINTS, description=f"At most so many; {POINTS}."),
        ] = None,
        bucket: Annotated[
            str | None, Query(max_length=8, description="10s, 5m, 1h, 1d, 1w, 1M …")
        ] = None,
    ) -> Response:
        now = datetime.now(UTC)
        given = parse_range(start, end or "now", now)
        until = given.end or now
        question = Question(
            [check_sensor_id(name) for name in dict.fromkeys(sensor_id)],
            [check_name(name) for name in dict.fromkeys(measurement or ())],
            given.start or until - SPAN,
            until,
            _bucket(bucket, points),
        )
        answer = await asked(series_reader.read(question, now))
        return _respond(request, answer, now)


def _bucket(bucket: str | None, points: int | None) -> Bucket | int:
    if bucket is None:
        return points or POINTS
    if points is not None:
        raise Refusal(
            Reason.BAD_BUCKET,
            "Send points, and the server picks the bucket; or send bucket; not both.",
            field="bucket",
        )
    return parse_bucket(bucket)


def _respond(request: Request, answer: Answer, now: datetime) -> Response:
    """A range that is over may be kept, but has to be asked for again: readings come late."""
    body = msgspec.json.encode(answer)
    if answer.end > now:
        return Response(body, media_type="application/json", headers={"cache-control": "no-store"})
    tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    known = request.headers.get("if-none-match", "")
    # A proxy that compresses makes the tag a weak one.
    if tag in (item.strip().removeprefix("W/") for item in known.split(",")) or known == "*":
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
