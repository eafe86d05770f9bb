"""Buckets beside the calendar: where they begin, in zones of every kind."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorflow.errors import Reason, Refusal
from sensorflow.history.buckets import ROUND, Bucket, edges, parse_bucket

ZONES = ["UTC", "America/Sao_Paulo", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia"]


def test_a_bucket_is_written_as_it_is_read() -> None:
    for text in ("10s", "5m", "1h", "1d", "1w", "1M", "90s"):
        assert str(parse_bucket(text)) == text


@pytest.mark.parametrize("text", ["", "5", "m", "0s", "-1h", "1y", "1.5h", "10000s", "5 m", "１h"])
def test_what_is_no_bucket_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_bucket(text)
    assert caught.value.reason is Reason.BAD_BUCKET


moments = st.datetimes(datetime(2000, 1, 2), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
buckets = st.sampled_from([*ROUND, Bucket(90, "s"), Bucket(7, "m"), Bucket(2, "d"), Bucket(3, "w")])


def begins(bucket: Bucket, moment: datetime, zone: ZoneInfo) -> bool:
    """Whether a bucket of the calendar may begin at the moment, by its wall clock."""
    local = moment.astimezone(zone)
    before = (moment - timedelta(microseconds=1)).astimezone(zone)
    if local.date() == before.date():
        return False
    if bucket.unit == "w":
        return local.weekday() == 0
    return bucket.unit == "d" or local.day == 1


@given(buckets, moments, st.integers(1, 40), st.sampled_from(ZONES))
def test_buckets_cover_the_range_and_nothing_else(
    bucket: Bucket, start: datetime, many: int, name: str
) -> None:
    zone = ZoneInfo(name)
    end = start + timedelta(seconds=bucket.seconds * many / 3)
    found = edges(bucket, start, end, zone)
    assert found == sorted(set(found))
    assert found[0] <= start < found[1]
    assert found[-2] < end <= found[-1]
    if bucket.calendar:
        assert all(begins(bucket, moment, zone) for moment in found)
    else:
        assert {b - a for a, b in pairwise(found)} == {timedelta(seconds=bucket.seconds)}
        assert found[0].timestamp() % bucket.seconds == 0


def test_the_days_on_which_clocks_change_are_shorter_or_longer() -> None:
    def hours(zone: str, day: datetime) -> list[float]:
        found = edges(Bucket(1, "d"), day, day + timedelta(hours=47), ZoneInfo(zone))
        return [(b - a) / timedelta(hours=1) for a, b in pairwise(found)]

    # In São Paulo clocks went from midnight to one o'clock, and back before midnight.
    assert hours("America/Sao_Paulo", datetime(2018, 11, 3, 3, tzinfo=UTC)) == [24, 23]
    assert hours("America/Sao_Paulo", datetime(2018, 2, 16, 2, tzinfo=UTC)) == [24, 25]
    assert hours("Europe/Berlin", datetime(2025, 3, 28, 23, tzinfo=UTC)) == [24, 23]
    assert hours("Europe/Berlin", datetime(2025, 10, 24, 22, tzinfo=UTC)) == [24, 25]
    # Samoa left out a whole day.
    assert hours("Pacific/Apia", datetime(2011, 12, 29, 10, tzinfo=UTC)) == [24, 24]


def test_a_week_begins_on_monday_and_a_month_on_its_first_day() -> None:
    zone = ZoneInfo("Asia/Kathmandu")
    noon = datetime(2026, 7, 15, 12, tzinfo=UTC)
    (week, *_) = edges(Bucket(1, "w"), noon, noon + timedelta(1), zone)
    (month, *_) = edges(Bucket(1, "M"), noon, noon + timedelta(1), zone)
    (quarter, *_) = edges(Bucket(3, "M"), noon, noon + timedelta(1), zone)
    assert week.astimezone(zone) == datetime(2026, 7, 13, tzinfo=zone)
    assert month.astimezone(zone) == quarter.astimezone(zone) == datetime(2026, 7, 1, tzinfo=zone)
