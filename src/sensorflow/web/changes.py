"""`PATCH` and `DELETE /api/sensors/{sensor_id}`: what the admin key changes of sensors."""

import asyncio
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Final, Protocol

import msgspec
from fastapi import Depends, FastAPI, Query, Request, Response
from msgspec.structs import replace
from pydantic import BaseModel

from sensorflow.errors import Reason, Refusal
from sensorflow.ingest.formats import check_name, decode_object, shown
from sensorflow.keys.keyring import Scope
from sensorflow.readings import check_sensor_id
from sensorflow.sensors import Change, Description, Details, Removed
from sensorflow.web.gate import Gate
from sensorflow.web.ingest import Disconnected, media_type, read_body
from sensorflow.web.routes import asked
from sensorflow.web.schemas import KEY_IN_HEADER, refusals
from sensorflow.web.sensors import KnowsSensors, unknown

STEP: Final = 2_000
"""Readings that are removed in one transaction: some 20 ms, for which a batch may wait."""

PAUSE: Final = 0.01
"""Seconds between two such steps, for everybody else."""

MAX_BODY: Final = 65_536
"""Bytes of a change."""

MAX_NAME: Final = 200
"""Characters of a sensor's name, and of its location."""

MAX_UNIT: Final = 32
"""Characters of a unit."""

MAX_LABEL: Final = 100
"""Characters of a measurement's label."""

MAX_DESCRIBED: Final = 200
"""Measurements of a sensor that have a unit or a label."""

NOTHING: Final = Description()
_JSON: Final = frozenset((b"application/json", b"application/merge-patch+json"))


class ManagesSensors(KnowsSensors, Protocol):
    """The storage, as all routes of sensors need it; `storage.base.Storage` states the promise."""

    async def describe(self, sensor_id: str, change: Change) -> bool: ...

    async def remove_some(self, sensor_id: str, limit: int) -> Removed | None: ...


class SensorRemoved(BaseModel):
    """What was removed."""

    sensor_id: str
    readings: int


def _schema_of(longest: int) -> dict[str, Any]:
    return {"type": ["string", "null"], "minLength": 1, "maxLength": longest}


_PATCH: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A JSON merge patch (RFC 7396): what is left out stays, null clears it.",
    "additionalProperties": False,
    "properties": {
        "name": _schema_of(MAX_NAME),
        "location": _schema_of(MAX_NAME),
        "measurements": {
            "type": ["object", "null"],
            "maxProperties": MAX_DESCRIBED,
            "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_.-]{0,63}$"},
            "additionalProperties": {
                "type": ["object", "null"],
                "additionalProperties": False,
                "properties": {"unit": _schema_of(MAX_UNIT), "label": _schema_of(MAX_LABEL)},
            },
        },
    },
}


def add_changes(app: FastAPI, gate: Gate, storage: ManagesSensors) -> None:
    """Add the route, for who may change."""

    async def require_admin(request: Request) -> None:
        gate.require(request.scope, Scope.ADMIN, dict(request.scope["headers"]), url_key=False)

    @app.patch(
        "/api/sensors/{sensor_id:path}",
        tags=["sensors"],
        summary="Say what a sensor is called, where it is, and what it measures",
        status_code=204,
        dependencies=[Depends(require_admin)],
        responses=refusals("400", "404", "408", "413", "415", "422", "503"),
        openapi_extra={
            "security": KEY_IN_HEADER,
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _PATCH}},
            },
        },
    )
    async def patch(sensor_id: str, request: Request) -> Response:
        check_sensor_id(sensor_id)
        headers = dict(request.scope["headers"])
        if media_type(headers) not in _JSON:
            raise Refusal(
                Reason.WRONG_CONTENT_TYPE,
                "A change must be JSON; send the header Content-Type: application/json.",
            )
        try:
            body = await read_body(headers, request.receive, MAX_BODY, _too_large)
        except Disconnected:
            return Response(status_code=400)  # there is nobody to read it
        change = change_of(decode_object(body))
        if not await asked(storage.describe(sensor_id, change)):
            raise unknown()
        return Response(status_code=204)

    @app.delete(
        "/api/sensors/{sensor_id:path}",
        tags=["sensors"],
        summary="Remove a sensor with all its readings",
        description="Goes on though the client leaves. What a stop of the server leaves is removed "
        "when it is asked for again.",
        response_model=SensorRemoved,
        dependencies=[Depends(require_admin)],
        responses=refusals("404", "422", "503"),
        openapi_extra={"security": KEY_IN_HEADER},
    )
    async def delete(
        sensor_id: str,
        confirm: Annotated[str, Query(description="The sensor_id once more.")] = "",
    ) -> Response:
        if confirm != check_sensor_id(sensor_id):
            raise Refusal(
                Reason.NOT_CONFIRMED,
                "This removes the sensor with all its readings; send ?confirm= with its sensor_id.",
                field="confirm",
            )
        readings = 0
        removed = await asked(storage.remove_some(sensor_id, STEP))
        if removed is None:
            raise unknown()
        while removed is not None:
            readings += removed.readings
            if removed.done:
                break
            await asyncio.sleep(PAUSE)
            removed = await asked(storage.remove_some(sensor_id, STEP))
        told = {"sensor_id": sensor_id, "readings": readings}
        return Response(msgspec.json.encode(told), media_type="application/json")


def _too_large() -> Refusal:
    return Refusal(Reason.BODY_TOO_LARGE, f"A change has at most {MAX_BODY:,} bytes.")


def change_of(patch: Mapping[str, object]) -> Change:
    """What the patch makes of details. Raises a `Refusal` for one that cannot be right."""
    texts = _texts(patch, {"name": MAX_NAME, "location": MAX_NAME}, "", "measurements")
    described = _described(patch.get("measurements", {}))

    def change(details: Details) -> Details:
        measurements = {} if described is None else dict(details.measurements)
        for name, told in (described or {}).items():
            known = measurements.pop(name, NOTHING)
            new = NOTHING if told is None else replace(known, **told)
            if new != NOTHING:
                measurements[name] = new
        if len(measurements) > MAX_DESCRIBED:
            raise Refusal(
                Reason.BAD_DESCRIPTION,
                f"{len(measurements)} measurements would be described; {MAX_DESCRIBED} may be.",
                field="measurements",
            )
        return replace(details, **texts, measurements=measurements)

    return change


def _described(given: object) -> dict[str, dict[str, str | None] | None] | None:
    """What is said of each measurement; None where nothing is to be left."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise _not_an_object("measurements")
    found: dict[str, dict[str, str | None] | None] = {}
    for name, told in given.items():
        check_name(name)
        if told is None:
            found[name] = None
        elif isinstance(told, dict):
            found[name] = _texts(told, {"unit": MAX_UNIT, "label": MAX_LABEL}, f"{name}.")
        else:
            raise _not_an_object(name)
    return found


def _texts(
    given: Mapping[str, object], longest: Mapping[str, int], of: str, *others: str
) -> dict[str, str | None]:
    """The members that are texts; nothing else may be there but `others`."""
    found: dict[str, str | None] = {}
    for name, value in given.items():
        if name in others:
            continue
        field = of + name
        if name not in longest:
            raise Refusal(
                Reason.BAD_DESCRIPTION,
                f"{shown(field)} cannot be said; there are {', '.join([*longest, *others])}.",
                field=field[:128],
            )
        if value is not None and not (
            isinstance(value, str) and 1 <= len(value) <= longest[name] and _is_plain(value)
        ):
            raise Refusal(
                Reason.BAD_DESCRIPTION,
                f"{field} must be null, or a string of 1 to {longest[name]} characters, none of "
                "them a control character.",
                field=field,
            )
        found[name] = value
    return found


def _is_plain(text: str) -> bool:
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def _not_an_object(field: str) -> Refusal:
    return Refusal(Reason.BAD_DESCRIPTION, f"{field} must be a JSON object, or null.", field=field)
