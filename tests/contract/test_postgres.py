"""What PostgreSQL alone promises of what it stores: large batches, tokens, partitions."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from sensorflow.errors import StorageUnavailable
from sensorflow.readings import Clock, Conflict, Duplicate, Stored
from sensorflow.storage.postgres import session, upkeep
from sensorflow.storage.postgres.session import COPY_FROM
from sensorflow.storage.postgres.storage import PostgresStorage
from tests.contract.conftest import WAITING, Database
from tests.helpers import device_reading, eventually, server_reading

# Ways in


@pytest.mark.parametrize("count", [COPY_FROM - 1, COPY_FROM, COPY_FROM + 1, 4096])
async def test_large_batches_are_the_same_whichever_way_they_go(
    storage: PostgresStorage, count: int
) -> None:
    sent = [
        device_reading(f"s{n % 7}", n, temperature=float(n), **({"co2": 0.1} if n % 3 else {}))
        if n % 2
        else server_reading(f"s{n % 5}", temperature=1.5, pressure=float(n), humidity=-0.0)
        for n in range(count)
    ]
    outcomes = await storage.append(sent)
    assert all(isinstance(outcome, Stored) for outcome in outcomes)
    assert await storage.after(0, count + 1) == sent
    again = [reading for reading in sent if reading.clock is Clock.DEVICE]
    repeated = await storage.append(again)
    assert repeated == [Duplicate(reading) for reading in again]


async def test_a_large_batch_is_judged_like_a_small_one(storage: PostgresStorage) -> None:
    await storage.append([device_reading("a", 1, temperature=1.0)])
    sent = [device_reading("a", n, temperature=0.0) for n in range(COPY_FROM + 10)]
    outcomes = await storage.append([*sent, device_reading("a", 5, temperature=7.0)])
    conflicts = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Conflict)]
    assert conflicts == [1, len(sent)]
    kept = await storage.after(0, 10_000)
    assert [reading.id for reading in kept] == list(range(1, len(sent) + 1))


# Tokens


@pytest.mark.parametrize("count", [3, COPY_FROM])
async def test_a_token_is_committed_once_and_a_conflict_stays_one(
    storage: PostgresStorage, database: Database, count: int
) -> None:
    await storage.append([device_reading("a", 0, temperature=1.0)])
    token = uuid4()
    batch = [server_reading("b") for _ in range(count - 2)]
    batch += [device_reading("a", 0, temperature=2.0), device_reading("a", 1, temperature=3.0)]
    first = await storage.append(batch, token)
    assert [type(outcome) for outcome in first[-2:]] == [Conflict, Stored]
    again = await storage.append(batch, token)
    assert [type(outcome) for outcome in again] == [*[Duplicate] * (count - 2), Conflict, Duplicate]
    assert database.count() == count


async def test_a_new_token_stores_again_what_has_no_time_of_its_own(
    storage: PostgresStorage, database: Database
) -> None:
    for _ in range(2):
        await storage.append([server_reading("b")])
    assert database.count() == 2


async def test_settled_tokens_are_forgotten_and_others_kept(
    storage: PostgresStorage, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SETTLE_AT", 5)
    tokens = [uuid4() for _ in range(12)]
    for number, token in enumerate(tokens):
        await storage.append([server_reading()], token)
        if number % 2:
            storage.settle(token)
    left = {token for (token,) in database.execute("SELECT token FROM commits")}
    assert left == {*tokens[::2], tokens[-1]}


async def test_old_tokens_are_forgotten(
    storage: PostgresStorage, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "TOKENS_AT_ONCE", 10)
    database.execute(
        "INSERT INTO commits SELECT gen_random_uuid(), now() - make_interval(days => age)"
        " FROM generate_series(1, 60) AS age"
    )
    await upkeep.maintain(storage.address)
    ((oldest, left),) = database.execute(
        "SELECT extract(day FROM now() - min(committed_at))::int, count(*) FROM commits"
    )
    assert (oldest, left) == (30, 30)


async def test_upkeep_goes_on_after_it_was_put_off_and_ends_when_told(
    storage: PostgresStorage, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "INTERVAL", 0.01)
    database.execute("INSERT INTO commits VALUES (gen_random_uuid(), '2000-01-01')")
    other = await asyncpg.connect(database.url)
    keeper = upkeep.Upkeep(storage.address, lambda: True)
    try:
        async with other.transaction():
            await other.execute("LOCK commits")
            with pytest.raises(StorageUnavailable, match="lock"):
                await upkeep.maintain(storage.address)
            running = asyncio.create_task(keeper.run())
            await eventually(lambda: database.execute(WAITING) != [])
        await eventually(lambda: database.count("commits") == 0)
        async with other.transaction():
            await other.execute("LOCK commits")
            await eventually(lambda: database.execute(WAITING) != [])
            keeper.stop()
            async with asyncio.timeout(30):
                await running
    finally:
        await other.close()


# Partitions


async def test_partitions_are_made_ahead_and_described_when_they_are_full(
    storage: PostgresStorage, database: Database
) -> None:
    database.execute("SELECT setval('readings_id_seq', 999900)")
    await storage.append([server_reading()] * 50)
    await storage.append([server_reading("a", temperature=float(n)) for n in range(200)])
    partitions = "SELECT lower, upper, rows, bytes > 0, oldest, newest FROM partitions ORDER BY 1"
    empty = (None, None, None, None)
    assert database.execute(partitions) == [
        (1, 1_000_001, *empty),
        (1_000_001, 2_000_001, *empty),
    ]
    await upkeep.maintain(storage.address)
    described, last = database.execute(partitions)
    noon = server_reading().recorded_at
    assert described == (1, 1_000_001, 100, True, noon, noon)
    assert last[2] is None
    assert [r.id for r in await storage.after(999_900, 1_000)] == list(range(999_901, 1_000_151))


async def test_ids_that_are_left_out_make_no_partition_larger(
    storage: PostgresStorage, database: Database
) -> None:
    await storage.append([server_reading("a")])
    first = await storage.skip_ids()
    bounds = "SELECT lower, upper FROM partitions ORDER BY 1"
    assert database.execute(bounds) == [(1, 1_000_001), (first, first + 1_000_000)]
    database.execute("SELECT setval('readings_id_seq', $1)", first + 900_000)
    await storage.append([server_reading("a")])
    assert database.execute(bounds)[2:] == [(first + 1_000_000, first + 2_000_000)]
