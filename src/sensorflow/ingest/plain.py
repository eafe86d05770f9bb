"""The form that most readings have, decoded straight into its fields; many become columns.

Known names only, numbers as JSON numbers: that is read in less than half the time that
`ingest.formats` takes, with the same outcome. All other forms, and all faults, are left to it.
"""

from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, cast

import msgspec
from msgspec import UNSET, UnsetType

from sensorflow.columns import ReadingColumns, Sender
from sensorflow.errors import Refusal
from sensorflow.ingest.bodies import MAX_READINGS
from sensorflow.ingest.formats import shown
from sensorflow.ingest.times import EARLIEST_RECORDED_AT, device_time
from sensorflow.readings import Clock, Reading, check_sensor_id
from sensorflow.times import MILLISECONDS, NotATime, from_counts, microseconds


class Plain(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The fields of one reading, of the right types; nothing else is checked yet."""

    sensor_id: str | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    humidity: float | UnsetType = UNSET
    pressure: float | UnsetType = UNSET
    recorded_at: int | float | str | UnsetType = UNSET


ENOUGH: Final = 64
"""Readings from which on columns are worth while."""

_decode: Final = msgspec.json.Decoder(Plain).decode
_decode_array: Final = msgspec.json.Decoder(list[Plain]).decode
_EARLIEST: Final = microseconds(EARLIEST_RECORDED_AT)


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


def plain_lines(lines: Iterable[bytes]) -> Sequence[Plain]:
    """What JSON objects hold, one each; none where any has another form."""
    try:
        return [_decode(line) for line in lines]
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
    made = readings_of((plain,), received_at, client_ip, sensor_id, whole=whole)
    return made[0] if made else None


def readings_of(
    decoded: Iterable[Plain],
    received_at: datetime,
    client_ip: str | None,
    sensor_id: str | None,
    *,
    whole: bool = False,
) -> list[Reading]:
    """What `plain_reading` makes of each; none after the first of which it makes nothing.

    One loop without a call that can be left out, for it is a quarter of a large batch's time.
    """
    readings: list[Reading] = []
    add = readings.append
    checked: dict[str | UnsetType, str | None] = {UNSET: sensor_id}
    device, server = Clock.DEVICE, Clock.SERVER
    fromtimestamp = datetime.fromtimestamp
    for plain in decoded:
        try:
            name = checked[plain.sensor_id]
        except KeyError:
            try:
                name = checked[plain.sensor_id] = check_sensor_id(plain.sensor_id)
            except Refusal:
                break
        temperature, humidity, pressure = plain.temperature, plain.humidity, plain.pressure
        measurements: dict[str, float]
        if temperature is not UNSET and humidity is not UNSET and pressure is not UNSET:
            measurements = {"temperature": temperature, "humidity": humidity, "pressure": pressure}
        elif whole:
            break
        else:
            named = (("temperature", temperature), ("humidity", humidity), ("pressure", pressure))
            measurements = {n: value for n, value in named if value is not UNSET}
        if name is None or not measurements:
            break
        at = plain.recorded_at
        if at is UNSET:
            add(Reading(name, measurements, received_at, server, received_at, client_ip))
            continue
        if type(at) is int and at in MILLISECONDS:
            recorded_at = fromtimestamp(at / 1e3, UTC)
            plausible = EARLIEST_RECORDED_AT <= recorded_at <= received_at
        else:
            plausible = False
        if not plausible:
            try:
                recorded_at = device_time(at, received_at, shown)
            except Refusal:
                break
        add(Reading(name, measurements, recorded_at, device, received_at, client_ip))
    return readings


def plain_columns(
    decoded: Sequence[Plain],
    received_at: datetime,
    client_ip: str | None,
    sensor_id: str | None,
) -> ReadingColumns | None:
    """What `readings_of` makes of them, column by column, in a third of the time.

    None where they differ in what they measured or in whose clock they tell; and where any is to
    be refused.
    """
    # One object for each sensor: thousands of them are looked up soon.
    sensors: dict[str | UnsetType | None, str | UnsetType | None] = {UNSET: sensor_id}
    each = [sensors.setdefault(plain.sensor_id, plain.sensor_id) for plain in decoded]
    measurements: dict[str, array[float]] = {}
    for name, column in (
        ("temperature", [plain.temperature for plain in decoded]),
        ("humidity", [plain.humidity for plain in decoded]),
        ("pressure", [plain.pressure for plain in decoded]),
    ):
        kinds = set(map(type, column))
        if kinds == {float}:
            measurements[name] = array("d", cast("list[float]", column))
        elif kinds != {UnsetType}:
            return None
    told = [plain.recorded_at for plain in decoded]
    clock = Clock.SERVER if set(map(type, told)) == {UnsetType} else Clock.DEVICE
    try:
        for one in set(each):
            check_sensor_id(one)
        if clock is Clock.SERVER:
            times = [microseconds(received_at)] * len(decoded)
        else:
            times = _device_times(told, received_at)
    except Refusal:
        return None
    if not measurements:
        return None
    sender = Sender(len(decoded), received_at, client_ip)
    return ReadingColumns(clock, cast("list[str]", each), times, measurements, (sender,))


def _device_times(told: Sequence[object], received_at: datetime) -> list[int]:
    """Each `device_time` in microseconds. Raises its `Refusal`."""
    if set(map(type, told)) == {int}:
        with suppress(NotATime):
            times = from_counts(cast("Sequence[int]", told))
            if times and min(times) >= _EARLIEST and max(times) <= microseconds(received_at):
                return times
    return [microseconds(device_time(one, received_at, shown)) for one in told]
