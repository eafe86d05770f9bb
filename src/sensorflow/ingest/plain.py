"""The form that most readings have, decoded straight into its fields.

Known names only, numbers as JSON numbers: that is read in less than half the time that
`ingest.formats` takes, with the same outcome. All other forms, and all faults, are left to it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from sensorflow.errors import Refusal
from sensorflow.ingest.bodies import MAX_READINGS
from sensorflow.ingest.formats import shown
from sensorflow.ingest.times import device_time
from sensorflow.readings import Clock, Reading, check_sensor_id


class Plain(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The fields of one reading, of the right types; nothing else is checked yet."""

    sensor_id: str | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    humidity: float | UnsetType = UNSET
    pressure: float | UnsetType = UNSET
    recorded_at: int | float | str | UnsetType = UNSET


_decode: Final = msgspec.json.Decoder(Plain).decode
_decode_array: Final = msgspec.json.Decoder(list[Plain]).decode


def plain_array(body: bytes) -> Sequence[Plain]:
    """The elements of a JSON array; none where any has another form, or where there are too many.

    Each begins with a brace, so they are counted before any is made.
    """
    if body.count(b"{") > MAX_READINGS:
        return ()
    try:
        return _decode_array(body)
    except (ValueError, RecursionError):
        return ()


def plain_reading(
    body: bytes | msgspec.Raw,
    received_at: datetime,
    client_ip: str | None,
    sensor_id: str | None = None,
    *,
    whole: bool = False,
) -> Reading | None:
    """The reading in a JSON object, as `formats.reading_from_fields` makes it.

    None where it has another form, or is to be refused; and, where a `whole` one is wanted, where
    it lacks one of the three measurements.
    """
    try:
        plain = _decode(body)
    except (ValueError, RecursionError):
        return None
    return reading_of(plain, received_at, client_ip, sensor_id, whole=whole)


def reading_of(
    plain: Plain,
    received_at: datetime,
    client_ip: str | None,
    sensor_id: str | None,
    *,
    whole: bool = False,
) -> Reading | None:
    """What `plain_reading` makes of what was decoded."""
    try:
        name = plain.sensor_id
        sensor_id = sensor_id if name is UNSET else check_sensor_id(name)
        at = plain.recorded_at
        if at is UNSET:
            recorded_at, clock = received_at, Clock.SERVER
        else:
            recorded_at, clock = device_time(at, received_at, shown), Clock.DEVICE
    except Refusal:
        return None
    temperature, humidity, pressure = plain.temperature, plain.humidity, plain.pressure
    measurements: dict[str, float]
    if temperature is not UNSET and humidity is not UNSET and pressure is not UNSET:
        measurements = {"temperature": temperature, "humidity": humidity, "pressure": pressure}
    elif whole:
        return None
    else:
        named = (("temperature", temperature), ("humidity", humidity), ("pressure", pressure))
        measurements = {n: value for n, value in named if value is not UNSET}
    if sensor_id is None or not measurements:
        return None
    return Reading(sensor_id, measurements, recorded_at, clock, received_at, client_ip)
