"""When a reading was measured, in every way a device may say it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorflow.errors import Reason, Refusal
from sensorflow.ingest.times import device_time, time_ago
from sensorflow.times import EPOCH, MILLISECONDS, from_count

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


def parsed(value: object) -> datetime:
    return device_time(value, NOW, repr)


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-31T12:00:00.123456Z",
        "2026-01-31T09:00:00.123456-03:00",
        1_769_860_800.123456,
        1_769_860_800_123.456,
        1_769_860_800_123_456,
        1_769_860_800_123_456_000,
        1_769_860_800_123_456_999,
        "1769860800.123456",
        "1769860800123456",
        "1769860800123456789",
    ],
)
def test_the_same_moment_in_every_way(value: object) -> None:
    assert parsed(value) == NOON


@given(
    st.integers(MILLISECONDS.start, MILLISECONDS.stop - 1)
    | st.sampled_from((MILLISECONDS.start, MILLISECONDS.stop - 1))
)
def test_a_count_of_milliseconds_is_exact_in_either_way(count: int) -> None:
    exact = EPOCH + timedelta(milliseconds=count)
    assert datetime.fromtimestamp(count / 1e3, UTC) == from_count(count) == exact


@given(st.integers(946_684_800_000_000, 1_795_000_000_000_000))
def test_units_are_told_apart_by_magnitude(microseconds: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    whole = moment.replace(microsecond=0)
    assert parsed(microseconds) == parsed(microseconds * 1000) == moment
    assert parsed(microseconds // 1_000_000) == whole
    assert parsed(microseconds // 1_000) == moment - timedelta(microseconds=microseconds % 1000)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0, Reason.CLOCK_NOT_SET),
        (86_400, Reason.CLOCK_NOT_SET),
        ("1970-01-01T00:00:00Z", Reason.CLOCK_NOT_SET),
        (4_000_000_000, Reason.CLOCK_AHEAD),
        ("2026-11-25T12:00:01Z", Reason.CLOCK_AHEAD),
        ("2026-01-31T12:00:00", Reason.BAD_RECORDED_AT),
        ("yesterday", Reason.BAD_RECORDED_AT),
        ("", Reason.BAD_RECORDED_AT),
        ("1e9", Reason.BAD_RECORDED_AT),
        (-1, Reason.BAD_RECORDED_AT),
        (-0.5, Reason.BAD_RECORDED_AT),
        (10**20, Reason.BAD_RECORDED_AT),
        (10**400, Reason.BAD_RECORDED_AT),
        (1.7e308, Reason.BAD_RECORDED_AT),
        (True, Reason.BAD_RECORDED_AT),
        (None, Reason.BAD_RECORDED_AT),
        ([], Reason.BAD_RECORDED_AT),
    ],
)
def test_what_cannot_be_right_is_refused_by_its_name(value: object, reason: Reason) -> None:
    with pytest.raises(Refusal) as caught:
        parsed(value)
    assert (caught.value.reason, caught.value.field) == (reason, "recorded_at")


def test_a_day_ahead_is_still_taken() -> None:
    assert parsed("2026-11-25T12:00:00Z") == NOW + timedelta(days=1)


def test_an_age_is_how_long_ago() -> None:
    assert time_ago(90_000, NOW) == NOW - timedelta(seconds=90)
    assert time_ago(0, NOW) == NOW
    assert time_ago(0.5, NOW) == NOW - timedelta(microseconds=500)


@pytest.mark.parametrize("age", [None, -1, -1e-9, 1e12, 1e18, 1e308])
def test_an_age_that_cannot_be_right_is_refused(age: float | None) -> None:
    with pytest.raises(Refusal) as caught:
        time_ago(age, NOW)
    assert (caught.value.reason, caught.value.field) == (Reason.BAD_RECORDED_AT, "age_ms")
