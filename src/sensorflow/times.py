"""Moments as people and devices write them: RFC 3339, or Unix time told apart by magnitude."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_COUNT: Final = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?")

# A count of seconds is of this century up to 1e11, the year 5138; and so on for the finer units.
_BOUNDS: Final = (10**11, 10**14, 10**17, 10**20)
_PER_SECOND: Final = (1, 10**3, 10**6, 10**9)

_EXACT: Final = 2**32 * 10**6
"""Microseconds below which a double of seconds is nearest to one whole microsecond: until 2106."""

MILLISECONDS: Final = range(_BOUNDS[0], _EXACT // 1_000)
"""Whole counts that `datetime.fromtimestamp` takes exactly, divided by 1e3; for who has many."""


def microseconds(at: datetime) -> int:
    """Whole microseconds since 1970."""
    since = at - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def moment(count: int) -> datetime:
    """What `microseconds` was made of, in UTC."""
    return EPOCH + timedelta(0, 0, count)


class NotATime(ValueError):
    """It is neither an RFC 3339 time nor Unix time."""


class NoOffset(NotATime):
    """It is a time of nobody knows where: it has no UTC offset."""


def from_text(text: str) -> datetime:
    """The moment, in UTC. Raises `NotATime`, or `NoOffset`."""
    try:
        at = msgspec.convert(text, datetime)
        if at.tzinfo is None:
            raise NoOffset
        return at.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        # Digits alone are no RFC 3339 time.
        if _COUNT.fullmatch(text):
            return from_count(float(text) if "." in text else int(text))
        raise NotATime from None


def from_count(count: float) -> datetime:
    """The moment of a Unix time in s, ms, µs or ns, in whole microseconds. Raises `NotATime`."""
    unit = _unit(count)
    # Whole microseconds first: a float has no room for the nanoseconds of today.
    if type(count) is int:
        whole = count // 1_000 if unit == 3 else count * (1_000_000 // _PER_SECOND[unit])
    else:
        whole = round(count * (1e6 / _PER_SECOND[unit]))
    if whole < _EXACT:
        return datetime.fromtimestamp(whole / 1e6, UTC)
    try:
        return EPOCH + timedelta(0, 0, whole)
    except OverflowError:
        raise NotATime from None


def from_counts(counts: Sequence[int]) -> list[int] | None:
    """The microseconds of what `from_count` makes of each; None where their units differ.

    Raises `NotATime`.
    """
    unit = _unit(min(counts))
    if unit != _unit(max(counts)):
        return None
    if unit == 3:
        return [count // 1_000 for count in counts]
    factor = 1_000_000 // _PER_SECOND[unit]
    return [count * factor for count in counts]


def _unit(count: float) -> int:
    """The place in `_PER_SECOND` of the unit that a count of this magnitude is of."""
    if not 0 <= count < _BOUNDS[-1]:
        raise NotATime
    unit = 0
    while count >= _BOUNDS[unit]:
        unit += 1
    return unit
