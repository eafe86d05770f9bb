"""From a row of the original's table to a reading.

The original wrote its own clock's date and time, in its zone, in whole seconds. So a reading has
that time by the server's clock, and it is also when it was received.
"""

import math
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Final, NamedTuple

from sensorflow.errors import Refusal
from sensorflow.readings import KNOWN_MEASUREMENTS, Clock, Reading, check_sensor_id
from sensorflow.storage.original import OriginalRow, Value

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""A clock that was not set shows 1970."""

MAX_AHEAD: Final = timedelta(days=1)

_SHOWN_LENGTH: Final = 40


class Fault(StrEnum):
    """Why a row cannot become a reading."""

    NO_TIME = "no_time"
    CLOCK_NOT_SET = "clock_not_set"
    CLOCK_AHEAD = "clock_ahead"
    BAD_SENSOR_ID = "bad_sensor_id"
    NOT_A_NUMBER = "not_a_number"
    NO_MEASUREMENT = "no_measurement"
    STORAGE_REFUSED = "storage_refused"


class FaultyRow(Exception):
    """Such a row, with a sentence."""

    def __init__(self, fault: Fault, sentence: str) -> None:
        super().__init__(sentence)
        self.fault = fault


class Moment(NamedTuple):
    """What a clock on the wall has shown."""

    at: datetime
    """In UTC."""
    twice: bool = False
    """Whether it has shown this twice, when it was set back; the first time is taken."""
    never: bool = False
    """Whether it cannot have shown this, because it was set forward."""


class Moments:
    """Reads dates and times in a zone. Rows come in order of time, so the last one is kept."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._kept: tuple[tuple[Value, Value], Moment] | None = None

    def at(self, shown_date: Value, shown_time: Value) -> Moment:
        """Raises `FaultyRow`."""
        key = (shown_date, shown_time)
        if self._kept is None or self._kept[0] != key:
            self._kept = (key, self._read(shown_date, shown_time))
        return self._kept[1]

    def _read(self, shown_date: Value, shown_time: Value) -> Moment:
        if not (isinstance(shown_date, str) and isinstance(shown_time, str)):
            raise FaultyRow(Fault.NO_TIME, f"its time is {_shown(shown_date)} {_shown(shown_time)}")
        try:
            # A column with a time of its own has midnight beside the date.
            local = datetime.combine(
                date.fromisoformat(shown_date[:10]), time.fromisoformat(shown_time)
            )
            return self._moment(local)
        except (ValueError, OverflowError):
            raise FaultyRow(
                Fault.NO_TIME, f"its time is {_shown(shown_date)} {_shown(shown_time)}"
            ) from None

    def _moment(self, local: datetime) -> Moment:
        if local.tzinfo is not None:
            return Moment(local.astimezone(UTC))
        first = local.replace(tzinfo=self._zone)
        at = first.astimezone(UTC)
        if first.utcoffset() == first.replace(fold=1).utcoffset():
            return Moment(at)
        shown = at.astimezone(self._zone).replace(tzinfo=None) == local
        return Moment(at, twice=shown, never=not shown)


def to_reading(row: OriginalRow, at: datetime, now: datetime) -> Reading:
    """The row as it would have been stored here. Raises `FaultyRow`."""
    if at < EARLIEST:
        raise FaultyRow(Fault.CLOCK_NOT_SET, f"its time is {at:%Y-%m-%d}: the clock was not set")
    if at - now > MAX_AHEAD:
        raise FaultyRow(Fault.CLOCK_AHEAD, f"its time is {at:%Y-%m-%d}: the clock was ahead")
    try:
        sensor_id = check_sensor_id(None if row.sensor_id is None else str(row.sensor_id))
    except Refusal as refusal:
        raise FaultyRow(Fault.BAD_SENSOR_ID, refusal.detail.removesuffix(".")) from None
    measurements = {
        name: _number(name, value)
        for name in KNOWN_MEASUREMENTS
        if (value := getattr(row, name)) is not None
    }
    if not measurements:
        raise FaultyRow(Fault.NO_MEASUREMENT, "it has no measurement")
    client_ip = None if row.client_ip is None else str(row.client_ip)
    return Reading(sensor_id, measurements, at, Clock.SERVER, at, client_ip)


def _number(name: str, value: Value) -> float:
    try:
        number = math.nan if value is None else float(value)
    except ValueError:
        number = math.nan
    # float() also takes Python's own spelling of numbers.
    if not math.isfinite(number) or "_" in str(value):
        raise FaultyRow(Fault.NOT_A_NUMBER, f"{name} is {_shown(value)}")
    return number + 0.0  # not every database tells -0.0 from 0.0


def _shown(value: Value) -> str:
    text = ascii(value)
    return text[:_SHOWN_LENGTH] + ("…" if len(text) > _SHOWN_LENGTH else "")
