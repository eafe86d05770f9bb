"""From the message of a Sensor.Community station to the fields of a reading."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from sensorflow.errors import Reason, Refusal
from sensorflow.ingest.formats import reading_from_fields
from sensorflow.readings import KNOWN_MEASUREMENTS, MAX_MEASUREMENTS, Reading, check_sensor_id

VALUES: Final = "sensordatavalues"
"""The field by which such a message is known."""

_CHIP: Final = "esp8266id"
_PASCALS: Final = 100.0  # in one hPa


class Names(NamedTuple):
    """What a request calls the station, beside its body."""

    sensor: str | None
    """The header X-Sensor."""
    mac: str | None
    """The header X-MAC-ID, where there is neither X-Sensor nor a chip's id."""
    default: str | None
    """The address's `?sensor_id=`, where there is nothing else."""


def station_reading(
    message: Mapping[str, object],
    received_at: datetime,
    client_ip: str | None,
    names: Names,
) -> tuple[Reading, int]:
    """Make a checked reading of a message, as `reading_from_fields` does of a flat object.

    The values' names are kept, except that the three known measurements are found also with their
    chip's name before them. Pressure is sent in Pa; the known one is in hPa.
    """
    values = _values(message[VALUES])
    fields = {name: value for name, value in message.items() if name not in (VALUES, _CHIP)}
    for known in KNOWN_MEASUREMENTS:
        if known not in values:
            ours = next((name for name in values if name.endswith(f"_{known}")), None)
            if ours is not None:
                values[known] = values.pop(ours)
    chip = message.get(_CHIP)
    station = names.sensor or (f"esp8266-{chip}" if type(chip) in (str, int) else names.mac)
    sensor_id = check_sensor_id(station) if station else names.default
    reading, ignored = reading_from_fields({**fields, **values}, received_at, client_ip, sensor_id)
    if "pressure" in values:
        reading.measurements["pressure"] /= _PASCALS
    return reading, ignored


def _values(sent: object) -> dict[str, object]:
    if type(sent) is not list or not all(
        type(one) is dict and type(one.get("value_type")) is str for one in sent
    ):
        raise Refusal(
            Reason.WRONG_SHAPE,
            "sensordatavalues must be an array of objects with value_type and value.",
            field=VALUES,
        )
    if len(sent) > MAX_MEASUREMENTS:
        raise Refusal(
            Reason.TOO_MANY_MEASUREMENTS,
            f"The reading has {len(sent)} measurements; "
            f"{MAX_MEASUREMENTS} are allowed in one reading.",
        )
    return {one["value_type"]: one.get("value") for one in sent}
