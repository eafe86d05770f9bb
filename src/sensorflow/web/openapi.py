"""The description in /docs and /openapi.json of what FastAPI's router does not see."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from sensorflow.ingest.bodies import MAX_READINGS, MAX_UNPACKED
from sensorflow.readings import MAX_SENSOR_ID_LENGTH
from sensorflow.web.admission import MAX_SENSORS
from sensorflow.web.edge import (
    INFLUX_1_PATH,
    INFLUX_2_PATH,
    INFLUX_PING_PATH,
    INFLUX_QUERY_PATH,
    INGEST_PATH,
    READINGS_PATH,
    STREAM_PATH,
)
from sensorflow.web.openapi_history import history_route
from sensorflow.web.openapi_influx import SECURITY_SCHEMES, ping_route, query_route, write_route
from sensorflow.web.problems import MEDIA_TYPE
from sensorflow.web.schemas import (
    COUNTS,
    INFLUX_1_ERROR,
    INFLUX_2_ERROR,
    PROBLEM,
    READING,
    RECEIPT,
    STATION,
    STORED_READINGS,
    ref,
)

DESCRIPTION: Final = """\
Devices POST readings; each is committed to disk before it is acknowledged, and appears at once on
every live subscriber.

**Keys.** `API_KEY` sends readings, `API_KEY_WS` reads, `ADMIN_KEY` changes. Send one as the
`X-API-Key` header, as `Authorization: Bearer`, or, where the route says so, as `?api-key=`.

**Live stream.** `GET /ws/sensor_updates?api-key=…` is a WebSocket: every committed reading is one
text frame, the receipt below without `status`; the newest reading comes first, or with `&since=ID`
everything after that cursor; `&sensor_id=` filters. While the database is away spooled readings
come as provisional frames, `id` null with `status`, and again with their id once they are stored.
It closes with 1008 (wrong key, too many connections, a cursor or filter that cannot be), 1012
(server restarts) or 1013 (subscriber takes nothing). `GET /api/stream` is the same as server-sent
events.

**Errors** are `application/problem+json` (RFC 9457); `reason` names the refusal, `detail` says what
to do. On the routes of Influx's clients they have Influx's form.
"""

_REFUSALS: Final = {
    "400": "The body is not JSON.",
    "401": "The key is missing or wrong.",
    "403": "The key is known, but not for sending readings.",
    "405": "Readings are sent with POST.",
    "408": "The request did not arrive in time.",
    "409": "The sensor said something else of the same moment before; the first value stays.",
    "413": "The body is too large.",
    "415": "The body's content type or encoding is not JSON.",
    "422": "A field is missing or cannot be right.",
    "429": "Too many wrong keys came from this address.",
    "503": "The reading could not be stored now; send it again after Retry-After seconds.",
}


def _ingest() -> dict[str, Any]:
    return {
        "tags": ["readings"],
        "summary": "Send one reading",
        "description": "Answered when the reading is safe on disk.",
        "operationId": "temperature_reading",
        "security": [{"ApiKey": []}, {"Bearer": []}, {"QueryKey": []}],
        "parameters": [_SENSOR_IN_ADDRESS],
        "requestBody": {"required": True, **ref("Reading")},
        "responses": {
            "201": {"description": "Stored.", **ref("Receipt")},
            "202": {
                "description": "The database is away; safe on disk, and stored when it is back.",
                **ref("Receipt"),
            },
            "200": {"description": "A duplicate; stored before.", **ref("Receipt")},
            **{
                status: {"description": text, **ref("Problem", MEDIA_TYPE)}
                for status, text in _REFUSALS.items()
            },
        },
    }


_SENSOR_IN_ADDRESS: Final[dict[str, Any]] = {
    "name": "sensor_id",
    "in": "query",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_SENSOR_ID_LENGTH},
    "description": "Counts for readings that name no sensor.",
}


def _readings() -> dict[str, Any]:
    one = {"$ref": "#/components/schemas/AnyReading"}
    receipt = {
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/Receipt"},
                        {"$ref": "#/components/schemas/Counts"},
                    ]
                }
            }
        }
    }
    return {
        "tags": ["readings"],
        "summary": "Send one reading or many",
        "description": f"Up to {MAX_READINGS:,} readings in {MAX_UNPACKED // 2**20} MiB, which "
        "may be compressed with gzip. One object is answered with its receipt, an array or lines "
        "with counts; the status is the best that happened. The message of a Sensor.Community "
        "station is one reading.",
        "operationId": "readings",
        "security": [{"ApiKey": []}, {"Bearer": []}, {"QueryKey": []}],
        "parameters": [
            _SENSOR_IN_ADDRESS,
            {
                "name": "X-Sensor",
                "in": "header",
                "schema": {"type": "string"},
                "description": "Who sends `sensordatavalues`.",
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "anyOf": [
                            one,
                            {"type": "array", "minItems": 1, "items": one},
                            {"$ref": "#/components/schemas/Station"},
                        ],
                    }
                },
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            "201": {"description": "Any was stored.", **receipt},
            "202": {"description": "Any is safe in the spool, and none was stored.", **receipt},
            "200": {"description": "All that were taken are duplicates.", **receipt},
            **{
                status: {"description": text, **ref("Problem", MEDIA_TYPE)}
                for status, text in _REFUSALS.items()
            },
        },
    }


def _stream() -> dict[str, Any]:
    refusals = {
        "401": "The key is missing or wrong.",
        "403": "The key is known, but not for reading; or a session of another origin.",
        "422": "The cursor or a sensor_id cannot be right.",
        "429": "Too many wrong keys came from this address, or the key has too many connections.",
    }
    cursor = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
    return {
        "tags": ["readings"],
        "summary": "Watch the live stream as server-sent events",
        "description": "Each event's data is a receipt without `status`, its id the cursor. The "
        "newest reading comes first. Ends only with the connection.",
        "operationId": "stream",
        "security": [{"ApiKey": []}, {"Bearer": []}, {"QueryKey": []}],
        "parameters": [
            {
                "name": "since",
                "in": "query",
                "schema": cursor,
                "description": "In place of the newest reading, everything after this id.",
            },
            {
                "name": "sensor_id",
                "in": "query",
                "schema": {
                    "type": "array",
                    "maxItems": MAX_SENSORS,
                    "items": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": MAX_SENSOR_ID_LENGTH,
                    },
                },
                "description": "Only these sensors.",
            },
            {
                "name": "Last-Event-ID",
                "in": "header",
                "schema": cursor,
                "description": "As `since`, and wins over it; sent by browsers that reconnect.",
            },
        ],
        "responses": {
            "200": {
                "description": "The stream; the schema is that of an event.",
                "content": {"text/event-stream": {"schema": _EVENT}},
            },
            **{
                status: {"description": text, **ref("Problem", MEDIA_TYPE)}
                for status, text in refusals.items()
            },
        },
    }


_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "The cursor, from which to go on."},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole OpenAPI document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=DESCRIPTION,
            routes=app.routes,
        )
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(
            Reading=READING,
            AnyReading={**READING, "required": [], "minProperties": 1},
            Receipt=RECEIPT,
            Counts=COUNTS,
            StoredReadings=STORED_READINGS,
            Station=STATION,
            Influx1Error=INFLUX_1_ERROR,
            Influx2Error=INFLUX_2_ERROR,
            Problem=PROBLEM,
        )
        components["securitySchemes"] = {
            "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "Bearer": {"type": "http", "scheme": "bearer"},
            "QueryKey": {"type": "apiKey", "in": "query", "name": "api-key"},
            **SECURITY_SCHEMES,
        }
        document["paths"] = {
            INGEST_PATH: {"post": _ingest()},
            READINGS_PATH: {"get": history_route(), "post": _readings()},
            INFLUX_1_PATH: {"post": write_route(1, _SENSOR_IN_ADDRESS)},
            INFLUX_2_PATH: {"post": write_route(2, _SENSOR_IN_ADDRESS)},
            INFLUX_QUERY_PATH: {method: query_route(method) for method in ("get", "post")},
            INFLUX_PING_PATH: {method: ping_route(method) for method in ("get", "head")},
            STREAM_PATH: {"get": _stream()},
            **document["paths"],
        }
        app.openapi_schema = document
    return app.openapi_schema
