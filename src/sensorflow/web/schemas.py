"""The schemas of /openapi.json: a reading, and what comes back."""

from typing import Any, Final

from sensorflow.readings import MAX_MEASUREMENTS, MAX_SENSOR_ID_LENGTH
from sensorflow.web.problems import MEDIA_TYPE
from sensorflow.web.readings import MAX_TOLD

_NUMERIC: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": r"^[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*$",
}
_NUMBER: Final[dict[str, Any]] = {"anyOf": [{"type": "number"}, _NUMERIC]}

READING: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["temperature", "humidity", "pressure"],
    "properties": {
        "temperature": {**_NUMBER, "description": "°C. A number, or a number as a string."},
        "humidity": {**_NUMBER, "description": "Relative humidity, %."},
        "pressure": {**_NUMBER, "description": "hPa."},
        "sensor_id": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_SENSOR_ID_LENGTH,
            "description": "Who measured; no control characters. Needed if the address has none.",
        },
        "recorded_at": {
            "type": "string",
            "format": "date-time",
            "description": "When it was measured, RFC 3339 with offset (or Unix time); left out, "
            "the server's time counts. Only a reading with the device's own time can be told from "
            "its retry.",
        },
        "age_ms": {
            "anyOf": [{"type": "number", "minimum": 0}, _NUMERIC],
            "description": "Milliseconds since it was measured, for devices without a clock.",
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

RECEIPT: Final[dict[str, Any]] = {
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

PROBLEM: Final[dict[str, Any]] = {
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

COUNTS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        name: {"type": "integer"}
        for name in (
            *("stored", "spooled", "duplicate", "conflict", "refused"),
            *("ignored_fields", "readings_not_shown"),
        )
    }
    | {
        "readings": {
            "type": "array",
            "maxItems": MAX_TOLD,
            "description": "Those that were not simply stored, by their place in the request.",
            "items": {
                "type": "object",
                "required": ["index", "reason"],
                "properties": {
                    "index": {"type": "integer"},
                    "reason": {"type": "string"},
                    "detail": {"type": "string"},
                    "field": {"type": "string"},
                },
            },
        },
    },
}


STORED_READINGS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["readings", "next"],
    "properties": {
        "readings": {
            "type": "array",
            "items": {
                **RECEIPT,
                "required": [name for name in RECEIPT["required"] if name != "status"],
                "properties": {n: s for n, s in RECEIPT["properties"].items() if n != "status"},
                "example": {n: v for n, v in RECEIPT["example"].items() if n != "status"},
            },
        },
        "next": {
            "type": ["string", "null"],
            "description": "To be sent as `cursor` for those that follow; null where none do.",
        },
        "gap": {
            "type": "object",
            "description": "Readings after `after` up to before `oldest` were removed.",
            "required": ["after", "oldest"],
            "properties": {"after": {"type": "integer"}, "oldest": {"type": "integer"}},
        },
    },
}

STATION: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["sensordatavalues"],
    "properties": {
        "esp8266id": {
            "type": ["string", "integer"],
            "description": "Who sends, where no header says so.",
        },
        "sensordatavalues": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_MEASUREMENTS,
            "items": {
                "type": "object",
                "required": ["value_type", "value"],
                "properties": {"value_type": {"type": "string"}, "value": _NUMBER},
            },
        },
    },
    "example": {
        "esp8266id": "12345",
        "software_version": "NRZ-2020-133",
        "sensordatavalues": [
            {"value_type": "SDS_P1", "value": "12.30"},
            {"value_type": "BME280_temperature", "value": "21.50"},
            {"value_type": "BME280_pressure", "value": "101325.00"},
        ],
    },
}

INFLUX_1_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string", "description": "What is wrong and what to do."}},
}

INFLUX_2_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string", "description": "What is wrong and what to do."},
    },
}


def ref(name: str, media_type: str = "application/json") -> dict[str, Any]:
    """A body that is one of the schemas."""
    return {"content": {media_type: {"schema": {"$ref": f"#/components/schemas/{name}"}}}}


KEY_IN_HEADER: Final[list[dict[str, list[str]]]] = [{"ApiKey": []}, {"Bearer": []}]
"""The `security` of a route that takes no key from the address."""

_REFUSALS: Final = {
    "400": "A parameter is no number, or out of bounds; or the body is not JSON.",
    "401": "The key is missing or wrong.",
    "403": "The key is known, but not for this; or a session of another origin.",
    "404": "No such sensor was heard.",
    "408": "The request did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body's content type is not JSON.",
    "422": "A parameter cannot be right.",
    "429": "Too many wrong keys came from this address.",
    "503": "The database is away; ask again after Retry-After seconds.",
}


def refusals(*statuses: str) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route that needs a key, with these beside those of the key."""
    return {
        status: {"description": text, **ref("Problem", MEDIA_TYPE)}
        for status, text in _REFUSALS.items()
        if status in ("401", "403", "429", *statuses)
    }
