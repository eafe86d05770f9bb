"""What `storage.disk.Disk` promises, on every database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from sensorflow.disk import Drop, Dropped, Fill, Size, Tier, Undroppable, Why
from sensorflow.errors import StorageUnavailable
from sensorflow.readings import Clock, Reading
from sensorflow.storage.base import Storage
from sensorflow.storage.disk import Disk
from sensorflow.storage.postgres.disk import PostgresDisk
from sensorflow.storage.postgres.storage import PostgresStorage
from sensorflow.storage.sqlite import SqliteStorage
from sensorflow.storage.sqlite_disk import SqliteDisk
from tests.helpers import NOON

LATER = NOON + timedelta(days=400)


class House:
    """A database, the room it takes, and words to fill it."""

    def __init__(self, storage: Storage, disk: Disk) -> None:
        self.storage = storage
        self.disk = disk

    async def store(self, count: int, first: int = 0, *, follow: bool = True) -> list[int]:
        """One reading a second from `first` seconds after noon on; return their ids."""
        readings = [
            Reading(
                f"s{n % 3}",
                {"temperature": float(n)},
                NOON + timedelta(seconds=first + n),
                Clock.DEVICE,
                NOON + timedelta(seconds=first + n),
                None,
            )
            for n in range(count)
        ]
        await self.storage.append(readings)
        if follow:
            await self.follow()
        return [reading.id or 0 for reading in readings]

    async def follow(self) -> None:
        """As if all had been followed."""
        newest = await self.storage.newest()
        assert newest is not None
        await self.execute(f"UPDATE followers SET cursor = {newest.id}")

    async def piece(self, count: int, first: int = 0, *, follow: bool = True) -> list[int]:
        """Readings that go together where readings go by the partition."""
        ids = await self.store(count, first, follow=follow)
        await self.disk.begin_piece(1, None)
        return ids

    async def ids(self) -> list[int]:
        return [reading.id or 0 for reading in await self.storage.after(0, 100_000)]

    async def execute(self, sql: str) -> list[Any]:
        if isinstance(self.storage, SqliteStorage):
            return await self.storage.in_transaction(lambda cursor: list(cursor.execute(sql)))
        assert isinstance(self.storage, PostgresStorage)
        address = self.storage.address
        connection = await asyncpg.connect(
            address.dsn, user=address.user, password=address.password
        )
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    async def roll_up(self, tier: Tier, buckets: list[datetime]) -> None:
        times = [
            f"'{bucket.isoformat()}'"
            if isinstance(self.storage, PostgresStorage)
            else str(int(bucket.timestamp() * 1_000_000))
            for bucket in buckets
        ]
        rows = ", ".join(
            f"({sensor}, 1, {at}, 60, 6, 1, 1, 1, 1, {at}, {at})"
            for at in times
            for sensor in (1, 2)
        )
        await self.execute(f"INSERT INTO rollups_{tier} VALUES {rows}")

    async def complete_from(self, tier: Tier) -> datetime | None:
        ((found,),) = await self.execute(f"SELECT complete_from FROM tiers WHERE name = '{tier}'")
        if isinstance(found, int):
            return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=found)
        assert found is None or isinstance(found, datetime)
        return found


@pytest.fixture
async def house(any_storage: Storage, tmp_path: Path) -> AsyncIterator[House]:
    disk: Disk
    if isinstance(any_storage, PostgresStorage):
        disk = PostgresDisk(any_storage)
    else:
        assert isinstance(any_storage, SqliteStorage)
        disk = SqliteDisk(any_storage, tmp_path)
    assert await disk.lead()
    yield House(any_storage, disk)
    await disk.close()


# Readings


async def test_the_oldest_go_first_and_the_newest_stay(house: House) -> None:
    old = await house.piece(600)
    new = await house.piece(50, 600)
    last = await house.store(1, 650)
    dropped = await house.disk.drop_raw(None)
    assert isinstance(dropped, Dropped)
    assert dropped.tier is Tier.RAW
    assert dropped.bytes > 0
    assert dropped.oldest == NOON
    left = await house.ids()
    assert left == [*old, *new, *last][dropped.rows :]
    assert 600 <= dropped.rows <= 650
    assert dropped.newest == NOON + timedelta(seconds=dropped.rows - 1)
    while isinstance(await house.disk.drop_raw(None), Dropped):
        pass
    assert await house.disk.drop_raw(None) is Undroppable.NONE_LEFT
    assert await house.ids() == last


async def test_ids_go_on_and_cursors_learn_of_the_gap(house: House) -> None:
    old = await house.piece(10)
    last = await house.store(1, 10)
    assert isinstance(await house.disk.drop_raw(None), Dropped)
    oldest = await house.storage.oldest()
    assert old[-1] < oldest <= last[0]
    assert [r.id for r in await house.storage.between(0, last[0], 100)] == last
    following = await house.store(1, 11)
    assert following[0] == last[0] + 1


async def test_what_is_not_old_enough_stays_and_so_does_what_comes_after_it(house: House) -> None:
    await house.piece(10)
    young = await house.piece(10, 100)
    old = await house.piece(10, 20)
    last = await house.store(1, 30)
    before = NOON + timedelta(seconds=50)
    dropped = await house.disk.drop_raw(before)
    assert isinstance(dropped, Dropped)
    assert dropped.rows == 10
    assert await house.disk.drop_raw(before) is Undroppable.NONE_LEFT
    assert await house.ids() == [*young, *old, *last]
    # Exactly as old as the limit is not older.
    assert await house.disk.drop_raw(NOON + timedelta(seconds=100)) is Undroppable.NONE_LEFT


async def test_what_is_not_followed_yet_stays(house: House) -> None:
    ids = await house.piece(10, follow=False)
    ids += await house.store(1, 10, follow=False)
    assert await house.disk.drop_raw(None) is Undroppable.NOT_FOLLOWED
    assert await house.disk.drop_raw(LATER) is Undroppable.NOT_FOLLOWED
    assert await house.ids() == ids
    await house.follow()
    assert isinstance(await house.disk.drop_raw(None), Dropped)


async def test_an_empty_database_has_nothing_to_drop(house: House) -> None:
    assert await house.disk.drop_raw(None) is Undroppable.NONE_LEFT
    assert not await house.disk.begin_piece(10**9, NOON)
    dropped = await house.disk.drop_rollups(Tier.MINUTE, LATER)
    assert dropped.rows == 0


async def test_from_when_on_readings_are_complete_is_known(house: House) -> None:
    assert await house.complete_from(Tier.RAW) is None
    await house.piece(10)
    await house.store(1, 10)
    await house.disk.drop_raw(None)
    assert await house.complete_from(Tier.RAW) == NOON + timedelta(seconds=9, microseconds=1)


async def test_a_dropped_reading_that_is_sent_again_is_stored_again(house: House) -> None:
    await house.piece(10)
    await house.store(1, 10)
    await house.disk.drop_raw(None)
    again = await house.store(3)
    assert (await house.ids())[-3:] == again


# Rollups


async def test_rollups_before_a_time_go(house: House) -> None:
    hours = [NOON + timedelta(hours=n) for n in range(400)]
    await house.roll_up(Tier.HOUR, hours)
    await house.roll_up(Tier.DAY, [NOON])
    before = hours[250]
    dropped = await house.disk.drop_rollups(Tier.HOUR, before)
    assert dropped.rows == 500
    assert dropped.newest == before
    ((left,),) = await house.execute("SELECT count(*) FROM rollups_hour")
    assert left == 300
    assert await house.complete_from(Tier.HOUR) == before
    assert (await house.disk.drop_rollups(Tier.HOUR, before)).rows == 0
    assert await house.complete_from(Tier.DAY) is None
    assert await house.complete_from(Tier.RAW) is None


# What is told


async def test_the_room_grows_with_what_is_stored_and_shrinks_with_what_is_dropped(
    house: House,
) -> None:
    empty = await house.disk.fill()
    for n in range(10):
        await house.piece(2_000, n * 2_000)
    await house.store(1, 20_000)
    full = await house.disk.fill()
    assert full.used > empty.used + 20_000 * 50
    while isinstance(await house.disk.drop_raw(None), Dropped):
        pass
    if isinstance(house.storage, SqliteStorage):
        await house.execute("SELECT 1")
    relieved = await house.disk.fill()
    assert full.used - relieved.used > 0.7 * (full.used - empty.used) - 2**23
    assert relieved.used <= relieved.on_disk


async def test_each_tier_tells_what_it_holds(house: House) -> None:
    held = await house.disk.held()
    assert {
        tier: (held[tier].rows, held[tier].oldest, held[tier].newest) for tier in Tier
    } == dict.fromkeys(Tier, (0, None, None))
    await house.piece(10)
    await house.piece(10, 10)
    midnight = NOON.replace(hour=0)
    await house.roll_up(Tier.DAY, [midnight, midnight + timedelta(days=1)])
    held = await house.disk.held()
    raw = held[Tier.RAW]
    assert (raw.rows, raw.oldest, raw.newest) == (20, NOON, NOON + timedelta(seconds=19))
    assert raw.bytes > 0
    day = held[Tier.DAY]
    assert (day.rows, day.oldest, day.newest) == (4, midnight, midnight + timedelta(days=1))
    # Sixty readings a day and series: as many minutes at most, and all 24 hours.
    assert held[Tier.MINUTE].rows == 4 * 60
    assert held[Tier.HOUR].rows == 4 * 24
    await house.disk.drop_rollups(Tier.MINUTE, midnight + timedelta(days=1))
    assert (await house.disk.held())[Tier.MINUTE].rows == 2 * 60


async def test_the_last_drops_are_told_newest_first(house: House) -> None:
    drops = [
        Drop(
            NOON + timedelta(minutes=n),
            Why.AGE if n % 2 else Why.BUDGET,
            Dropped(Tier.RAW if n % 2 else Tier.HOUR, n, n * 100, NOON if n % 2 else None, LATER),
        )
        for n in range(120)
    ]
    for drop in drops:
        await house.disk.note(drop)
    assert await house.disk.drops(3) == drops[:-4:-1]
    assert len(await house.disk.drops(1_000)) <= 101


async def test_sizes_are_kept_for_a_while(house: House) -> None:
    sizes = [Size(NOON + timedelta(days=n), n * 1_000) for n in range(5)]
    for size in sizes:
        await house.disk.measure(size, NOON + timedelta(days=2))
    assert await house.disk.sizes() == sizes[2:]


# On PostgreSQL alone


@pytest.fixture
async def postgres(storage: PostgresStorage) -> AsyncIterator[House]:
    disk = PostgresDisk(storage)
    assert await disk.lead()
    yield House(storage, disk)
    await disk.close()


async def test_the_next_partition_begins_when_the_newest_is_large_or_old_enough(
    postgres: House,
) -> None:
    await postgres.store(10)
    assert not await postgres.disk.begin_piece(10**9, NOON)
    assert await postgres.disk.begin_piece(10**9, NOON + timedelta(seconds=1))
    assert not await postgres.disk.begin_piece(10**9, LATER), "it is empty"
    ids = await postgres.store(10, 10)
    assert ids[0] == 1_000_001
    assert await postgres.disk.begin_piece(1, None)
    assert (await postgres.store(1, 20))[0] == 2_000_001
    assert [r.id for r in await postgres.storage.after(0, 100)] == [
        *range(1, 11), *range(1_000_001, 1_000_011), 2_000_001
    ]  # fmt: skip


async def test_a_partition_goes_when_its_very_last_reading_is_followed(postgres: House) -> None:
    await postgres.store(1)
    await postgres.execute("SELECT setval('readings_id_seq', 999999)")
    assert await postgres.store(2, 1) == [1_000_000, 1_000_001]
    await postgres.disk.begin_piece(None, None)
    await postgres.execute("UPDATE followers SET cursor = 999999")
    assert await postgres.disk.drop_raw(None) is Undroppable.NOT_FOLLOWED
    await postgres.execute("UPDATE followers SET cursor = 1000000")
    assert isinstance(await postgres.disk.drop_raw(None), Dropped)
    assert await postgres.ids() == [1_000_001]


async def test_one_of_all_workers_drops_and_another_when_it_is_gone(postgres: House) -> None:
    storage = postgres.storage
    assert isinstance(storage, PostgresStorage)
    other = PostgresDisk(storage)
    assert not await other.lead()
    assert await postgres.disk.lead()
    await postgres.disk.close()
    async with asyncio.timeout(10):
        while not await other.lead():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await other.close()


async def test_nobody_waits_for_a_drop_that_has_to_wait(postgres: House) -> None:
    storage = postgres.storage
    assert isinstance(storage, PostgresStorage)
    await postgres.piece(10)
    await postgres.store(1, 10)
    address = storage.address
    reader = await asyncpg.connect(address.dsn, user=address.user, password=address.password)
    try:
        async with reader.transaction():
            await reader.fetch("SELECT id FROM readings LIMIT 1")
            dropping = asyncio.create_task(postgres.disk.drop_raw(None))
            started = asyncio.get_running_loop().time()
            while not dropping.done():
                await postgres.store(1, 20, follow=False)
                await asyncio.sleep(0)
            with pytest.raises(StorageUnavailable, match="lock"):
                await dropping
            assert asyncio.get_running_loop().time() - started < 10
            assert len(await postgres.ids()) > 11
    finally:
        await reader.close()
    assert isinstance(await postgres.disk.drop_raw(None), Dropped)


async def test_the_room_of_removed_rollups_is_used_again(postgres: House) -> None:
    sizes: list[Fill] = []
    for turn in range(6):
        start = NOON + timedelta(days=100 * turn)
        await postgres.execute(
            "INSERT INTO rollups_minute SELECT 1, 1, b, 60, 6, 1, 1, 1, 1, b, b FROM"
            f" generate_series('{start.isoformat()}'::timestamptz,"
            f" '{(start + timedelta(days=20)).isoformat()}'::timestamptz, '1 minute') AS b"
        )
        await postgres.disk.drop_rollups(Tier.MINUTE, start + timedelta(days=15))
        sizes.append(await postgres.disk.fill())
    assert sizes[-1].on_disk < 1.05 * sizes[3].on_disk
    assert sizes[-1].used < 0.6 * sizes[-1].on_disk
