"""The range of time a reader asks for: `start` and `end`, as every history route takes them."""

import re
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sensorflow.errors import Reason, Refusal
from sensorflow.times import NoOffset, NotATime, from_text

_UNITS: Final = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}
_AGO: Final = re.compile(r"-([0-9]{1,9})([smhdwy])")
# Who does not escape the + of an offset in an address sends a space.
_BARE_PLUS: Final = re.compile(r"(.*[0-9]:[0-9.]+) ([0-9]{2}:?[0-9]{2})")
_SHOWN_LENGTH: Final = 40


class Range(NamedTuple):
    """From `start`, which belongs to it, to before `end`; None where it has no such bound.

    Times are aware and in UTC.
    """

    start: datetime | None
    end: datetime | None


def parse_range(start: str | None, end: str | None, now: datetime) -> Range:
    """What the parameters say at the moment `now`; None: not given.

    Each is RFC 3339 with an offset, Unix time in s, ms, µs or ns as in readings, `now`, or how
    long ago: `-30m`, in s, m, h, d, w or y (365 days). Raises a `Refusal` by name.
    """
    found = Range(
        None if start is None else _moment(start, "start", now),
        None if end is None else _moment(end, "end", now),
    )
    if found.start is not None and found.end is not None and found.start >= found.end:
        raise Refusal(
            Reason.BAD_RANGE,
            "start must be before end: start belongs to the range, end does not.",
            field="start",
        )
    return found


def _moment(text: str, field: str, now: datetime) -> datetime:
    if text == "now":
        return now
    try:
        if ago := _AGO.fullmatch(text):
            return now - int(ago[1]) * _UNITS[ago[2]]
        if bare := _BARE_PLUS.fullmatch(text):
            text = f"{bare[1]}+{bare[2]}"
        return from_text(text)
    except NoOffset:
        raise Refusal(
            Reason.BAD_RANGE,
            f"{field} has no UTC offset; end it with Z or an offset such as -03:00.",
            field=field,
        ) from None
    except (NotATime, OverflowError):
        shown = repr(text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…")
        raise Refusal(
            Reason.BAD_RANGE,
            f"{field} is no time: {shown}; write 2026-01-31T12:00:00Z, Unix time, now, or how long "
            "ago, such as -24h.",
            field=field,
        ) from None
