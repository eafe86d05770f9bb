"""The description in /docs and /openapi.json of what FastAPI's router does not see."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from sensorflow.readings import MAX_MEASUREMENTS, MAX_SENSOR_ID_LENGTH
from sensorflow.web.admission import MAX_SENSORS
from sensorflow.web.edge import INGEST_PATH, STREAM_PATH
from sensorflow.web.problems import MEDIA_TYPE

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
to do.
"""

_NUMBER: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "number"},
        {
            "type": "string",
            "pattern": r"^[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*$",
        },
    ],
}

_READING: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["temperature", "humidity", "pressure", "sensor_id"],
    "properties": {
        "temperature": {**_NUMBER, "description": "°C. A number, or a number as a string."},
        "humidity": {**_NUMBER, "description": "Relative humidity, %."},
        "pressure": {**_NUMBER, "description": "hPa."},
        "sensor_id": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_SENSOR_ID_LENGTH,
            "description": "Who measured; no control characters.",
        },
        "recorded_at": {
            "type": "string",
            "format": "date-time",
            "description": "When it was measured, RFC 3339 with offset; left out, the server's "
            "time counts. Only a reading with the device's own time can be told from its retry.",
        },
    },
    "additionalProperties": {
        "description": "Further numeric fields are kept as measurements, up to "
        f"{MAX_MEASUREMENTS} in all, named `[A-Za-z_][A-Za-z0-9_.-]{{0,63}}`. Strings that are no "
        "number, booleans, null, objects and the receipt's own names are ignored.",
    },
    "example": {
        "temperature": 25.5,
        "humidity": 60.2,
        "pressure": 1012.5,
        "sensor_id": "sensor-01",
    },
}

_RECEIPT: Final[dict[str, Any]] = {
    "type": "object",
    "required": [
        "id",
        "sensor_id",
        "recorded_at",
        "received_at",
        "date_recorded",
        "time_recorded",
        "client_ip",
        "status",
    ],
    "properties": {
        "id": {
            "type": ["integer", "null"],
            "description": "The reading's place in the stream; a cursor. Null while it is spooled.",
        },
        "sensor_id": {"type": "string"},
        "recorded_at": {"type": "string", "format": "date-time"},
        "received_at": {"type": "string", "format": "date-time"},
        "date_recorded": {"type": "string", "description": "In the server's TIMEZONE."},
        "time_recorded": {"type": "string", "description": "In the server's TIMEZONE."},
        "client_ip": {"type": ["string", "null"]},
        "status": {"enum": ["stored", "spooled", "duplicate"]},
    },
    "additionalProperties": {"type": "number", "description": "A measurement."},
    "example": {
        "id": 1,
        "sensor_id": "sensor-01",
        "temperature": 25.5,
        "humidity": 60.2,
        "pressure": 1012.5,
        "recorded_at": "2026-01-31T12:00:00.123456Z",
        "received_at": "2026-01-31T12:00:00.123456Z",
        "date_recorded": "2026-01-31",
        "time_recorded": "12:00:00",
        "client_ip": "192.168.1.20",
        "status": "stored",
    },
}

_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "reason"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong and what to do."},
        "reason": {"type": "string", "description": "The refusal's stable name."},
        "field": {"type": "string", "description": "The field at fault, where there is one."},
    },
}

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


def _ref(name: str, media_type: str = "application/json") -> dict[str, Any]:
    return {"content": {media_type: {"schema": {"$ref": f"#/components/schemas/{name}"}}}}


def _ingest() -> dict[str, Any]:
    return {
        "tags": ["readings"],
        "summary": "Send one reading",
        "description": "Answered when the reading is safe on disk.",
        "operationId": "temperature_reading",
        "security": [{"ApiKey": []}, {"Bearer": []}, {"QueryKey": []}],
        "requestBody": {"required": True, **_ref("Reading")},
        "responses": {
            "201": {"description": "Stored.", **_ref("Receipt")},
            "202": {
                "description": "The database is away; safe on disk, and stored when it is back.",
                **_ref("Receipt"),
            },
            "200": {"description": "A duplicate; stored before.", **_ref("Receipt")},
            **{
                status: {"description": text, **_ref("Problem", MEDIA_TYPE)}
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
                "description": "The stream.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **{
                status: {"description": text, **_ref("Problem", MEDIA_TYPE)}
                for status, text in refusals.items()
            },
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
            Reading=_READING, Receipt=_RECEIPT, Problem=_PROBLEM
        )
        components["securitySchemes"] = {
            "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "Bearer": {"type": "http", "scheme": "bearer"},
            "QueryKey": {"type": "apiKey", "in": "query", "name": "api-key"},
        }
        document["paths"] = {
            INGEST_PATH: {"post": _ingest()},
            STREAM_PATH: {"get": _stream()},
            **document["paths"],
        }
        app.openapi_schema = document
    return app.openapi_schema
