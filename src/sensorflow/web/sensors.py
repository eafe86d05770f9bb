"""`GET /api/sensors` and `GET /api/sensors/{sensor_id}`: what is known of sensors."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Protocol

import msgspec
from fastapi import Depends, FastAPI, Query, Response
from pydantic import BaseModel, Field

from sensorflow.errors import Reason, Refusal
from sensorflow.readings import MAX_SENSOR_ID_LENGTH, check_sensor_id
from sensorflow.sensors import DUPLICATE, SPOOLED, Place, Sensor
from sensorflow.web.gate import Gate
from sensorflow.web.routes import asked, reader
from sensorflow.web.schemas import KEY_IN_HEADER, refusals

MAX_LISTED: Final = 1_000
"""Sensors of one answer."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NOT_REFUSED: Final = frozenset((DUPLICATE, SPOOLED, Reason.CONFLICT.value))
_PLACE: Final = re.compile(r"([0-9]{1,17})-([0-9]{1,18})")


class KnowsSensors(Protocol):
    """The storage, as these routes need it; `storage.base.Storage` states the promise."""

    async def sensor(self, sensor_id: str) -> Sensor | None: ...

    async def sensors(self, limit: int, after: Place | None, containing: str) -> list[Sensor]: ...


class LatestValue(BaseModel):
    """The value with the newest `recorded_at`."""

    value: float
    recorded_at: datetime


class Described(BaseModel):
    """What people say of a measurement."""

    unit: str | None
    label: str | None


class Ledger(BaseModel):
    """What became of the readings that were sent: received = stored + duplicate + conflict +
    all that were refused. What waits in the spool counts once it has left it.
    """

    received: int
    stored: int
    duplicate: int
    conflict: int
    refused: dict[str, int] = Field(description="By the refusal's reason.")
    spooled: int = Field(description="How many of those received came through the spool.")


class SensorInfo(BaseModel):
    """A sensor, as of about a second ago."""

    sensor_id: str
    first_seen: datetime
    last_seen: datetime | None = Field(
        description="When its last stored reading was received; null where none is."
    )
    last_id: int | None = Field(description="The id of its last stored reading.")
    latest: dict[str, LatestValue] = Field(description="By measurement.")
    name: str | None = Field(description="What people call it.")
    location: str | None = Field(description="Where it is.")
    measurements: dict[str, Described] = Field(description="What people say of measurements.")
    counts: Ledger


class SensorList(BaseModel):
    """Sensors, last heard first."""

    sensors: list[SensorInfo]
    next: str | None = Field(description="To be sent as `after` for those that follow.")


def add_sensors(app: FastAPI, gate: Gate, storage: KnowsSensors) -> None:
    """Add both routes, for who may read."""

    @app.get(
        "/api/sensors",
        tags=["sensors"],
        summary="All sensors, last heard first",
        response_model=SensorList,
        dependencies=[Depends(reader(gate))],
        responses=refusals("400", "422", "503"),
        openapi_extra={"security": KEY_IN_HEADER},
    )
    async def sensors(
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100,
        after: Annotated[
            str | None, Query(max_length=64, description="`next` of the page before.")
        ] = None,
        q: Annotated[
            str,
            Query(
                max_length=MAX_SENSOR_ID_LENGTH,
                description="A part of the sensor_id or of the name.",
            ),
        ] = "",
    ) -> Response:
        if q:
            check_sensor_id(q)
        place = None if after is None else _place(after)
        found = await asked(storage.sensors(limit + 1, place, q))
        page = found[:limit]
        told = {
            "sensors": [_told(sensor) for sensor in page],
            "next": _cursor(page[-1].place) if len(found) > limit else None,
        }
        return Response(msgspec.json.encode(told), media_type="application/json")

    @app.get(
        "/api/sensors/{sensor_id:path}",
        tags=["sensors"],
        summary="One sensor",
        response_model=SensorInfo,
        dependencies=[Depends(reader(gate))],
        responses=refusals("404", "422", "503"),
        openapi_extra={"security": KEY_IN_HEADER},
    )
    async def sensor(sensor_id: str) -> Response:
        found = await asked(storage.sensor(check_sensor_id(sensor_id)))
        if found is None:
            raise unknown()
        return Response(msgspec.json.encode(_told(found)), media_type="application/json")


def unknown() -> Refusal:
    """What is said of a sensor that there is not."""
    return Refusal(
        Reason.SENSOR_UNKNOWN, "No sensor of this sensor_id was heard.", field="sensor_id"
    )


def _told(sensor: Sensor) -> dict[str, Any]:
    state = sensor.state
    stored = state.stored if state else 0
    outcomes = sensor.outcomes
    return {
        "sensor_id": sensor.sensor_id,
        "first_seen": sensor.first_seen,
        "last_seen": state.last_seen if state else None,
        "last_id": state.last_id if state else None,
        "latest": state.latest if state else {},
        "name": sensor.details.name,
        "location": sensor.details.location,
        "measurements": sensor.details.measurements,
        "counts": {
            "received": stored + sum(outcomes.values()) - outcomes.get(SPOOLED, 0),
            "stored": stored,
            "duplicate": outcomes.get(DUPLICATE, 0),
            "conflict": outcomes.get(Reason.CONFLICT.value, 0),
            "refused": {
                name: number for name, number in outcomes.items() if name not in _NOT_REFUSED
            },
            "spooled": outcomes.get(SPOOLED, 0),
        },
    }


def _cursor(place: Place) -> str:
    heard, number = place
    count = (heard - _EPOCH) // _MICROSECOND
    return urlsafe_b64encode(f"{count}-{number}".encode()).decode().rstrip("=")


def _place(cursor: str) -> Place:
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        if (found := _PLACE.fullmatch(text)) is not None:
            return _EPOCH + int(found[1]) * _MICROSECOND, int(found[2])
    except (Error, ValueError, OverflowError):
        pass
    raise Refusal(
        Reason.BAD_CURSOR, "after must be `next` of the page before, unchanged.", field="after"
    )
