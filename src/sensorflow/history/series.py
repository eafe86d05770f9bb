"""Series for charts: what the readings of each bucket of time come to.

Each bucket is made of the coarsest rollups that lie in it whole, of finer ones at its ends, and of
those readings that are not rolled up yet.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Final, Protocol

import msgspec

from sensorflow.disk import WIDTHS, Tier
from sensorflow.errors import Reason, Refusal
from sensorflow.history.buckets import ROUND, Bucket, edges
from sensorflow.sensors import Slice, Summary, Wanted
from sensorflow.times import EPOCH

MAX_POINTS: Final = 5_000
"""Buckets of a series."""

MAX_VALUES: Final = 50_000
"""Points of all series of an answer."""

MAX_SCANNED: Final = 500_000
"""Readings that are looked at for one answer."""

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""No reading was recorded before."""

FURTHEST: Final = timedelta(days=1)
"""No device's clock may be ahead by more."""

RETRY_AFTER: Final = 5


class Summarises(Protocol):
    """The storage, as series need it; `storage.base.Storage` states the promise."""

    async def complete_from(self) -> Mapping[Tier, datetime | None]: ...

    async def summarised(
        self, wanted: Wanted, slices: Mapping[Tier, Sequence[Slice]]
    ) -> list[Summary] | None: ...

    async def summarised_raw(
        self, wanted: Wanted, within: Slice, width: timedelta
    ) -> list[Summary] | None: ...


class OneSeries(msgspec.Struct, gc=False):
    """A measurement of a sensor, bucket by bucket; None where a bucket holds nothing."""

    sensor_id: str
    measurement: str
    average: list[float | None]
    minimum: list[float | None]
    maximum: list[float | None]
    count: list[int]


class Answer(msgspec.Struct, gc=False):
    """Series over the same buckets."""

    start: datetime
    """When the first bucket begins."""
    end: datetime
    """When the last bucket ends."""
    bucket: str
    timezone: str
    tier: Tier
    """The finest that was read, but for the readings that are not rolled up yet."""
    at: list[int]
    """When each bucket begins, in Unix milliseconds."""
    series: list[OneSeries]


class Question(msgspec.Struct, gc=False, frozen=True):
    """What somebody wants to see."""

    sensors: Sequence[str]
    measurements: Sequence[str]
    """Of these; of all where there are none."""
    start: datetime
    end: datetime
    bucket: Bucket | int
    """How long buckets are, or how many there may be."""


class SeriesReader:
    """Answers questions from the tiers that there are."""

    def __init__(self, storage: Summarises, zone: tzinfo, zone_name: str) -> None:
        self._storage = storage
        self._zone = zone
        self._zone_name = zone_name

    async def read(self, question: Question, now: datetime) -> Answer:
        """Raises `StorageUnavailable`, or a `Refusal`."""
        start = min(max(question.start, EARLIEST), now + FURTHEST)
        end = max(min(question.end, now + FURTHEST), start + timedelta(seconds=1))
        if isinstance(question.bucket, int):
            series = len(question.sensors) * max(1, len(question.measurements))
            if series * question.bucket > MAX_VALUES:
                raise _too_many_points()
        wanted = Wanted(question.sensors, question.measurements, MAX_SCANNED)
        complete = await self._storage.complete_from()
        bucket, grid = self._grid(question.bucket, start, end)
        tiers = _there(complete, grid[0])
        if Tier.RAW in tiers and _needs_raw(bucket):
            found = await self._storage.summarised_raw(
                wanted, (grid[0], grid[-1]), timedelta(seconds=bucket.seconds)
            )
            if found is not None:
                return await asyncio.to_thread(
                    self._answer, question, bucket, Tier.RAW, grid, found
                )
        tiers = [tier for tier in tiers if tier is not Tier.RAW] or [Tier.DAY]
        if not _served_by(bucket, tiers[0]):
            bucket, grid = self._coarser(bucket, tiers[0], start, end)
        slices = _slices(grid, tiers)
        found = await self._storage.summarised(wanted, slices)
        if found is None:
            raise Refusal(
                Reason.HISTORY_BEHIND,
                "The readings that are there are still being rolled up; ask again in a while, or "
                "for a shorter range.",
                retry_after=RETRY_AFTER,
            )
        finest = next(tier for tier in Tier if slices.get(tier))
        # As many values as there may be take tens of milliseconds.
        return await asyncio.to_thread(self._answer, question, bucket, finest, grid, found)

    def _grid(
        self, asked: Bucket | int, start: datetime, end: datetime
    ) -> tuple[Bucket, list[datetime]]:
        if isinstance(asked, Bucket):
            if (end - start).total_seconds() / asked.seconds > 2 * MAX_POINTS:
                raise _too_many_points()
            grid = edges(asked, start, end, self._zone)
            if len(grid) > MAX_POINTS + 1:
                raise _too_many_points()
            return asked, grid
        for bucket in ROUND:
            if (end - start).total_seconds() / bucket.seconds <= asked + 2:
                grid = edges(bucket, start, end, self._zone)
                if len(grid) <= asked + 1:
                    break
        return bucket, grid

    def _coarser(
        self, bucket: Bucket, tier: Tier, start: datetime, end: datetime
    ) -> tuple[Bucket, list[datetime]]:
        """The shortest round bucket, no shorter than the one before, that the tier serves."""
        for longer in ROUND:
            if longer.seconds >= bucket.seconds and _served_by(longer, tier):
                break
        return longer, edges(longer, start, end, self._zone)

    def _answer(
        self,
        question: Question,
        bucket: Bucket,
        tier: Tier,
        grid: list[datetime],
        found: list[Summary],
    ) -> Answer:
        number = len(grid) - 1
        keys = {(summary.sensor_id, summary.measurement) for summary in found}
        keys |= {(s, m) for s in question.sensors for m in question.measurements}
        if len(keys) * number > MAX_VALUES:
            raise _too_many_points()
        order = {sensor: place for place, sensor in enumerate(question.sensors)}
        summed = {
            key: _Summed(number) for key in sorted(keys, key=lambda key: (order[key[0]], key[1]))
        }
        for summary in found:
            place = bisect_right(grid, summary.at) - 1
            summed[summary.sensor_id, summary.measurement].add(place, summary)
        return Answer(
            grid[0],
            grid[-1],
            str(bucket),
            self._zone_name,
            tier,
            [(moment - EPOCH) // timedelta(milliseconds=1) for moment in grid[:-1]],
            [one.told(*key) for key, one in summed.items()],
        )


class _Summed:
    """A series on its way: what comes from several places is added up."""

    def __init__(self, number: int) -> None:
        self._found: list[Summary | None] = [None] * number

    def add(self, place: int, summary: Summary) -> None:
        known = self._found[place]
        if known is not None:
            summary = known._replace(
                values=known.values + summary.values,
                sum=known.sum + summary.sum,
                minimum=min(known.minimum, summary.minimum),
                maximum=max(known.maximum, summary.maximum),
            )
        self._found[place] = summary

    def told(self, sensor_id: str, measurement: str) -> OneSeries:
        found = self._found
        return OneSeries(
            sensor_id,
            measurement,
            [one and _average(one) for one in found],
            [one and one.minimum for one in found],
            [one and one.maximum for one in found],
            [one.values if one else 0 for one in found],
        )


def _average(summary: Summary) -> float:
    # Sums of values near what a double holds are cut off, and any sum is rounded.
    return max(summary.minimum, min(summary.maximum, summary.sum / summary.values))


def _needs_raw(bucket: Bucket) -> bool:
    return not _served_by(bucket, Tier.MINUTE)


def _served_by(bucket: Bucket, tier: Tier) -> bool:
    """Whether rollups of the tier can make up the bucket, whole or nearly."""
    width = int(WIDTHS[tier].total_seconds())
    return bucket.seconds >= width and (bucket.calendar or bucket.seconds % width == 0)


def _there(complete: Mapping[Tier, datetime | None], start: datetime) -> list[Tier]:
    """The tiers from which nothing was removed since `start`, finest first.

    If there are none, the one that reaches back furthest.
    """
    begins = {tier: complete.get(tier) or EPOCH for tier in Tier}
    furthest = max(start, min(begins.values()))
    return [tier for tier in Tier if begins[tier] <= furthest]


def _slices(grid: Sequence[datetime], tiers: Sequence[Tier]) -> dict[Tier, list[Slice]]:
    """For each tier the slices of time that are read from it: together all of the grid."""
    slices: dict[Tier, list[Slice]] = {}
    longest = max(end - start for start, end in pairwise(grid))
    tiers = [tier for tier in tiers if WIDTHS[tier] <= longest] or tiers[:1]
    for start, end in pairwise(grid):
        _cover(start, end, tiers, slices)
    return slices


def _cover(
    start: datetime, end: datetime, tiers: Sequence[Tier], slices: dict[Tier, list[Slice]]
) -> None:
    """Take what fits whole from the coarsest tier, and the ends from those that are finer."""
    if start >= end:
        return
    *finer, tier = tiers
    width = WIDTHS[tier]
    if not finer:
        slices.setdefault(tier, []).append((start, end))
        return
    first = start + (EPOCH - start) % width
    last = end - (end - EPOCH) % width
    if first >= last:
        _cover(start, end, finer, slices)
        return
    slices.setdefault(tier, []).append((first, last))
    _cover(start, first, finer, slices)
    _cover(last, end, finer, slices)


def _too_many_points() -> Refusal:
    return Refusal(
        Reason.TOO_MANY_POINTS,
        f"A series has at most {MAX_POINTS:,} buckets, and all series of an answer {MAX_VALUES:,}; "
        "ask for a shorter range, longer buckets, or fewer sensors and measurements.",
        field="bucket",
    )
