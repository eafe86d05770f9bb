"""From the bytes that devices send to checked readings."""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from sensorflow.errors import Reason, Refusal
from sensorflow.ingest.times import device_time, time_ago
from sensorflow.readings import (
    KNOWN_MEASUREMENTS,
    MAX_MEASUREMENTS,
    Clock,
    Reading,
    check_sensor_id,
)

RESERVED_NAMES: Final = frozenset(
    ("id", "received_at", "date_recorded", "time_recorded", "client_ip", "status")
)
"""Names the server itself puts into receipts and frames; ignored when a device sends them."""

OWN_NAMES: Final = RESERVED_NAMES | {"sensor_id", "recorded_at", "age_ms"}
"""All names that stand for something else than a measurement."""

# Stricter than float(): no "nan", no "1_000", no digits of other scripts. What was matched is not
# tried in another way: thousands of digits before something else would take seconds.
_NUMBER = re.compile(
    r"[ \t]*+[+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+[ \t]*+"
)
_KNOWN: Final = frozenset(KNOWN_MEASUREMENTS)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
# A JSON string may hold anything; what goes back into a sentence must stay short and printable.
_SHOWN_LENGTH: Final = 40

_decode = msgspec.json.Decoder().decode


def is_name(name: str) -> bool:
    """Whether a measurement may be called so."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """Return a measurement's name, or raise a `Refusal` that says what one looks like."""
    if not is_name(name):
        raise Refusal(
            Reason.BAD_MEASUREMENT_NAME,
            f"{shown(name)} cannot name a measurement: use a letter or _ first, then up to 63 "
            "letters, digits, _, . or -.",
            field=name[:64],
        )
    return name


def decode_object(body: bytes) -> dict[str, object]:
    """Decode one JSON object; raise a `Refusal` for anything else."""
    try:
        value = _decode(body)
    except msgspec.ValidationError:
        # The decoder raises this one, untyped, only for numbers that no double can hold.
        raise Refusal(
            Reason.OUT_OF_RANGE, "The body holds a number that is beyond a double's range."
        ) from None
    except RecursionError:
        raise Refusal(Reason.NOT_JSON, "The body is nested too deeply.") from None
    except ValueError as error:
        raise Refusal(Reason.NOT_JSON, f"The body is not JSON: {error}.") from None
    if type(value) is not dict:
        raise Refusal(Reason.WRONG_SHAPE, "The body must be one JSON object with the reading.")
    return value


def original_reading(
    fields: Mapping[str, object],
    received_at: datetime,
    client_ip: str | None,
    sensor_id: str | None = None,
) -> tuple[Reading, int]:
    """Check the body of `POST /api/temperature_reading`, as `reading_from_fields` does.

    `temperature`, `humidity`, `pressure` and `sensor_id` are required.
    """
    for name in KNOWN_MEASUREMENTS:
        if name not in fields:
            raise Refusal(
                Reason.MISSING_FIELD,
                f"{name} is missing.",
                field=name,
                sensor_id=_sensor_of(fields, sensor_id),
            )
    return reading_from_fields(fields, received_at, client_ip, sensor_id)


def reading_from_fields(
    fields: Mapping[str, object],
    received_at: datetime,
    client_ip: str | None,
    sensor_id: str | None = None,
) -> tuple[Reading, int]:
    """Make a checked reading of a flat JSON object. Returns it and how many fields were ignored.

    Numbers may be strings. In the measurements known by name anything that is no finite number
    is refused; in others, what is no number is ignored and counted, as are reserved names.
    `sensor_id` counts where the object has none.
    """
    try:
        return _reading(fields, received_at, client_ip, sensor_id)
    except Refusal as refusal:
        refusal.sensor_id = _sensor_of(fields, sensor_id)
        raise


def _reading(
    fields: Mapping[str, object],
    received_at: datetime,
    client_ip: str | None,
    sensor_id: str | None,
) -> tuple[Reading, int]:
    recorded_at = received_at
    clock = Clock.SERVER
    measurements: dict[str, float] = {}
    ignored = 0
    for name, value in fields.items():
        if name in _KNOWN:
            measurements[name] = value if type(value) is float else _known_number(name, value)
        elif name == "sensor_id":
            sensor_id = check_sensor_id(value)
        elif name == "recorded_at":
            recorded_at = device_time(value, received_at, shown)
            clock = Clock.DEVICE
        elif name == "age_ms":
            if clock is Clock.SERVER:
                recorded_at = time_ago(_number(name, value), received_at)
        elif name in RESERVED_NAMES:
            ignored += 1
        else:
            number = _number(name, value)
            if number is None:
                ignored += 1
            else:
                measurements[check_name(name)] = number
    if sensor_id is None:
        raise Refusal(Reason.MISSING_FIELD, "sensor_id is missing.", field="sensor_id")
    if not measurements:
        raise Refusal(Reason.MISSING_FIELD, "The reading has no measurement.")
    if len(measurements) > MAX_MEASUREMENTS:
        raise Refusal(
            Reason.TOO_MANY_MEASUREMENTS,
            f"The reading has {len(measurements)} measurements; "
            f"{MAX_MEASUREMENTS} are allowed in one reading.",
        )
    return Reading(sensor_id, measurements, recorded_at, clock, received_at, client_ip), ignored


def _sensor_of(fields: Mapping[str, object], sensor_id: str | None) -> str | None:
    """Whose reading is refused, where it says so in a way that can be right."""
    try:
        return check_sensor_id(fields["sensor_id"]) if "sensor_id" in fields else sensor_id
    except Refusal:
        return None


def _known_number(name: str, value: object) -> float:
    number = _number(name, value)
    if number is None:
        raise Refusal(
            Reason.NOT_A_NUMBER,
            f"{name} must be a finite number, as a JSON number or a string; got {shown(value)}.",
            field=name,
        )
    return number


def _number(name: str, value: object) -> float | None:
    """The value as a finite float, or None where it is no number at all."""
    # Exact types, because JSON's true is a bool, and a bool is an int.
    if type(value) is float:
        return value
    if type(value) is int or (type(value) is str and _NUMBER.fullmatch(value)):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            raise Refusal(
                Reason.OUT_OF_RANGE,
                f"{shown(name)} is beyond a double's range.",
                field=name[:64],
            )
        return number
    return None


def shown(value: object) -> str:
    """A short, printable rendering of something a device sent."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return ascii(value[:_SHOWN_LENGTH]) + ("…" if len(value) > _SHOWN_LENGTH else "")
        case dict():
            return "an object"
        case list():
            return "an array"
        case _:
            return "a number"
