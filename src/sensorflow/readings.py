"""Readings: what one sensor measured at one moment, and what became of it."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from enum import IntEnum
from typing import Final, overload

import msgspec

from sensorflow.errors import Reason, Refusal

KNOWN_MEASUREMENTS = ("temperature", "humidity", "pressure")
"""Measurements known by name: °C, % and hPa. Any other name is allowed beside them."""

MAX_SENSOR_ID_LENGTH = 128
MAX_MEASUREMENTS = 64


class Clock(IntEnum):
    """Whose clock `recorded_at` was read from. Only a device's own time can tell duplicates."""

    SERVER = 0
    DEVICE = 1


class Reading(msgspec.Struct, gc=False):
    """One reading. Times are aware and in UTC; every value is finite.

    `id` is None until the reading is committed; then it is its place in the one stream of all
    readings, and so a cursor.
    """

    sensor_id: str
    measurements: dict[str, float]
    recorded_at: datetime
    clock: Clock
    received_at: datetime
    client_ip: str | None
    id: int | None = None


class Stored(msgspec.Struct, gc=False, frozen=True):
    """The reading is committed and has its id."""

    reading: Reading


class Duplicate(msgspec.Struct, gc=False, frozen=True):
    """All that the reading says was stored before: as `reading`, or in it and others beside it."""

    reading: Reading


class Conflict(msgspec.Struct, gc=False, frozen=True):
    """The same sensor has another value for `measurement` at the same `recorded_at`: `reading`."""

    reading: Reading
    measurement: str


Outcome = Stored | Duplicate | Conflict


class CommittedBatch(msgspec.Struct, gc=False, frozen=True):
    """Readings that became durable in one commit, in order of id, each with its wire form."""

    readings: Sequence[Reading]
    wire_forms: Sequence[bytes]


def check_sensor_id(sensor_id: object) -> str:
    """Return a usable sensor id, or raise a `Refusal` that says what one looks like."""
    if type(sensor_id) is not str:
        raise Refusal(
            Reason.BAD_SENSOR_ID,
            f"sensor_id must be a string of 1 to {MAX_SENSOR_ID_LENGTH} characters.",
            field="sensor_id",
        )
    if not 1 <= len(sensor_id) <= MAX_SENSOR_ID_LENGTH:
        raise Refusal(
            Reason.BAD_SENSOR_ID,
            f"sensor_id has {len(sensor_id)} characters; 1 to {MAX_SENSOR_ID_LENGTH} are allowed.",
            field="sensor_id",
        )
    # Surrogates (Cs) cannot be encoded as UTF-8, so no database could hold them.
    if not sensor_id.isprintable() and any(
        unicodedata.category(character) in ("Cc", "Cs") for character in sensor_id
    ):
        raise Refusal(
            Reason.BAD_SENSOR_ID,
            "sensor_id contains a control character; use printable characters only.",
            field="sensor_id",
        )
    return sensor_id


class WireEncoder:
    """Encodes a reading as the JSON object that receipts and live frames share.

    `date_recorded` and `time_recorded` (whole seconds) are `recorded_at` in `timezone`.
    """

    def __init__(self, timezone: tzinfo) -> None:
        self._timezone = timezone
        self._encode = msgspec.json.Encoder().encode
        # The last reading's: those of one request share them.
        self._received_at: datetime | None = None
        self._received = b""

    def __call__(self, reading: Reading) -> bytes:
        # Part by part, since one dictionary of all would take twice as long for each reading.
        encode = self._encode
        recorded_at, received_at = reading.recorded_at, reading.received_at
        if received_at is not self._received_at:
            self._received_at = received_at
            self._received = encode(received_at)
        at = encode(recorded_at)
        local = at if self._timezone is UTC else encode(recorded_at.astimezone(self._timezone))
        return _WIRE % (
            encode(reading.id),
            encode(reading.sensor_id),
            encode(reading.measurements)[1:-1],
            at,
            self._received,
            local[1:11],
            local[12:20],
            encode(reading.client_ip),
        )


class WireForms(Sequence[bytes]):
    """The wire forms of some readings, each made when it is first asked for, and once.

    A request with a thousand readings is answered with counts: where nobody watches, nobody asks.
    The readings must have their ids, and stay as they are.
    """

    __slots__ = ("_encode", "_made", "_readings")

    def __init__(self, readings: Sequence[Reading], encode: Callable[[Reading], bytes]) -> None:
        self._readings = readings
        self._encode = encode
        self._made: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._readings)

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(place, slice):
            return [self._one(n) for n in range(*place.indices(len(self._readings)))]
        return self._one(place if place >= 0 else range(len(self._readings))[place])

    def __iter__(self) -> Iterator[bytes]:
        return map(self._one, range(len(self._readings)))

    def _one(self, place: int) -> bytes:
        made = self._made.get(place)
        if made is None:
            made = self._made[place] = self._encode(self._readings[place])
        return made


_WIRE: Final = (
    b'{"id":%b,"sensor_id":%b,%b,"recorded_at":%b,"received_at":%b,'
    b'"date_recorded":"%b","time_recorded":"%b","client_ip":%b}'
)
