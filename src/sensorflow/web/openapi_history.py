"""The description of `GET /api/readings`."""

from typing import Any, Final

from sensorflow.readings import MAX_MEASUREMENTS, MAX_SENSOR_ID_LENGTH
from sensorflow.web.admission import MAX_SENSORS
from sensorflow.web.asked import JSON_LIMIT, MAX_JSON
from sensorflow.web.schemas import KEY_IN_HEADER, ref, refusals

_MOMENT: Final = (
    "RFC 3339 with offset, Unix time in s, ms, µs or ns, `now`, or how long ago, such as `-24h` "
    "(s, m, h, d, w, y)."
)


def _many(name: str, most: int, longest: int, description: str) -> dict[str, Any]:
    text = {"type": "string", "minLength": 1, "maxLength": longest}
    return {
        "name": name,
        "in": "query",
        "schema": {"type": "array", "maxItems": most, "items": text},
        "description": description,
    }


def _one(name: str, description: str, **schema: object) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "schema": schema or {"type": "string"},
        "description": description,
    }


def history_route() -> dict[str, Any]:
    """The operation."""
    text = {"schema": {"type": "string"}}
    return {
        "tags": ["history"],
        "summary": "Stored readings, newest first, or in the order of the stream",
        "description": "Newest first by `recorded_at`, or with `after` in the order of ids. A page "
        "in JSON; as NDJSON or CSV all of them, streamed, however many there are.",
        "operationId": "stored_readings",
        "security": KEY_IN_HEADER,
        "parameters": [
            _many("sensor_id", MAX_SENSORS, MAX_SENSOR_ID_LENGTH, "Only these sensors."),
            _many("measurement", MAX_MEASUREMENTS, 64, "Only these measurements."),
            _one("start", f"Recorded from then on: {_MOMENT}"),
            _one("end", "Recorded before then, written like `start`."),
            _one(
                "after",
                "In place of the newest first, in the order of ids those after this one.",
                type="integer",
                minimum=0,
                maximum=2**63 - 1,
            ),
            _one("cursor", "`next` of the page before."),
            _one(
                "limit",
                f"In JSON {JSON_LIMIT:,} where it is not said, and up to {MAX_JSON:,}.",
                type="integer",
                minimum=1,
                maximum=10**18 - 1,
            ),
            _one(
                "format",
                "Counts before the header `Accept`.",
                type="string",
                enum=["json", "ndjson", "csv"],
            ),
        ],
        "responses": {
            "200": {
                "description": "The readings.",
                "content": {
                    **ref("StoredReadings")["content"],
                    "application/x-ndjson": text,
                    "text/csv": text,
                },
            },
            **refusals("400", "422", "503"),
        },
    }
