"""What PostgreSQL alone promises: bounds in time, tokens, partitions, and faults by their name."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from sensorflow.errors import BatchRefused, StorageUnavailable
from sensorflow.readings import Clock, Conflict, Duplicate, Stored
from sensorflow.storage.postgres import session, upkeep
from sensorflow.storage.postgres.connection import connect
from sensorflow.storage.postgres.session import COPY_FROM
from sensorflow.storage.postgres.storage import PostgresStorage
from tests.helpers import device_reading, eventually, server_reading
from tests.postgres import VERSIONS, Postgres, shared


class Database:
    """A database of its own in the process's server."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.url = server.create_database()

    def execute(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        return self.server.execute(sql, *arguments, database=self.url)

    def count(self, table: str = "readings") -> int:
        count: int = self.execute(f"SELECT count(*) FROM {table}")[0][0]
        return count


@pytest.fixture(params=VERSIONS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    made = Database(shared(request.param))
    yield made
    made.server.drop_database(made.url)


@pytest.fixture
async def storage(database: Database) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(database.url)
    await storage.start()
    yield storage
    await storage.close()


@pytest.fixture
def own_server() -> Iterator[Postgres]:
    """One that may be frozen and stopped."""
    with Postgres("15", in_memory=True) as server:
        yield server
        server.resume()


# Ways in


@pytest.mark.parametrize("count", [COPY_FROM - 1, COPY_FROM, COPY_FROM + 1, 4096])
async def test_large_batches_are_the_same_whichever_way_they_go(
    storage: PostgresStorage, count: int
) -> None:
    sent = [
        device_reading(f"s{n % 7}", n, temperature=float(n), **({"co2": 0.1} if n % 3 else {}))
        if n % 2
        else server_reading(f"s{n % 5}", pressure=float(n), humidity=-0.0)
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


# Faults


async def test_a_value_that_the_table_refuses_is_the_batchs_fault(
    storage: PostgresStorage, database: Database
) -> None:
    database.execute("ALTER TABLE readings ADD CHECK (temperature < 1000)")
    for count in (1, COPY_FROM):
        with pytest.raises(BatchRefused):
            await storage.append([server_reading(temperature=2000.0)] * count)
        await storage.append([server_reading(temperature=20.0)] * count)
    assert database.count() == 1 + COPY_FROM


async def test_what_the_database_cannot_do_now_is_not(
    storage: PostgresStorage, database: Database
) -> None:
    database.execute("ALTER TABLE readings RENAME TO hidden")
    with pytest.raises(StorageUnavailable):
        await storage.append([server_reading()])
    database.execute("ALTER TABLE hidden RENAME TO readings")
    await storage.start()
    await storage.append([server_reading()])


async def test_a_read_only_database_is_told_at_the_start(
    storage: PostgresStorage, database: Database
) -> None:
    name = database.url.rpartition("/")[2]
    database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(StorageUnavailable, match="read-only"):
        await storage.start()


async def test_a_lock_that_is_never_released_does_not_hold_up_a_start(
    storage: PostgresStorage, database: Database
) -> None:
    other = await asyncpg.connect(database.url)
    try:
        transaction = other.transaction()
        await transaction.start()
        await other.execute(session._LOCK)
        started = time.monotonic()
        with pytest.raises(StorageUnavailable, match="lock"):
            await storage.start()
        assert time.monotonic() - started < 2
        await transaction.rollback()
        await storage.start()
    finally:
        await other.close()


async def test_a_process_that_freezes_with_the_lock_is_cut_off_by_the_database(
    storage: PostgresStorage,
) -> None:
    frozen = await connect(storage.address)
    try:
        await frozen.execute("SET idle_in_transaction_session_timeout = '200ms'")
        await frozen.execute("BEGIN")
        await frozen.execute(session._LOCK)
        assert isinstance((await storage.append([server_reading()]))[0], Stored)
        assert frozen.is_closed()
    finally:
        frozen.terminate()


async def test_it_is_told_when_the_writing_session_ends(
    storage: PostgresStorage, database: Database
) -> None:
    told: list[StorageUnavailable] = []
    storage.on_lost(told.append)
    await storage.start()
    assert told == []
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await eventually(lambda: len(told) == 1)
    with pytest.raises(StorageUnavailable):
        await storage.append([server_reading()])
    await storage.start()
    await storage.append([server_reading()])
    assert await storage.newest() is not None
    assert len(told) == 1


async def test_nothing_waits_for_a_server_that_hangs(own_server: Postgres) -> None:
    storage = PostgresStorage(own_server.url())
    await storage.start()
    await storage.append([server_reading()])
    await storage.after(0, 1)
    own_server.pause()
    for attempt, bound in [
        (storage.append([server_reading()]), 1.5),
        (storage.ping(), 2.5),
        (storage.after(0, 1), 4.5),
        (storage.start(), 2.5),
        (upkeep.maintain(storage.address), 2.5),
    ]:
        started = time.monotonic()
        with pytest.raises(StorageUnavailable):
            await attempt
        assert time.monotonic() - started < bound
    started = time.monotonic()
    await storage.close()
    assert time.monotonic() - started < 3


async def test_a_start_that_is_broken_off_leaves_nothing_behind(database: Database) -> None:
    storage = PostgresStorage(database.url)
    for milliseconds in range(0, 60, 3):
        starting = asyncio.create_task(storage.start())
        await asyncio.wait((starting,), timeout=milliseconds / 1000)
        starting.cancel()
        await asyncio.wait((starting,))
    await storage.start()
    await storage.append([server_reading()])
    await storage.close()
    sessions = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
    await eventually(lambda: len(database.execute(sessions)) == 1)
