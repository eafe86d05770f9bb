"""The rules of what goes, and the task that follows them."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sensorflow.disk import WIDTHS, Drop, Dropped, Fill, Held, Size, Tier, Undroppable, Why
from sensorflow.errors import StorageUnavailable
from sensorflow.history import keeper
from sensorflow.history.keeper import Keeper
from sensorflow.history.retention import FULL, RELIEVED, Policy, cut, growth, reached
from sensorflow.metrics import Metrics

NOW = datetime(2026, 7, 1, 12, 34, 56, tzinfo=UTC)
DAY = timedelta(days=1)
BUDGET = 1_000_000

spans = st.integers(1, 100_000).map(lambda hours: timedelta(hours=hours))


def held(bytes: int, oldest: datetime | None, newest: datetime | None = NOW) -> Held:  # noqa: A002
    return Held(bytes, bytes // 100, oldest, newest if oldest is not None else None)


# The rules


@given(spans, st.sampled_from(list(WIDTHS)))
def test_a_bucket_goes_when_all_of_it_is_too_old(limit: timedelta, tier: Tier) -> None:
    before = Policy({tier: limit}).expired(tier, NOW)
    last_to_go = before - WIDTHS[tier]
    assert last_to_go + WIDTHS[tier] <= NOW - limit
    assert before + WIDTHS[tier] > NOW - limit


@given(spans)
def test_what_is_too_old_is_looked_for_in_time(limit: timedelta) -> None:
    pause = Policy({Tier.RAW: limit}).pause(Tier.RAW)
    assert timedelta(minutes=1) <= pause <= DAY
    assert pause <= limit / 32 or pause == timedelta(minutes=1)


def test_a_budget_has_room_for_what_comes_while_something_is_dropped() -> None:
    policy = Policy(budget=BUDGET)
    assert not policy.is_full(Fill(int(FULL * BUDGET), 0))
    assert policy.is_full(Fill(int(FULL * BUDGET) + 1, 0))
    assert policy.excess(Fill(int(RELIEVED * BUDGET), 0)) == 0
    assert policy.excess(Fill(BUDGET, 0)) == BUDGET - int(RELIEVED * BUDGET)
    assert not Policy().is_full(Fill(10**18, 0))


@given(
    st.sampled_from(list(WIDTHS)),
    st.integers(1, 10**12),
    st.integers(1, 10**12),
    st.integers(0, 40_000),
)
def test_rollups_are_cut_as_far_as_is_needed_and_never_the_newest(
    tier: Tier, size: int, excess: int, days: int
) -> None:
    oldest = (NOW - days * DAY).replace(hour=0, minute=0, second=0)
    before = cut(held(size, oldest), tier, excess, NOW)
    if before is None:
        assert oldest + WIDTHS[tier] > NOW - 61 * WIDTHS[tier]
        return
    assert oldest < before <= NOW - 60 * WIDTHS[tier]
    span = NOW + DAY - oldest
    assert before - oldest <= span * min(1, excess / size) + WIDTHS[tier] * 1.01


def test_nothing_is_cut_from_what_holds_nothing() -> None:
    assert cut(held(0, None), Tier.MINUTE, 100, NOW) is None


def test_the_day_is_foreseen_from_the_growth() -> None:
    policy = Policy(budget=BUDGET)
    sizes = [Size(NOW - 2 * DAY, 100_000), Size(NOW - DAY, 0), Size(NOW, 300_000)]
    per_day = growth(sizes)
    assert per_day == 100_000
    assert reached(policy, 300_000, per_day, NOW) == NOW + 6.5 * DAY
    assert reached(policy, 990_000, per_day, NOW) == NOW
    assert reached(policy, 300_000, -1.0, NOW) is None
    assert reached(policy, 300_000, 1e-9, NOW) is None
    assert reached(Policy(), 300_000, per_day, NOW) is None
    assert growth([]) is None
    assert growth(sizes[:1]) is None


# The task


class Cellar:
    """A disk in memory: raw in pieces, rollups in rows of one byte."""

    def __init__(self, pieces: int = 0, size: int = 10_000) -> None:
        self.pieces = [NOW - n * DAY for n in range(pieces)][::-1]
        self.size = size
        self.rollups: dict[Tier, Held] = {tier: held(0, None) for tier in WIDTHS}
        self.followed = True
        self.leads = True
        self.notes: list[Drop] = []
        self.measured: list[Size] = []
        self.cuts: list[tuple[Tier, datetime]] = []
        self.begun: list[tuple[int | None, datetime | None]] = []

    async def lead(self) -> bool:
        return self.leads

    async def fill(self) -> Fill:
        used = len(self.pieces) * self.size + sum(tier.bytes for tier in self.rollups.values())
        return Fill(used, used)

    async def begin_piece(self, bytes: int | None, since: datetime | None) -> bool:  # noqa: A002
        self.begun.append((bytes, since))
        return False

    async def drop_raw(self, before: datetime | None) -> Dropped | Undroppable:
        if not self.followed:
            return Undroppable.NOT_FOLLOWED
        if len(self.pieces) < 2 or (before is not None and self.pieces[0] >= before):
            return Undroppable.NONE_LEFT
        oldest = self.pieces.pop(0)
        return Dropped(Tier.RAW, 100, self.size, oldest, oldest)

    async def drop_rollups(self, tier: Tier, before: datetime) -> Dropped:
        self.cuts.append((tier, before))
        found = self.rollups[tier]
        if found.oldest is None or found.newest is None or before <= found.oldest:
            return Dropped(tier, 0, 0, None, before)
        part = (before - found.oldest) / (found.newest + DAY - found.oldest)
        gone = int(found.bytes * min(1.0, part))
        self.rollups[tier] = held(found.bytes - gone, before, found.newest)
        return Dropped(tier, gone, gone, None, before)

    async def note(self, drop: Drop) -> None:
        self.notes.append(drop)

    async def measure(self, size: Size, since: datetime) -> None:
        self.measured.append(size)

    async def held(self) -> Mapping[Tier, Held]:
        return self.rollups


def made(cellar: Cellar, policy: Policy) -> tuple[Keeper, Metrics]:
    metrics = Metrics()
    return Keeper(cellar, policy, metrics), metrics


def counted(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"sensorflow_{name}", labels)


async def test_without_limits_nothing_goes() -> None:
    cellar = Cellar(pieces=1_000)
    await made(cellar, Policy())[0].turn(NOW)
    assert len(cellar.pieces) == 1_000
    assert cellar.notes == []
    assert cellar.begun == [(None, None)]


async def test_what_is_too_old_goes_and_is_told() -> None:
    cellar = Cellar(pieces=100)
    task, metrics = made(cellar, Policy({Tier.RAW: 30 * DAY}))
    with capture_logs() as logs:
        await task.turn(NOW)
    assert cellar.pieces[0] == NOW - 30 * DAY
    (note,) = cellar.notes
    assert note == Drop(
        NOW, Why.AGE, Dropped(Tier.RAW, 6_900, 690_000, NOW - 99 * DAY, NOW - 31 * DAY)
    )
    assert counted(metrics, "dropped_rows_total", tier="raw") == 6_900
    assert counted(metrics, "dropped_bytes_total", tier="raw") == 690_000
    (line,) = logs
    assert (line["event"], line["tier"], line["rows"]) == ("dropped for its age", "raw", 6_900)
    await task.turn(NOW + timedelta(hours=1))
    assert len(cellar.notes) == 1


async def test_each_tier_has_its_own_limit() -> None:
    cellar = Cellar(pieces=2)
    for tier in WIDTHS:
        cellar.rollups[tier] = held(1_000, NOW - 1_000 * DAY)
    limits = {Tier.MINUTE: 30 * DAY, Tier.HOUR: 365 * DAY}
    await made(cellar, Policy(limits))[0].turn(NOW)
    assert [(tier, NOW - before) for tier, before in cellar.cuts] == [
        (Tier.MINUTE, 30 * DAY + timedelta(seconds=56)),
        (Tier.HOUR, 365 * DAY + timedelta(minutes=34, seconds=56)),
    ]
    assert {note.dropped.tier for note in cellar.notes} == {Tier.MINUTE, Tier.HOUR}


async def test_for_the_budget_the_oldest_readings_go_and_no_more_than_needed() -> None:
    cellar = Cellar(pieces=96)
    cellar.rollups[Tier.MINUTE] = held(100, NOW - 10 * DAY)
    task, metrics = made(cellar, Policy(budget=BUDGET))
    await task.turn(NOW)
    assert len(cellar.pieces) == 91
    assert cellar.pieces[0] == NOW - 90 * DAY
    assert cellar.cuts == []
    (note,) = cellar.notes
    assert (note.why, note.dropped.rows) == (Why.BUDGET, 500)
    assert counted(metrics, "storage_bytes") == 910_100
    assert counted(metrics, "disk_budget_bytes") == BUDGET


async def test_when_no_reading_is_left_the_finest_rollups_go() -> None:
    cellar = Cellar(pieces=10)
    cellar.rollups = {
        Tier.MINUTE: held(800_000, NOW - 100 * DAY),
        Tier.HOUR: held(200_000, NOW - 1_000 * DAY),
        Tier.DAY: held(100_000, NOW - 5_000 * DAY),
    }
    task, _ = made(cellar, Policy(budget=BUDGET))
    await task.turn(NOW)
    assert len(cellar.pieces) == 1
    assert {tier for tier, _ in cellar.cuts} == {Tier.MINUTE}
    used = (await cellar.fill()).used
    assert 0.85 * BUDGET < used <= RELIEVED * BUDGET
    assert [note.dropped.tier for note in cellar.notes] == [Tier.RAW, Tier.MINUTE]
    cellar.rollups[Tier.HOUR] = held(1_200_000, NOW - 1_000 * DAY)
    cellar.rollups[Tier.MINUTE] = held(1_000, NOW - timedelta(minutes=30))
    cellar.cuts.clear()
    await task.turn(NOW)
    assert {tier for tier, _ in cellar.cuts} == {Tier.HOUR}
    assert (await cellar.fill()).used <= RELIEVED * BUDGET


@pytest.mark.parametrize("followed", [True, False])
async def test_a_budget_that_cannot_be_kept_is_told_once(followed: bool) -> None:
    cellar = Cellar(pieces=1 if followed else 200, size=10_000 if not followed else 2_000_000)
    cellar.followed = followed
    cellar.rollups[Tier.MINUTE] = held(1_000, NOW - timedelta(minutes=30))
    task, _ = made(cellar, Policy(budget=BUDGET))
    with capture_logs() as logs:
        await task.turn(NOW)
        await task.turn(NOW + timedelta(seconds=1))
    (line,) = logs
    assert line["event"].startswith("DISK_BUDGET is not kept")
    assert line["reason"] == ("none left" if followed else "not followed")
    assert cellar.cuts == []


async def test_what_goes_slowly_is_told_once_a_minute() -> None:
    cellar = Cellar(pieces=200)
    task, _ = made(cellar, Policy(budget=BUDGET))
    for second in range(70):
        cellar.followed = True
        drop_raw = cellar.drop_raw

        async def one(before: datetime | None) -> Dropped | Undroppable:
            dropped = await drop_raw(before)  # noqa: B023
            cellar.followed = False
            return dropped

        cellar.drop_raw = one  # type: ignore[method-assign]
        await task.turn(NOW + timedelta(seconds=second))
        cellar.drop_raw = drop_raw  # type: ignore[method-assign]
    assert [note.dropped.rows for note in cellar.notes] == [100, 6_000]


async def test_who_does_not_lead_does_nothing() -> None:
    cellar = Cellar(pieces=200)
    cellar.leads = False
    task, metrics = made(cellar, Policy({Tier.RAW: DAY}, BUDGET))
    await task.turn(NOW)
    assert len(cellar.pieces) == 200
    assert cellar.begun == []
    assert counted(metrics, "storage_bytes") is None


async def test_the_size_is_kept_now_and_then() -> None:
    cellar = Cellar(pieces=3)
    task, _ = made(cellar, Policy())
    for minutes in (0, 5, 10, 19, 21):
        await task.turn(NOW + timedelta(minutes=minutes))
    assert [(size.at - NOW).seconds // 60 for size in cellar.measured] == [0, 10, 21]
    assert cellar.measured[0].used == 30_000


async def test_a_stop_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cellar = Cellar(pieces=96)
    task, _ = made(cellar, Policy(budget=BUDGET))
    began = asyncio.Event()

    async def hangs(_: datetime | None) -> Dropped:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(cellar, "drop_raw", hangs)
    async with asyncio.timeout(10):
        running = asyncio.create_task(task.run())
        await began.wait()
        task.stop()
        await running


async def test_it_goes_on_when_the_database_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "BUDGET_INTERVAL", 0.001)
    cellar = Cellar(pieces=96)
    task, _ = made(cellar, Policy(budget=BUDGET))

    tries = 0

    async def lead() -> bool:
        nonlocal tries
        tries += 1
        if tries <= 3:
            raise StorageUnavailable("gone")
        if tries > 4:
            task.stop()
        return True

    monkeypatch.setattr(cellar, "lead", lead)
    with capture_logs() as logs:
        await task.run()
    assert [line["event"] for line in logs] == [
        "dropping what is too much is put off",
        "dropped for DISK_BUDGET",
    ]
    assert len(cellar.pieces) < 96
