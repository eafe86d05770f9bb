"""When a reading was measured, as devices say it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from sensorflow.errors import Reason, Refusal
from sensorflow.times import EPOCH, NoOffset, NotATime, from_count, from_text

EARLIEST_RECORDED_AT: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Devices without a set clock report 1970 or a date near their firmware's build."""

MAX_CLOCK_AHEAD: Final = timedelta(days=1)


def device_time(value: object, received_at: datetime, shown: Callable[[object], str]) -> datetime:
    """`recorded_at` as RFC 3339, or as Unix time in s, ms, µs or ns, told apart by magnitude.

    Returns it in UTC. Raises a `Refusal` for anything else, which `shown` puts into words, and for
    a clock that cannot be right.
    """
    kind = type(value)
    try:
        if kind is int or kind is float:
            recorded_at = from_count(value)  # type: ignore[arg-type]
        elif kind is str:
            recorded_at = from_text(value)  # type: ignore[arg-type]
        else:
            raise Refusal(
                Reason.BAD_RECORDED_AT,
                'recorded_at must be a string such as "2026-01-31T12:00:00Z", or Unix time; '
                "leave it out if the device has no clock.",
                field="recorded_at",
            )
    except NoOffset:
        raise Refusal(
            Reason.BAD_RECORDED_AT,
            "recorded_at has no UTC offset; end it with Z or an offset such as -03:00.",
            field="recorded_at",
        ) from None
    except NotATime:
        raise Refusal(
            Reason.BAD_RECORDED_AT,
            f"recorded_at is no RFC 3339 time and no Unix time: {shown(value)}; "
            'write it as "2026-01-31T12:00:00Z".',
            field="recorded_at",
        ) from None
    # As nearly all are; the call takes as long as the comparison.
    if EARLIEST_RECORDED_AT <= recorded_at <= received_at:
        return recorded_at
    return _plausible(recorded_at, received_at)


def time_of_count(count: int, nanoseconds: int, received_at: datetime) -> datetime:
    """What a count of units of so many nanoseconds since 1970 says, in whole microseconds.

    Raises a `Refusal` for a clock that cannot be right.
    """
    try:
        recorded_at = EPOCH + timedelta(microseconds=count * nanoseconds // 1_000)
    except OverflowError:
        raise Refusal(
            Reason.BAD_RECORDED_AT,
            "The timestamp is beyond all years; it counts nanoseconds, or what precision= says.",
            field="recorded_at",
        ) from None
    return _plausible(recorded_at, received_at)


def _plausible(recorded_at: datetime, received_at: datetime) -> datetime:
    if recorded_at < EARLIEST_RECORDED_AT:
        raise Refusal(
            Reason.CLOCK_NOT_SET,
            f"recorded_at is {recorded_at:%Y-%m-%d}: the device's clock is not set. "
            "Set it (NTP), or leave recorded_at out to use the server's time.",
            field="recorded_at",
        )
    if recorded_at > received_at and recorded_at - received_at > MAX_CLOCK_AHEAD:
        raise Refusal(
            Reason.CLOCK_AHEAD,
            "recorded_at is more than a day ahead of the server's clock; check the device's clock.",
            field="recorded_at",
        )
    return recorded_at


def time_ago(age: float | None, received_at: datetime) -> datetime:
    """When it was `age` milliseconds before `received_at`; None: the device sent no number."""
    if age is None or age < 0:
        raise Refusal(
            Reason.BAD_RECORDED_AT,
            "age_ms must be how many milliseconds ago it was measured, 0 or more.",
            field="age_ms",
        )
    try:
        measured_at = received_at - timedelta(milliseconds=age)
    except OverflowError:
        measured_at = EPOCH
    if measured_at < EARLIEST_RECORDED_AT:
        raise Refusal(
            Reason.BAD_RECORDED_AT,
            "age_ms reaches back beyond the year 2000; it counts milliseconds.",
            field="age_ms",
        )
    return measured_at
