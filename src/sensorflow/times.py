"""Moments as people and devices write them: RFC 3339, or Unix time told apart by magnitude."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_COUNT: Final = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?")

# A count of seconds is of this century up to 1e11, the year 5138; and so on for the finer units.
_UNITS: Final = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))


class NotATime(ValueError):
    """It is neither an RFC 3339 time nor Unix time."""


class NoOffset(NotATime):
    """It is a time of nobody knows where: it has no UTC offset."""


def from_text(text: str) -> datetime:
    """The moment, in UTC. Raises `NotATime`, or `NoOffset`."""
    if _COUNT.fullmatch(text):
        return from_count(float(text) if "." in text else int(text))
    try:
        moment = msgspec.convert(text, datetime)
        if moment.tzinfo is None:
            raise NoOffset
        return moment.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise NotATime from None


def from_count(count: float) -> datetime:
    """The moment of a Unix time in s, ms, µs or ns, in whole microseconds. Raises `NotATime`."""
    for bound, per_second in _UNITS:
        if 0 <= count < bound:
            # Whole microseconds first: a float has no room for the nanoseconds of today.
            microseconds = (
                count * 1_000_000 // int(per_second)
                if type(count) is int
                else round(count * (1e6 / per_second))
            )
            try:
                return EPOCH + timedelta(0, 0, microseconds)
            except OverflowError:
                break
    raise NotATime
