"""The description of the routes that Influx's clients use, for /docs and /openapi.json."""

from typing import Any, Final

from sensorflow.ingest.bodies import MAX_READINGS, MAX_UNPACKED
from sensorflow.ingest.influx import NANOSECONDS, SENSOR_TAGS
from sensorflow.web.schemas import ref

SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "Basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The password is the key, whoever the user is.",
    },
    "Password": {"type": "apiKey", "in": "query", "name": "p"},
    "Token": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Token` and the key.",
    },
}

_SECURITY: Final[list[dict[str, list[str]]]] = [
    {name: []} for name in ("ApiKey", "Token", "Bearer", "Basic", "QueryKey", "Password")
]

_REFUSALS: Final = {
    "400": "Lines were dropped: they are no line protocol, cannot be right, or conflict with what "
    "was stored. The others are stored.",
    "401": "The key is missing or wrong.",
    "403": "The key is known, but not for sending readings.",
    "405": "The path does not take this method.",
    "408": "The request did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is compressed with something else than gzip.",
    "429": "Too many wrong keys came from this address.",
    "503": "Not all could be stored now; send all of it again after Retry-After seconds.",
}


def _refusals(version: int, *statuses: str) -> dict[str, Any]:
    return {
        status: {"description": text, **ref(f"Influx{version}Error")}
        for status, text in _REFUSALS.items()
        if not statuses or status in statuses
    }


def write_route(version: int, sensor: dict[str, Any]) -> dict[str, Any]:
    """`/write` of version 1, or `/api/v2/write`. `sensor` is the parameter `sensor_id`."""
    precisions = ("n", "u", "ms", "s", "m", "h") if version == 1 else ("ns", "us", "ms", "s")
    assert set(precisions) <= NANOSECONDS.keys()
    return {
        "tags": ["influx"],
        "summary": f"Send lines as to InfluxDB {version}",
        "description": f"Lines that make up to {MAX_READINGS:,} readings, in "
        f"{MAX_UNPACKED // 2**20} MiB, which may be compressed with gzip. The sensor is the tag "
        f"{', '.join(SENSOR_TAGS)} (the first there is), or else `sensor_id` in the address.",
        "operationId": f"write_influx_{version}",
        "security": _SECURITY,
        "parameters": [
            {
                "name": "precision",
                "in": "query",
                "schema": {"enum": precisions, "default": precisions[0]},
                "description": "What timestamps count.",
            },
            sensor,
        ],
        "requestBody": {
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    "example": "climate,sensor_id=sensor-01 temperature=25.5,humidity=60.2 "
                    "1769860800000000000",
                }
            },
        },
        "responses": {
            "204": {"description": "All of it is stored, or safe in the spool."},
            **_refusals(version),
        },
    }


def query_route(method: str) -> dict[str, Any]:
    """`/query`, which answers `CREATE DATABASE` only."""
    in_body = {"type": "object", "properties": {"q": {"type": "string"}}}
    body = {"requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": in_body}}}}
    return {
        "tags": ["influx"],
        "summary": "Have a database made, as clients do before they write",
        "description": "`CREATE DATABASE` does nothing; any other query is refused.",
        "operationId": f"query_influx_{method}",
        "security": _SECURITY,
        "parameters": [
            {"name": "q", "in": "query", "schema": {"type": "string"}, "required": method == "get"}
        ],
        **(body if method == "post" else {}),
        "responses": {
            "200": {
                "description": "The empty result.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **_refusals(1, "401", "403", "408", "413", "429"),
            "400": {"description": "Queries are not served here.", **ref("Influx1Error")},
        },
    }


def ping_route(method: str) -> dict[str, Any]:
    """`/ping`."""
    return {
        "tags": ["influx"],
        "summary": "Whether lines can be written here",
        "operationId": f"ping_influx_{method}",
        "responses": {"204": {"description": "They can."}},
    }
