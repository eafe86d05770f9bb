"""What can go wrong below the edge, without a word about HTTP.

A `Refusal` is an answer to somebody who sent something: it has a name that is counted and a
sentence that tells what to do. Everything else here is a state of the system.
"""

from collections.abc import Mapping
from enum import StrEnum


class Reason(StrEnum):
    """The name of every refusal; the edge gives each a status, `/metrics` counts each."""

    NOT_JSON = "not_json"
    NOT_LINE_PROTOCOL = "not_line_protocol"
    WRONG_SHAPE = "wrong_shape"
    MISSING_FIELD = "missing_field"
    NOT_A_NUMBER = "not_a_number"
    OUT_OF_RANGE = "out_of_range"
    BAD_SENSOR_ID = "bad_sensor_id"
    BAD_RECORDED_AT = "bad_recorded_at"
    CLOCK_NOT_SET = "clock_not_set"
    CLOCK_AHEAD = "clock_ahead"
    BAD_MEASUREMENT_NAME = "bad_measurement_name"
    TOO_MANY_MEASUREMENTS = "too_many_measurements"
    STORAGE_REFUSED = "storage_refused"
    CONFLICT = "conflict"
    NOTHING_TAKEN = "nothing_taken"

    KEY_MISSING = "key_missing"
    KEY_UNKNOWN = "key_unknown"
    KEY_NOT_ALLOWED = "key_not_allowed"
    TOO_MANY_FAILED_KEYS = "too_many_failed_keys"
    FOREIGN_ORIGIN = "foreign_origin"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    BAD_CURSOR = "bad_cursor"
    CURSOR_AHEAD = "cursor_ahead"
    TOO_MANY_SENSORS = "too_many_sensors"

    BAD_RANGE = "bad_range"
    BAD_BUCKET = "bad_bucket"
    TOO_MANY_POINTS = "too_many_points"
    HISTORY_BEHIND = "history_behind"

    BAD_DESCRIPTION = "bad_description"
    NOT_CONFIRMED = "not_confirmed"
    SENSOR_UNKNOWN = "sensor_unknown"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UPGRADE_REQUIRED = "upgrade_required"
    WRONG_CONTENT_TYPE = "wrong_content_type"
    WRONG_CONTENT_ENCODING = "wrong_content_encoding"
    BODY_TOO_LARGE = "body_too_large"
    HEAD_TOO_LARGE = "head_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    BAD_REQUEST = "bad_request"

    QUEUE_FULL = "queue_full"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL_ERROR = "internal_error"


class SensorFlowError(Exception):
    """The root of all errors this program raises on purpose."""


class Refusal(SensorFlowError):
    """Something sent to us that is not taken. `detail` is one sentence for the sender."""

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        field: str | None = None,
        retry_after: int | None = None,
        told: Mapping[str, object] | None = None,
        sensor_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.field = field
        self.retry_after = retry_after
        """Seconds after which the same request may succeed, where waiting can help."""
        self.told = told or {}
        """What else the sender has to know, by name."""
        self.sensor_id = sensor_id
        """Whose reading it was, for who counts it; None where that was counted already."""


class SettingsError(SensorFlowError):
    """A setting that cannot be right. The message is one line that names the variable."""


class DataDirInUse(SensorFlowError):
    """Another process holds the lock on DATA_DIR."""


class StorageUnavailable(SensorFlowError):
    """The storage could not commit, through no fault of the readings, as far as anybody knows."""


class BatchRefused(SensorFlowError):
    """The storage refused the batch because of what is in it. Nothing was stored."""
