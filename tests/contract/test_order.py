"""On PostgreSQL the order of ids is the order of commits, whoever commits.

Otherwise whoever reads on from a cursor would miss what is committed later with a smaller id.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest

from sensorflow.readings import Reading, Stored
from sensorflow.storage.postgres.session import COPY_FROM, Session
from sensorflow.storage.postgres.storage import PostgresStorage
from tests.helpers import device_reading, server_reading
from tests.postgres import VERSIONS, Postgres, shared

pytestmark = pytest.mark.usefixtures("unhurried")

WRITERS = 4
BATCHES = 60
LARGEST = 600
LOCK = "PERFORM pg_advisory_xact_lock('readings'::regclass::oid::bigint);"

Database = tuple[Postgres, str]


@pytest.fixture(params=VERSIONS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    server = shared(request.param)
    url = server.create_database(migrated=True)
    yield server, url
    server.drop_database(url)


@asynccontextmanager
async def storages(database: Database, count: int) -> AsyncIterator[list[PostgresStorage]]:
    """Each stands for a process of its own."""
    async with AsyncExitStack() as opened:
        made = []
        for _ in range(count):
            storage = PostgresStorage(database[1])
            opened.push_async_callback(storage.close)
            await storage.start()
            made.append(storage)
        yield made


class Batches:
    """Batches of random sizes, of one writer; no two readings share a device's time."""

    def __init__(self, writer: int) -> None:
        self._chance = random.Random(writer)
        self._times = [float(n * WRITERS + writer) for n in range(BATCHES * LARGEST)]
        self._chance.shuffle(self._times)

    def next(self) -> list[Reading]:
        chance = self._chance
        size = chance.choice((1, chance.randint(2, 30), chance.randint(30, LARGEST), LARGEST))
        if chance.random() < 0.4:
            # In no order, so that most of them are older than the newest and have to be judged.
            return [device_reading(f"d{n % 5}", self._times.pop()) for n in range(size)]
        return [server_reading(f"s{n % 5}") for n in range(size)]


async def test_a_reader_by_cursor_sees_every_reading_once(database: Database) -> None:
    assert LARGEST > COPY_FROM > 30, "both ways of inserting get their share"
    async with storages(database, WRITERS + 1) as (reader, *writers):
        committed: list[int] = []
        chance = random.Random(2013)

        async def write(number: int, storage: PostgresStorage) -> None:
            batches = Batches(number)
            for _ in range(BATCHES):
                for outcome in await storage.append(batches.next()):
                    assert isinstance(outcome, Stored)
                    committed.append(outcome.reading.id or 0)

        async def read(written: asyncio.Task[None]) -> list[int]:
            seen = [0]
            while True:
                was_written = written.done()
                found = await reader.after(seen[-1], chance.choice((1, 10, 1_000)))
                if not found and was_written:
                    return seen[1:]
                seen += [reading.id or 0 for reading in found]

        async def write_all() -> None:
            async with asyncio.TaskGroup() as group:
                for number, storage in enumerate(writers):
                    group.create_task(write(number, storage))

        async with asyncio.timeout(100), asyncio.TaskGroup() as group:
            written = group.create_task(write_all())
            reading = group.create_task(read(written))
        seen = reading.result()
        assert seen == sorted(set(seen))
        assert len(committed) == len(set(committed))
        assert seen == sorted(committed)
        server, url = database
        stored = await asyncio.to_thread(
            server.execute, "SELECT id FROM readings ORDER BY id", database=url
        )
        assert seen == [pk for (pk,) in stored]


@asynccontextmanager
async def uncommitted(url: str, reading: Reading) -> AsyncIterator[int]:
    """A commit that takes its time: everything is done but the end. Yields the id."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await Session(connection, "slow").append([reading], uuid4())
            assert reading.id is not None
            yield reading.id
    finally:
        connection.terminate()


async def waits_for_lock(database: Database) -> bool:
    server, url = database
    sql = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    rows = await asyncio.to_thread(server.execute, sql, database=url)
    return rows == [(1,)]


async def test_a_commit_waits_for_the_one_that_has_smaller_ids(database: Database) -> None:
    async with storages(database, 1) as (fast,), asyncio.timeout(60):
        async with uncommitted(database[1], server_reading("slow")) as first:
            commit = asyncio.create_task(fast.append([server_reading("fast")]))
            while not await waits_for_lock(database):
                assert not commit.done()
            assert await fast.after(0, 10) == []
        (outcome,) = await commit
        assert isinstance(outcome, Stored)
        assert [r.id for r in await fast.after(0, 10)] == [first, outcome.reading.id]


async def test_without_the_lock_a_reader_would_miss_readings(database: Database) -> None:
    server, url = database
    async with storages(database, 1) as (fast,), asyncio.timeout(60):
        ((function,),) = await asyncio.to_thread(
            server.execute, "SELECT pg_get_functiondef('reserve_ids'::regproc)", database=url
        )
        assert LOCK in function
        await asyncio.to_thread(server.script, function.replace(LOCK, ""), url)
        async with uncommitted(url, server_reading("slow")) as first:
            await fast.append([server_reading("fast")])
            (seen,) = await fast.after(0, 10)
        assert (seen.id or 0) > first
        assert await fast.after(seen.id or 0, 10) == []
        assert [r.id for r in await fast.after(0, 10)] == [first, seen.id]
