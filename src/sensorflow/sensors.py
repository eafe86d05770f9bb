"""What is known of a sensor beside its readings: how many, when, the latest values."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

DUPLICATE: Final = "duplicate"
SPOOLED: Final = "spooled"
"""What becomes of readings, where that is no refusal and leaves no row of its own.

Refusals, conflicts among them, have the names of their reasons.
"""

Counts = dict[str, dict[str, int]]
"""How many readings of each sensor, by its sensor_id, had which outcome."""

Place = tuple[datetime, int]
"""A sensor's place among all: when it was heard last, and its number."""


class Latest(msgspec.Struct, gc=False, frozen=True):
    """A measurement's value with the newest `recorded_at`."""

    value: float
    recorded_at: datetime


class State(msgspec.Struct, gc=False):
    """What stored readings of a sensor come to."""

    stored: int
    last_id: int
    last_seen: datetime
    """The newest `received_at`."""
    latest: dict[str, Latest]


class Page(msgspec.Struct, gc=False):
    """Readings that follow each other in the stream, as a follower needs them."""

    after: int
    until: int
    """Its last id, or beyond; `after` where nothing follows."""
    more: bool
    """Whether there may be more to follow now."""
    sums: dict[int, State]
    """What they come to, by the sensor's number. Those counted as stored before are left out."""


class Description(msgspec.Struct, gc=False, frozen=True, omit_defaults=False):
    """What people say of a sensor's measurement."""

    unit: str | None = None
    label: str | None = None


class Details(msgspec.Struct, gc=False, frozen=True):
    """What people say of a sensor."""

    name: str | None = None
    location: str | None = None
    measurements: dict[str, Description] = {}


Change = Callable[[Details], Details]
"""Makes new details of those that there are. It may raise a `Refusal`."""


class Removed(NamedTuple):
    """What a step of removing a sensor has removed."""

    readings: int
    done: bool
    """Whether nothing is left of it."""


class Sensor(msgspec.Struct, gc=False, frozen=True):
    """A sensor with everything that is known of it."""

    number: int
    sensor_id: str
    first_seen: datetime
    state: State | None
    """None before its first stored reading has been followed."""
    outcomes: dict[str, int]
    """How many of its readings became something else than a row of their own."""
    details: Details

    @property
    def place(self) -> Place:
        return (self.state.last_seen if self.state else self.first_seen, self.number)


class Wanted(NamedTuple):
    """Whose summaries are wanted."""

    sensors: Sequence[str]
    measurements: Sequence[str]
    """Of these; of all where there are none."""
    limit: int
    """How many readings may be looked at."""


class Summary(NamedTuple):
    """What the values of a sensor's measurement come to, from a moment on."""

    sensor_id: str
    measurement: str
    at: datetime
    values: int
    """How many."""
    sum: float
    minimum: float
    maximum: float


Slice = tuple[datetime, datetime]
"""From the first moment, which belongs to it, to before the second."""
