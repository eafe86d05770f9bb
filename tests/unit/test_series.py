"""Which tiers a series is read from, where some have lost their oldest rows."""

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sensorflow.disk import Tier
from sensorflow.history.buckets import parse_bucket
from sensorflow.history.series import Answer, Question, SeriesReader
from sensorflow.sensors import Slice, Summary, Wanted

NOW = datetime(2026, 11, 25, tzinfo=UTC)


class Storage:
    """One that has nothing, since the moments that the test says."""

    def __init__(self, days: Mapping[Tier, int]) -> None:
        self._complete = {tier: NOW - timedelta(days=n) for tier, n in days.items()}
        self.slices: Mapping[Tier, Sequence[Slice]] = {}

    async def complete_from(self) -> Mapping[Tier, datetime | None]:
        return {tier: self._complete.get(tier) for tier in Tier}

    async def summarised(
        self, wanted: Wanted, slices: Mapping[Tier, Sequence[Slice]]
    ) -> list[Summary]:
        self.slices = slices
        return []

    async def summarised_raw(
        self, wanted: Wanted, within: Slice, width: timedelta
    ) -> list[Summary]:
        return []


async def ask(
    storage: Storage, days: float, bucket: str, zone: str = "UTC", length: float = 1 / 24
) -> Answer:
    start = NOW - timedelta(days=days)
    end = start + timedelta(days=length)
    question = Question(["a"], ["x"], start, end, parse_bucket(bucket))
    return await SeriesReader(storage, ZoneInfo(zone), zone).read(question, NOW)


@pytest.mark.parametrize(
    ("days", "bucket", "zone", "tier", "served"),
    [
        (1, "10s", "UTC", Tier.RAW, "10s"),
        (10, "10s", "UTC", Tier.MINUTE, "1m"),
        (10, "90s", "UTC", Tier.MINUTE, "2m"),
        (10, "5m", "UTC", Tier.MINUTE, "5m"),
        (60, "10s", "UTC", Tier.HOUR, "1h"),
        (60, "2h", "UTC", Tier.HOUR, "2h"),
        (600, "10s", "UTC", Tier.DAY, "1d"),
        # Hours that lie in two days count in the one in which they begin.
        (60, "1d", "Asia/Kathmandu", Tier.HOUR, "1d"),
        # Of nothing that goes back so far, the one that goes back furthest.
        (6_000, "5m", "UTC", Tier.DAY, "1d"),
    ],
)
async def test_what_is_left_serves(
    days: int, bucket: str, zone: str, tier: Tier, served: str
) -> None:
    storage = Storage({Tier.RAW: 7, Tier.MINUTE: 30, Tier.HOUR: 365, Tier.DAY: 3_650})
    answer = await ask(storage, days, bucket, zone)
    assert (answer.tier, answer.bucket) == (tier, served)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu"])
@pytest.mark.parametrize("bucket", ["5m", "45m", "1h", "5h", "1d", "1w", "1M"])
async def test_slices_join_without_a_gap(zone: str, bucket: str) -> None:
    storage = Storage({})
    answer = await ask(storage, 90, bucket, zone, length=10)
    found = sorted(one for of_tier in storage.slices.values() for one in of_tier)
    assert (found[0][0], found[-1][1]) == (answer.start, answer.end)
    assert all(one[1] == other[0] for one, other in itertools.pairwise(found))


async def test_a_month_of_a_zone_is_days_and_the_hours_at_its_ends() -> None:
    storage = Storage({})
    answer = await ask(storage, 90, "1M", "Europe/Berlin")
    assert answer.tier is Tier.HOUR
    days = storage.slices[Tier.DAY]
    hours = storage.slices[Tier.HOUR]
    assert [end - start for start, end in days] == [timedelta(days=30)]
    assert [end - start for start, end in hours] == [timedelta(hours=2), timedelta(hours=22)]
