"""Series beside a plain computation over the readings, on every backend."""

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorflow.disk import Tier
from sensorflow.errors import Reason, Refusal
from sensorflow.history import series
from sensorflow.history.buckets import Bucket, parse_bucket
from sensorflow.history.follower import Follower
from sensorflow.history.ledger import Ledger
from sensorflow.history.series import Answer, Question, SeriesReader
from sensorflow.metrics.by_sensor import BySensor
from sensorflow.readings import Clock, Reading
from sensorflow.storage.base import Storage
from tests.helpers import NOON

ZONES = ["UTC", "America/Sao_Paulo", "Europe/Berlin", "Asia/Kathmandu"]
NAMES = ["temperature", "humidity", "co2"]
BUCKETS = ["1s", "10s", "90s", "1m", "5m", "45m", "1h", "12h", "1d", "2d", "1w", "1M", "3M"]
NOW = datetime(2026, 11, 25, tzinfo=UTC)
# Around a change of clocks in each of the zones, and the beginning of a month.
AROUND = [
    datetime(2018, 11, 4, 3, tzinfo=UTC),
    datetime(2018, 2, 18, 2, tzinfo=UTC),
    datetime(2025, 3, 30, 1, tzinfo=UTC),
    datetime(2025, 6, 30, 18, 15, tzinfo=UTC),
]
_prefixes = count()


def reader(storage: Storage, zone: str = "UTC") -> SeriesReader:
    return SeriesReader(storage, ZoneInfo(zone), zone)


async def follow(storage: Storage, pages: int = 1_000) -> None:
    follower = Follower(storage, Ledger(storage, BySensor()), page=7)
    newest = await storage.newest()
    while pages and newest is not None and (await storage.lead() or 0) < (newest.id or 0):
        await follower.turn()
        pages -= 1


def reading(sensor: str, at: datetime, **measurements: float) -> Reading:
    return Reading(sensor, measurements, at, Clock.SERVER, NOON, None)


class Case(NamedTuple):
    """What is stored, what of it is removed, how far it is followed, and what is asked."""

    around: datetime
    readings: list[tuple[str, int, dict[str, float]]]
    late: list[tuple[str, int, dict[str, float]]]
    removed: tuple[str, str]
    pages: int
    zone: str
    start: int
    length: int
    bucket: Bucket | int
    sensors: list[str]
    measurements: list[str]


_rows = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.one_of(st.integers(-300, 300), st.integers(-2_000_000, 2_000_000)),
        st.dictionaries(st.sampled_from(NAMES), st.floats(-1e6, 1e6), min_size=1),
    ),
    max_size=25,
)
cases = st.builds(
    Case,
    st.sampled_from(AROUND),
    _rows,
    _rows,
    st.tuples(st.sampled_from("abc"), st.sampled_from(["never", "before late", "at last"])),
    st.integers(0, 4),
    st.sampled_from(ZONES),
    st.one_of(st.integers(-400, 400), st.integers(-2_000_000, 2_000_000)),
    st.one_of(st.integers(1, 1_000), st.integers(1, 5_000_000)),
    st.one_of(st.sampled_from(BUCKETS).map(parse_bucket), st.integers(10, 200)),
    st.lists(st.sampled_from("abc"), min_size=1, unique=True),
    st.lists(st.sampled_from(NAMES), unique=True),
)


def plainly(case: Case, sent: Sequence[Reading], answer: Answer) -> dict[Any, list[float]]:
    """The values of each bucket, by the wall clock of the zone where it is one of a calendar."""
    found: dict[Any, list[float]] = defaultdict(list)
    for one in sent:
        if answer.start <= one.recorded_at < answer.end:
            place = key_of(parse_bucket(answer.bucket), one.recorded_at, ZoneInfo(case.zone))
            for name, value in one.measurements.items():
                found[one.sensor_id, name, place].append(value)
    return found


def key_of(bucket: Bucket, moment: datetime, zone: ZoneInfo) -> object:
    day = moment.astimezone(zone).date()
    if bucket.unit == "d":
        return (day.toordinal() - datetime(1970, 1, 1).toordinal()) // bucket.number  # noqa: DTZ001
    if bucket.unit == "w":
        return (day.toordinal() - datetime(1970, 1, 5).toordinal()) // 7 // bucket.number  # noqa: DTZ001
    if bucket.unit == "M":
        return ((day.year - 1970) * 12 + day.month - 1) // bucket.number
    return moment.timestamp() // bucket.seconds


async def remove(storage: Storage, sensor: str) -> None:
    while (step := await storage.remove_some(sensor, 4)) is not None and not step.done:
        pass


async def hold(storage: Storage, case: Case) -> None:
    prefix = f"{next(_prefixes)}-"
    sent = [
        reading(prefix + s, case.around + timedelta(seconds=at / 2), **values)
        for s, at, values in case.readings
    ]
    late = [
        reading(prefix + s, case.around + timedelta(seconds=at / 2), **values)
        for s, at, values in case.late
    ]
    if sent:
        await storage.append(sent)
    await follow(storage)
    gone, when = case.removed
    if when == "before late":
        await remove(storage, prefix + gone)
        sent = [one for one in sent if one.sensor_id != prefix + gone]
    if late:
        await storage.append(late)
    await follow(storage, case.pages)
    sent += late
    if when == "at last":
        await remove(storage, prefix + gone)
        sent = [one for one in sent if one.sensor_id != prefix + gone]
    start = case.around + timedelta(seconds=case.start)
    question = Question(
        [prefix + s for s in case.sensors],
        case.measurements,
        start,
        start + timedelta(seconds=case.length),
        case.bucket,
    )
    try:
        answer = await reader(storage, case.zone).read(question, NOW)
    except Refusal as refusal:
        assert refusal.reason is Reason.TOO_MANY_POINTS
        assert isinstance(case.bucket, Bucket)
        assert case.length / case.bucket.seconds > series.MAX_POINTS - 2
        return
    assert answer.start <= question.start
    assert question.end <= answer.end
    if isinstance(case.bucket, int):
        assert len(answer.at) <= case.bucket
    else:
        assert answer.bucket == str(case.bucket)
    expected = plainly(case, sent, answer)
    zone = ZoneInfo(case.zone)
    told: dict[Any, list[float]] = {}
    for one in answer.series:
        columns = zip(answer.at, one.average, one.minimum, one.maximum, one.count, strict=True)
        for at, average, minimum, maximum, number in columns:
            moment = datetime.fromtimestamp(at / 1000, UTC)
            key = (
                one.sensor_id,
                one.measurement,
                key_of(parse_bucket(answer.bucket), moment, zone),
            )
            values = expected.get(key, [])
            told[key] = values
            assert number == len(values)
            if not values:
                assert (average, minimum, maximum) == (None, None, None)
                continue
            assert (minimum, maximum) == (min(values), max(values))
            assert average == pytest.approx(
                math.fsum(values) / number,
                rel=0,
                abs=1e-9 * math.fsum(map(abs, values)) / number,
            )
    asked = {
        key
        for key in expected
        if key[0] in question.sensors and (not case.measurements or key[1] in case.measurements)
    }
    assert asked <= told.keys()
    if case.measurements:
        assert len(answer.series) == len(case.sensors) * len(case.measurements)


_shared_between_examples = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)


@settings(_shared_between_examples, max_examples=40)
@given(cases)
async def test_series_are_what_the_readings_come_to(any_storage: Storage, case: Case) -> None:
    await hold(any_storage, case)


@pytest.mark.long
@pytest.mark.timeout(1200)
@settings(_shared_between_examples, max_examples=1_500)
@given(cases)
async def test_series_are_what_the_readings_come_to_in_full_counts(
    any_storage: Storage, case: Case
) -> None:
    await hold(any_storage, case)


async def ask(
    storage: Storage, start: datetime, hours: float, bucket: str | int, zone: str = "UTC"
) -> Answer:
    asked = parse_bucket(bucket) if isinstance(bucket, str) else bucket
    question = Question(["a"], [], start, start + timedelta(hours=hours), asked)
    return await reader(storage, zone).read(question, NOW)


async def test_the_coarsest_tier_that_serves_is_read(any_storage: Storage) -> None:
    midnight = NOON.replace(hour=0)
    served = {
        ("10s", "UTC"): Tier.RAW,
        ("90s", "UTC"): Tier.RAW,
        ("5m", "UTC"): Tier.MINUTE,
        ("2h", "Europe/Berlin"): Tier.HOUR,
        ("1d", "UTC"): Tier.DAY,
        ("1M", "UTC"): Tier.DAY,
        ("1d", "Europe/Berlin"): Tier.HOUR,
        ("1d", "Asia/Kathmandu"): Tier.MINUTE,
    }
    for (bucket, zone), tier in served.items():
        assert (await ask(any_storage, midnight, 3, bucket, zone)).tier is tier


@pytest.mark.parametrize(
    ("hours", "bucket"), [(1, "5s"), (24, "2m"), (720, "1h"), (8_760, "12h"), (262_800, "1M")]
)
async def test_as_many_points_as_asked_for(any_storage: Storage, hours: int, bucket: str) -> None:
    answer = await ask(any_storage, datetime(2001, 1, 1, tzinfo=UTC), hours, 1_000)
    assert (answer.bucket, len(answer.at) <= 1_000) == (bucket, True)


async def test_too_many_readings_are_served_from_rollups(
    any_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await any_storage.append([reading("a", NOON + timedelta(seconds=n), x=1.0) for n in range(9)])
    await follow(any_storage)
    assert (await ask(any_storage, NOON, 0.1, "1s")).tier is Tier.RAW
    monkeypatch.setattr(series, "MAX_SCANNED", 8)
    answer = await ask(any_storage, NOON, 0.1, "1s")
    assert (answer.tier, answer.bucket) == (Tier.MINUTE, "1m")
    assert answer.series[0].count == [9, 0, 0, 0, 0, 0]


async def test_who_asks_before_all_is_rolled_up_is_told_so(
    any_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await any_storage.append([reading("a", NOON + timedelta(seconds=n), x=1.0) for n in range(9)])
    assert (await ask(any_storage, NOON, 1, "1h")).series[0].count == [9]
    monkeypatch.setattr(series, "MAX_SCANNED", 8)
    with pytest.raises(Refusal) as caught:
        await ask(any_storage, NOON, 1, "1h")
    assert caught.value.reason is Reason.HISTORY_BEHIND


async def test_ranges_without_end_are_cut_to_what_can_hold_readings(any_storage: Storage) -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    day = timedelta(days=1)
    for start, end in ((first, last), (last - day, last), (first, first + day)):
        question = Question(["a"], ["x"], start, end, 10)
        answer = await reader(any_storage).read(question, NOW)
        assert datetime(1999, 1, 1, tzinfo=UTC) < answer.start
        assert answer.series[0].count == [0] * len(answer.at)
