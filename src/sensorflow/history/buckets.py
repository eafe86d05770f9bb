"""Buckets of time: how long they are, and where each begins."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, NamedTuple

from sensorflow.errors import Reason, Refusal
from sensorflow.times import EPOCH

_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "M": 2_629_746}
"""Of each unit; of months on average."""

_CALENDAR: Final = frozenset("dwM")
_TEXT: Final = re.compile(r"([1-9][0-9]{0,3})([smhdwM])")
_FIRST_MONDAY: Final = date(1970, 1, 5).toordinal()
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()


class Bucket(NamedTuple):
    """So many seconds, minutes, hours, or days, weeks, months of a calendar."""

    number: int
    unit: str

    def __str__(self) -> str:
        return f"{self.number}{self.unit}"

    @property
    def calendar(self) -> bool:
        """Whether it follows the time zone."""
        return self.unit in _CALENDAR

    @property
    def seconds(self) -> int:
        """How long it is; if of a calendar, about."""
        return self.number * _SECONDS[self.unit]


ROUND: Final = tuple(
    Bucket(number, unit)
    for unit, numbers in (
        ("s", (1, 2, 5, 10, 15, 30)),
        ("m", (1, 2, 5, 10, 15, 30)),
        ("h", (1, 2, 3, 6, 12)),
        ("d", (1,)),
        ("w", (1,)),
        ("M", (1, 3, 6, 12, 60, 120)),
    )
    for number in numbers
)
"""Those that are chosen from, shortest first."""


def parse_bucket(text: str) -> Bucket:
    """Raises a `Refusal`."""
    if (found := _TEXT.fullmatch(text)) is None:
        raise Refusal(
            Reason.BAD_BUCKET,
            "bucket must be a number and s, m, h, d, w or M (months), such as 10s, 5m, 1h, 1d, 1M.",
            field="bucket",
        )
    return Bucket(int(found[1]), found[2])


def edges(bucket: Bucket, start: datetime, end: datetime, zone: tzinfo) -> list[datetime]:
    """Where the buckets that hold any moment of the range begin, and where the last one ends.

    Seconds, minutes and hours are counted from 1970-01-01 UTC; days, weeks (from Monday on) and
    months begin at midnight in `zone`, and are as long as they are there.
    """
    if not bucket.calendar:
        width = timedelta(seconds=bucket.seconds)
        first = start - (start - EPOCH) % width
        number = -((first - end) // width)
        return [first + place * width for place in range(number + 1)]
    found: list[datetime] = []
    for day in _days(bucket, start.astimezone(zone).date()):
        moment = _beginning(day, zone)
        # A day that the zone skipped has no time at all.
        if not found or moment > found[-1]:
            if moment <= start:
                found.clear()
            found.append(moment)
            if moment >= end:
                break
    return found


def _days(bucket: Bucket, day: date) -> Iterator[date]:
    """The first days of buckets, from the one that holds `day` on."""
    if bucket.unit == "M":
        months = (day.year - 1970) * 12 + day.month - 1
        months -= months % bucket.number
        while True:
            yield date(1970 + months // 12, months % 12 + 1, 1)
            months += bucket.number
    step = bucket.number * (7 if bucket.unit == "w" else 1)
    origin = _FIRST_MONDAY if bucket.unit == "w" else _FIRST_DAY
    ordinal = day.toordinal()
    ordinal -= (ordinal - origin) % step
    while True:
        yield date.fromordinal(ordinal)
        ordinal += step


def _beginning(day: date, zone: tzinfo) -> datetime:
    """The first moment of a day: where clocks skip midnight, when they do so."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)
