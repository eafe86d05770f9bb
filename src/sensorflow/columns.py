"""Readings that are alike, column by column: a large request without an object for each value."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, chain
from typing import NamedTuple, TypeVar, overload

from sensorflow.readings import Clock, Outcome, Reading, Stored
from sensorflow.times import moment

T = TypeVar("T")


class Sender(NamedTuple):
    """What the next so many readings share: they came in one request."""

    readings: int
    received_at: datetime
    client_ip: str | None


class ReadingColumns(Sequence[Reading]):
    """Readings that have the same measurements, and their times by the same clock.

    They stay as they are, but for the ids that they get together. A `Reading` is made whenever one
    is asked for: what is changed in it changes nothing here.
    """

    __slots__ = ("_ends", "clock", "first_id", "measurements", "senders", "sensor_ids", "times")

    def __init__(
        self,
        clock: Clock,
        sensor_ids: Sequence[str],
        times: Sequence[int],
        measurements: "Mapping[str, array[float]]",
        senders: Sequence[Sender],
    ) -> None:
        """`times` are each `recorded_at` in whole microseconds since 1970.

        `measurements` are arrays of doubles, of names among `KNOWN_MEASUREMENTS`: eight bytes are
        fetched for each value, and no object.
        """
        self.clock = clock
        self.sensor_ids = sensor_ids
        self.times = times
        self.measurements = measurements
        self.senders = senders
        self.first_id: int | None = None
        """None until they are committed; then they have the ids from this one on."""
        self._ends = list(accumulate(sender.readings for sender in senders))

    def __len__(self) -> int:
        return len(self.times)

    @overload
    def __getitem__(self, place: int) -> Reading: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Reading]: ...
    def __getitem__(self, place: int | slice) -> Reading | Sequence[Reading]:
        places = range(len(self.times))[place]
        return self._one(places) if isinstance(places, int) else list(map(self._one, places))

    def __iter__(self) -> Iterator[Reading]:
        return map(self._one, range(len(self.times)))

    def _one(self, place: int) -> Reading:
        sender = self.senders[bisect_right(self._ends, place)]
        return Reading(
            self.sensor_ids[place],
            {name: values[place] for name, values in self.measurements.items()},
            moment(self.times[place]),
            self.clock,
            sender.received_at,
            sender.client_ip,
            None if self.first_id is None else self.first_id + place,
        )


class AllStored(Sequence[Outcome]):
    """The outcomes of columns of which every reading is committed and has its id."""

    __slots__ = ("readings",)

    def __init__(self, readings: ReadingColumns) -> None:
        self.readings = readings

    def __len__(self) -> int:
        return len(self.readings)

    @overload
    def __getitem__(self, place: int) -> Outcome: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Outcome]: ...
    def __getitem__(self, place: int | slice) -> Outcome | Sequence[Outcome]:
        if isinstance(place, slice):
            return list(map(Stored, self.readings[place]))
        return Stored(self.readings[place])


def together(requests: Sequence[Sequence[Reading]]) -> Sequence[Reading]:
    """The readings of some requests, in their order; columns where all are columns of one kind."""
    columns = [one for one in requests if isinstance(one, ReadingColumns)]
    kinds = {(one.clock, *one.measurements) for one in columns}
    if len(columns) < len(requests) or len(kinds) > 1:
        return _chained(requests)
    if len(columns) == 1:
        return columns[0]
    return ReadingColumns(
        columns[0].clock,
        _chained([one.sensor_ids for one in columns]),
        _chained([one.times for one in columns]),
        {
            name: _joined([one.measurements[name] for one in columns])
            for name in columns[0].measurements
        },
        _chained([one.senders for one in columns]),
    )


def ids_of(readings: Sequence[Reading]) -> Sequence[int | None]:
    """The id of each reading."""
    if not isinstance(readings, ReadingColumns):
        return [reading.id for reading in readings]
    first = readings.first_id
    return [None] * len(readings) if first is None else range(first, first + len(readings))


def sensor_ids_of(readings: Sequence[Reading]) -> Sequence[str]:
    """The sensor_id of each reading."""
    if isinstance(readings, ReadingColumns):
        return readings.sensor_ids
    return [reading.sensor_id for reading in readings]


def values_of(readings: Sequence[Reading]) -> int:
    """How many values all of the readings have together."""
    if isinstance(readings, ReadingColumns):
        return len(readings) * len(readings.measurements)
    return sum(len(reading.measurements) for reading in readings)


def _joined(parts: "Sequence[array[float]]") -> "array[float]":
    whole = array("d")
    for part in parts:
        whole += part
    return whole


def _chained(parts: Sequence[Sequence[T]]) -> list[T]:
    return list(chain.from_iterable(parts))
