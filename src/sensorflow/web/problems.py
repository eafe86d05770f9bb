"""Refusals as `application/problem+json` (RFC 9457)."""

from typing import Any, Final

import msgspec

from sensorflow.errors import Reason, Refusal

MEDIA_TYPE: Final = "application/problem+json"

_STATUS: Final = {
    Reason.NOT_JSON: (400, "Not JSON"),
    Reason.NOT_LINE_PROTOCOL: (400, "Not line protocol"),
    Reason.WRONG_SHAPE: (422, "Not a reading"),
    Reason.MISSING_FIELD: (422, "Field missing"),
    Reason.NOT_A_NUMBER: (422, "Not a number"),
    Reason.OUT_OF_RANGE: (422, "Out of range"),
    Reason.BAD_SENSOR_ID: (422, "Bad sensor_id"),
    Reason.BAD_RECORDED_AT: (422, "Bad recorded_at"),
    Reason.CLOCK_NOT_SET: (422, "Clock not set"),
    Reason.CLOCK_AHEAD: (422, "Clock ahead"),
    Reason.BAD_MEASUREMENT_NAME: (422, "Bad measurement name"),
    Reason.TOO_MANY_MEASUREMENTS: (422, "Too many measurements"),
    Reason.STORAGE_REFUSED: (422, "Refused by the database"),
    Reason.CONFLICT: (409, "Conflict"),
    Reason.NOTHING_TAKEN: (422, "Nothing taken"),
    Reason.KEY_MISSING: (401, "Key missing"),
    Reason.KEY_UNKNOWN: (401, "Key unknown"),
    Reason.KEY_NOT_ALLOWED: (403, "Key not for this"),
    Reason.TOO_MANY_FAILED_KEYS: (429, "Too many wrong keys"),
    Reason.FOREIGN_ORIGIN: (403, "Foreign origin"),
    Reason.TOO_MANY_CONNECTIONS: (429, "Too many connections"),
    Reason.BAD_CURSOR: (422, "Bad cursor"),
    Reason.CURSOR_AHEAD: (422, "Cursor ahead"),
    Reason.TOO_MANY_SENSORS: (422, "Too many sensors"),
    Reason.BAD_RANGE: (422, "Bad range"),
    Reason.BAD_BUCKET: (422, "Bad bucket"),
    Reason.TOO_MANY_POINTS: (422, "Too many points"),
    Reason.HISTORY_BEHIND: (503, "History behind"),
    Reason.BAD_DESCRIPTION: (422, "Bad description"),
    Reason.NOT_CONFIRMED: (422, "Not confirmed"),
    Reason.SENSOR_UNKNOWN: (404, "Sensor unknown"),
    Reason.NOT_FOUND: (404, "Not found"),
    Reason.METHOD_NOT_ALLOWED: (405, "Method not allowed"),
    Reason.UPGRADE_REQUIRED: (426, "WebSocket only"),
    Reason.WRONG_CONTENT_TYPE: (415, "Wrong content type"),
    Reason.WRONG_CONTENT_ENCODING: (415, "Wrong content encoding"),
    Reason.BODY_TOO_LARGE: (413, "Body too large"),
    Reason.HEAD_TOO_LARGE: (431, "Headers too large"),
    Reason.REQUEST_TIMEOUT: (408, "Request too slow"),
    Reason.BAD_REQUEST: (400, "Bad request"),
    Reason.QUEUE_FULL: (503, "Queue full"),
    Reason.STORAGE_UNAVAILABLE: (503, "Storage unavailable"),
    Reason.SHUTTING_DOWN: (503, "Shutting down"),
    Reason.INTERNAL_ERROR: (500, "Internal error"),
}

TITLES: Final = {reason: title for reason, (_, title) in _STATUS.items()}


def status_of(reason: Reason) -> int:
    """The HTTP status of a refusal."""
    return _STATUS[reason][0]


def problem(refusal: Refusal) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of the response that tells a refusal."""
    status, title = _STATUS[refusal.reason]
    members: dict[str, Any] = {
        "type": f"urn:sensorflow:problem:{refusal.reason.value}",
        "title": title,
        "status": status,
        "detail": refusal.detail,
        "reason": refusal.reason.value,
    }
    if refusal.field is not None:
        members["field"] = refusal.field
    members |= refusal.told
    body = msgspec.json.encode(members)
    return status, headers_of(refusal, MEDIA_TYPE, body), body


def headers_of(refusal: Refusal, media_type: str, body: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of a response that tells a refusal, whatever its body's form."""
    headers = [
        (b"content-type", media_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if status_of(refusal.reason) == 401:
        headers.append((b"www-authenticate", b'Bearer realm="sensorflow"'))
    if refusal.retry_after is not None:
        headers.append((b"retry-after", str(refusal.retry_after).encode()))
    return headers
