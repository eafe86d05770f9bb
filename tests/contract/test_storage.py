"""What `storage.base.Storage` promises, on every backend."""

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorflow.errors import BatchRefused, DataDirInUse, StorageUnavailable
from sensorflow.readings import Conflict, Duplicate, Reading, Stored
from sensorflow.storage.base import Storage
from sensorflow.storage.engine import open_storage
from sensorflow.storage.postgres.storage import PostgresStorage
from sensorflow.storage.sqlite import SqliteStorage
from tests.helpers import NOON, as_columns, device_reading, server_reading

pytestmark = pytest.mark.usefixtures("unhurried")


@pytest.fixture
def storage(any_storage: Storage) -> Storage:
    return any_storage


async def everything(storage: Storage) -> list[Reading]:
    return await storage.after(0, 100_000)


async def run(storage: Storage, sql: str) -> tuple[Any, ...]:
    """The statement on SQLite's writing connection; the first row, if there is one."""
    assert isinstance(storage, SqliteStorage)
    return await storage.in_transaction(lambda cursor: cursor.execute(sql).fetchone() or ())


async def test_append_gives_ascending_ids_in_the_order_given(storage: Storage) -> None:
    first = await storage.append([server_reading("b"), server_reading("a")])
    second = await storage.append([server_reading("b")])
    outcomes = [*first, *second]
    assert [type(outcome) for outcome in outcomes] == [Stored] * 3
    ids = [outcome.reading.id or 0 for outcome in outcomes if isinstance(outcome, Stored)]
    assert ids == sorted(set(ids))
    assert [(r.id, r.sensor_id) for r in await everything(storage)] == list(
        zip(ids, ["b", "a", "b"], strict=True)
    )


@pytest.mark.parametrize("many", [1, 100])
async def test_any_address_comes_back_as_it_went_in(storage: Storage, many: int) -> None:
    """Few go to PostgreSQL in another form than many."""
    addresses = [
        *("192.0.2.1", None, "fe80::1%eth0", 'for="[2001:db8::1]"', "a\\b\\", "a\nb\tc", "{a,b}"),
        *("NULL", "null", "", " ", "é😀", '"', "\\"),
    ] * many
    sent = []
    for address in addresses:
        reading = server_reading()
        reading.client_ip = address
        sent.append(reading)
    await storage.append(sent)
    assert [reading.client_ip for reading in await everything(storage)] == addresses


async def test_a_reading_comes_back_as_it_went_in(storage: Storage) -> None:
    sent = device_reading(
        "Küche/Sensor 7 😀",
        0.123457,
        temperature=23.45,
        humidity=0.1 + 0.2,
        co2=417.0,
        **{"flow.rate-1": -5e-324, "top": 1.7976931348623157e308},
    )
    await storage.append([sent])
    (kept,) = await everything(storage)
    assert kept == sent
    assert await storage.newest() == sent


@pytest.mark.parametrize("count", [1, 2, 3, 255, 256, 257, 1000])
async def test_batches_of_any_size_are_whole(storage: Storage, count: int) -> None:
    sent = [server_reading(f"s{n % 7}", temperature=float(n)) for n in range(count)]
    await storage.append(sent)
    kept = await everything(storage)
    assert [reading.measurements["temperature"] for reading in kept] == [
        float(n) for n in range(count)
    ]


async def test_after_is_exclusive_ordered_and_limited(storage: Storage) -> None:
    await storage.append([server_reading(temperature=float(n)) for n in range(10)])
    ids = [reading.id for reading in await everything(storage)]
    assert [reading.id for reading in await storage.after(ids[3] or 0, 4)] == ids[4:8]
    assert await storage.after(ids[-1] or 0, 4) == []


async def test_newest_of_an_empty_storage_is_none(storage: Storage) -> None:
    assert await storage.newest() is None


async def test_a_repeated_reading_is_a_duplicate_of_the_first(storage: Storage) -> None:
    (stored,) = await storage.append([device_reading(temperature=1.0, humidity=2.0)])
    (outcome,) = await storage.append([device_reading(temperature=1.0, humidity=2.0)])
    assert isinstance(stored, Stored)
    assert isinstance(outcome, Duplicate)
    assert outcome.reading == stored.reading
    assert len(await everything(storage)) == 1


async def test_a_part_of_what_is_stored_is_a_duplicate(storage: Storage) -> None:
    await storage.append([device_reading(temperature=1.0, humidity=2.0)])
    (outcome,) = await storage.append([device_reading(humidity=2.0)])
    assert isinstance(outcome, Duplicate)


async def test_another_value_is_a_conflict_and_the_first_stays(storage: Storage) -> None:
    await storage.append([device_reading(temperature=1.0)])
    (outcome,) = await storage.append([device_reading(temperature=1.5, humidity=2.0)])
    assert isinstance(outcome, Conflict)
    assert outcome.measurement == "temperature"
    assert [r.measurements for r in await everything(storage)] == [{"temperature": 1.0}]


async def test_other_names_only_are_another_row(storage: Storage) -> None:
    await storage.append([device_reading(temperature=1.0)])
    (outcome,) = await storage.append([device_reading(humidity=2.0)])
    assert isinstance(outcome, Stored)
    (again,) = await storage.append([device_reading(temperature=1.0, humidity=2.0)])
    assert isinstance(again, Duplicate)


async def test_duplicates_are_found_within_a_batch(storage: Storage) -> None:
    outcomes = await storage.append(
        [
            device_reading(temperature=1.0),
            device_reading(temperature=1.0),
            device_reading(temperature=2.0),
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [Stored, Duplicate, Conflict]


async def test_a_duplicate_names_the_row_that_says_it_all(storage: Storage) -> None:
    await storage.append([device_reading(temperature=1.0)])
    (second,) = await storage.append([device_reading(temperature=1.0, humidity=2.0)])
    (again,) = await storage.append([device_reading(temperature=1.0, humidity=2.0)])
    assert isinstance(second, Stored)
    assert again == Duplicate(second.reading)


async def test_an_older_reading_is_new_unless_its_own_time_is_taken(storage: Storage) -> None:
    await storage.append([device_reading(seconds=60), device_reading(seconds=0)])
    outcomes = await storage.append([device_reading(seconds=30), device_reading(seconds=0)])
    assert [type(outcome) for outcome in outcomes] == [Stored, Duplicate]


@pytest.mark.parametrize("count", [3, 600])
async def test_columns_are_stored_and_judged_like_their_readings(
    storage: Storage, count: int
) -> None:
    sent = [
        device_reading(f"s{n % 7}", n % 97 * 60 + n / 1000, humidity=n / 3, pressure=-0.0)
        for n in range(count)
    ]
    first = await storage.append(as_columns(sent))
    assert [type(outcome) for outcome in first] == [Stored] * count
    stored = await everything(storage)
    assert [outcome.reading for outcome in first] == stored
    for reading, row in zip(sent, stored, strict=True):
        reading.id = row.id
    assert stored == sent
    # Once more, the last of them with another value, and one that is new.
    again = [*sent[:-1], device_reading("s1", 1e6, humidity=0.0, pressure=0.0)]
    conflicting = sent[-1].measurements | {"pressure": 7.0}
    again.append(device_reading(sent[-1].sensor_id, 0, **conflicting))
    again[-1].recorded_at = sent[-1].recorded_at
    second = await storage.append(as_columns(again))
    assert [type(outcome) for outcome in second] == [Duplicate] * (count - 1) + [Stored, Conflict]
    assert len(await everything(storage)) == count + 1


async def test_columns_that_say_the_same_twice_are_stored_once(storage: Storage) -> None:
    outcomes = await storage.append(as_columns([device_reading()] * 600))
    assert [type(outcome) for outcome in outcomes] == [Stored] + [Duplicate] * 599
    by_server = as_columns([server_reading("a"), server_reading("b")] * 300)
    assert {type(outcome) for outcome in await storage.append(by_server)} == {Stored}
    assert [(r.id, r.sensor_id) for r in await everything(storage)] == [
        (1, "kitchen"),
        *((n, "ba"[n % 2 == 0]) for n in range(2, 602)),
    ]


async def test_the_servers_clock_takes_no_part_in_duplicates(storage: Storage) -> None:
    outcomes = [
        *await storage.append([server_reading(), server_reading(), device_reading()]),
        *await storage.append([server_reading(), device_reading()]),
    ]
    assert [type(outcome) for outcome in outcomes] == [Stored, Stored, Stored, Stored, Duplicate]


async def test_sensors_do_not_share_their_times(storage: Storage) -> None:
    outcomes = await storage.append([device_reading("a"), device_reading("b"), device_reading("A")])
    assert [type(outcome) for outcome in outcomes] == [Stored] * 3


async def test_a_batch_with_an_impossible_value_stores_nothing(storage: Storage) -> None:
    await storage.append([device_reading("known", seconds=10)])
    poisoned = device_reading("lone \ud800 surrogate", seconds=20)
    batch = [device_reading("new", seconds=20), poisoned, device_reading("known", seconds=20)]
    with pytest.raises(BatchRefused):
        await storage.append(batch)
    assert len(await everything(storage)) == 1
    assert [reading.id for reading in batch] == [None] * 3
    outcomes = await storage.append([batch[0], batch[2]])
    assert [type(outcome) for outcome in outcomes] == [Stored, Stored]


async def test_a_failed_batch_leaves_no_sensor_behind_in_memory(storage: Storage) -> None:
    poisoned = device_reading("known")
    poisoned.client_ip = "\ud800"  # fails after the sensors are known
    with pytest.raises(BatchRefused):
        await storage.append([device_reading("new"), poisoned])
    outcomes = await storage.append([device_reading("new"), device_reading("known")])
    assert [type(outcome) for outcome in outcomes] == [Stored, Stored]


@pytest.mark.parametrize("name", ["plain", "what?x", "pct%20x", "a#b", "with space", "ü"])
async def test_everything_lies_in_data_dir_whatever_its_name(tmp_path: Path, name: str) -> None:
    data_dir = tmp_path / name
    storage = open_storage(data_dir)
    await storage.start()
    await storage.append([server_reading()])
    await storage.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]  # noqa: ASYNC240
    assert (data_dir / "sensorflow.db").exists()


async def test_every_commit_is_flushed_to_disk(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path)
    await storage.start()
    try:
        assert await run(storage, "PRAGMA synchronous") == (2,)  # FULL
        assert await run(storage, "PRAGMA journal_mode") == ("wal",)
    finally:
        await storage.close()


async def test_more_sensors_than_are_kept_in_memory(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path, sensors_kept=3)
    await storage.start()
    try:
        for seconds in (0, 1):
            for sensors in ("abc", "bcd", "defgh", "a", "ha"):
                batch = [device_reading(s, seconds) for s in sensors]
                first = await storage.append(batch)
                again = await storage.append(batch)
                assert {type(outcome) for outcome in first} <= {Stored, Duplicate}
                assert {type(outcome) for outcome in again} == {Duplicate}
        kept = await everything(storage)
        assert sorted((r.sensor_id, r.recorded_at.second) for r in kept) == sorted(
            (s, seconds) for s in "abcdefgh" for seconds in (0, 1)
        )
        assert len(storage._appender._sensors) <= 5
    finally:
        await storage.close()


async def test_ids_go_on_after_a_restart_and_duplicates_are_still_known(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    await storage.start()
    await storage.append([device_reading(), server_reading()])
    last = (await everything(storage))[-1].id
    await storage.close()

    storage = open_storage(tmp_path)
    await storage.start()
    try:
        duplicate, stored = await storage.append([device_reading(), server_reading()])
        assert isinstance(duplicate, Duplicate)
        assert isinstance(stored, Stored)
        assert (stored.reading.id or 0) > (last or 0)
    finally:
        await storage.close()


async def test_an_id_is_never_used_twice_even_if_its_row_is_gone(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    await storage.start()
    await storage.append([server_reading()])
    await storage.close()
    with sqlite3.connect(tmp_path / "sensorflow.db") as connection:
        connection.execute("DELETE FROM readings")
    connection.close()

    storage = open_storage(tmp_path)
    await storage.start()
    try:
        (outcome,) = await storage.append([server_reading()])
        assert isinstance(outcome, Stored)
        assert outcome.reading.id == 2
    finally:
        await storage.close()


async def test_reads_go_on_while_another_batch_is_written(storage: Storage) -> None:
    batches = [[server_reading(temperature=float(n)) for n in range(500)] for _ in range(5)]

    async def write() -> None:
        for batch in batches:
            await storage.append(batch)

    async with asyncio.TaskGroup() as group:
        writing = group.create_task(write())
        while not writing.done():
            seen = await everything(storage)
            assert len(seen) % 500 == 0
            assert [reading.id for reading in seen] == list(range(1, len(seen) + 1))


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    with pytest.raises(DataDirInUse, match="DATA_DIR"):
        open_storage(tmp_path)
    await storage.close()


async def test_a_full_disk_is_unavailable_and_recovers(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    await storage.start()
    try:
        await storage.append([device_reading(seconds=1)])
        # SQLite's own limit of pages gives the error that a full disk gives.
        pages = (await run(storage, "PRAGMA page_count"))[0]
        await run(storage, f"PRAGMA max_page_count = {pages}")
        big = [device_reading(f"{n:0128}", seconds=2) for n in range(2000)]
        with pytest.raises(StorageUnavailable, match="full"):
            await storage.append(big)
        assert len(await everything(storage)) == 1
        await run(storage, "PRAGMA max_page_count = 1000000")
        outcomes = await storage.append(big)
        assert all(isinstance(outcome, Stored) for outcome in outcomes)
    finally:
        await storage.close()


values = st.sampled_from([0.0, 1.0, 2.0])
says = st.dictionaries(st.sampled_from(["temperature", "co2", "x"]), values, min_size=1)
sends = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 3), says), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches=st.lists(sends, max_size=4))
def test_any_sequence_leaves_what_a_plain_model_leaves(
    batches: list[list[tuple[str, int, dict[str, float]]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The model keeps, for each sensor and time, the first value of every name."""

    async def run() -> None:
        storage = open_storage(tmp_path_factory.mktemp("model"))
        await storage.start()
        known: dict[tuple[str, int], dict[str, float]] = {}
        rows = 0
        try:
            for batch in batches:
                readings = [device_reading(s, t, **says) for s, t, says in batch]
                outcomes = await storage.append(readings) if readings else []
                for (sensor, time, names), outcome in zip(batch, outcomes, strict=True):
                    before = known.setdefault((sensor, time), {})
                    shared = [n for n in names if n in before]
                    if any(before[n] != names[n] for n in shared):
                        assert isinstance(outcome, Conflict)
                    elif len(shared) == len(names):
                        assert isinstance(outcome, Duplicate)
                    else:
                        assert isinstance(outcome, Stored)
                        rows += 1
                        before |= names
            kept = await everything(storage)
            assert len(kept) == rows
            merged: dict[tuple[str, int], dict[str, float]] = {}
            for reading in kept:
                time = (reading.recorded_at - NOON) // timedelta(seconds=1)
                merged.setdefault((reading.sensor_id, time), {}).update(reading.measurements)
            assert merged == {key: names for key, names in known.items() if names}
        finally:
            await storage.close()

    asyncio.run(run())


async def test_after_a_restore_ids_go_on_where_none_was_given(storage: Storage) -> None:
    assert await storage.skip_ids() == 10**12 + 1  # in an empty database too
    (stored,) = await storage.append([server_reading("a")])
    assert isinstance(stored, Stored)
    assert stored.reading.id == 10**12 + 1
    assert await storage.skip_ids() == 2 * 10**12 + 1
    outcomes = await storage.append([server_reading("a"), server_reading("b")])
    ids = [outcome.reading.id for outcome in outcomes if isinstance(outcome, Stored)]
    assert ids == [2 * 10**12 + 1, 2 * 10**12 + 2]
    assert [reading.id for reading in await everything(storage)] == [10**12 + 1, *ids]
    assert [reading.id for reading in await storage.after(10**12 + 1, 1)] == ids[:1]


async def test_a_part_of_the_stream_is_read_in_order_and_within_its_bounds(
    storage: Storage,
) -> None:
    await storage.append([server_reading("abc"[n % 3]) for n in range(30)])
    ids = [reading.id or 0 for reading in await everything(storage)]

    async def between(
        after: int, until: int, limit: int, sensors: list[str] | None = None
    ) -> list[int]:
        found = await storage.between(after, until, limit, sensors)
        return [reading.id or 0 for reading in found]

    assert await between(0, ids[-1], 100) == ids
    assert await between(ids[4], ids[9], 100) == ids[5:10]
    assert await between(ids[4], ids[9], 3) == ids[5:8]
    assert await between(ids[9], ids[9], 100) == []
    assert await between(0, ids[-1], 100, sensors=["b"]) == ids[1::3]
    assert await between(ids[4], ids[20], 2, sensors=["a", "c", "nobody"]) == [ids[5], ids[6]]
    assert await between(0, ids[-1], 100, sensors=["nobody"]) == []


async def test_the_latest_of_some_sensors_is_found(storage: Storage) -> None:
    await storage.append(
        [
            device_reading("late", 10),
            device_reading("late", 5),
            device_reading("other", 0),
            server_reading("third"),
        ]
    )
    first, _, third, fourth = await everything(storage)
    assert fourth.id is not None
    assert await storage.latest(["late"], fourth.id) == first
    assert await storage.latest(["late", "other"], fourth.id) == third
    assert await storage.latest(["late", "other", "third"], fourth.id) == fourth
    assert await storage.latest(["late", "other", "third"], fourth.id - 1) == third
    assert await storage.latest(["nobody"], fourth.id) is None


async def test_nothing_is_older_than_what_was_never_removed(storage: Storage) -> None:
    assert await storage.oldest() <= 1
    await storage.append([server_reading() for _ in range(3)])
    first = (await everything(storage))[0].id
    assert first is not None
    assert await storage.oldest() <= first


async def test_what_was_removed_is_known(storage: Storage) -> None:
    await storage.append([server_reading() for _ in range(3)])
    if isinstance(storage, PostgresStorage):
        # As retention does it: whole partitions.
        connection = await asyncpg.connect(
            storage.address.dsn, user=storage.address.user, password=storage.address.password
        )
        await connection.execute("SELECT make_partition(1000001, 2000001)")
        await connection.execute("DROP TABLE readings_1; DELETE FROM partitions WHERE lower = 1")
        await connection.close()
        assert await storage.oldest() == 1_000_001
    else:
        await run(storage, "DELETE FROM readings WHERE id <= 2")
        assert await storage.oldest() == 3
        await run(storage, "DELETE FROM readings")
        assert await storage.oldest() == 4
