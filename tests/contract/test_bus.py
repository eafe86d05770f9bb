"""What `bus.base.Bus` promises, on every implementation, with the storage it is wired to.

A member stands for a worker: a storage that commits, and a bus that carries what was committed.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from sensorflow.backends import on_postgres
from sensorflow.background import Background
from sensorflow.bus.base import Bus
from sensorflow.bus.memory import MemoryBus
from sensorflow.bus.postgres import PostgresBus
from sensorflow.live.frames import Frames
from sensorflow.live.hub import Hub
from sensorflow.live.subscriber import Subscriber
from sensorflow.metrics import Metrics
from sensorflow.readings import CommittedBatch, Outcome, Reading, Stored, WireEncoder, WireForms
from sensorflow.settings import Settings
from sensorflow.storage.base import Storage
from sensorflow.storage.engine import open_storage
from sensorflow.storage.postgres.notices import listen
from sensorflow.storage.postgres.storage import PostgresStorage
from tests.helpers import device_reading, eventually, server_reading
from tests.postgres import VERSIONS, Postgres, shared

pytestmark = pytest.mark.usefixtures("unhurried")

ENCODE = WireEncoder(UTC)
SECONDS = 60.0

# A session that listens says so in its last statement, or that it has just been asked whether it
# lives; the latter may also be a reading session, which does not mind being ended.
LISTENERS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND (query LIKE 'LISTEN%' OR query = 'SELECT 1')
"""
TERMINATED = f"""
    WITH listening AS MATERIALIZED ({LISTENERS})
    SELECT pid FROM listening WHERE pg_terminate_backend(pid)
"""


class Member:
    def __init__(self, storage: Storage, bus: Bus) -> None:
        self.storage = storage
        self.bus = bus
        self.batches: list[CommittedBatch] = []

    @property
    def seen(self) -> list[int | None]:
        return [reading.id for batch in self.batches for reading in batch.readings]

    async def commit(self, readings: Sequence[Reading]) -> None:
        """As `ingest.committer` does it."""
        await commit(self.storage, self.bus, readings)


async def commit(storage: Storage, bus: Bus, readings: Sequence[Reading]) -> None:
    stored = [reading for outcome in await storage.append(readings) for reading in new(outcome)]
    if stored:
        bus.committed(CommittedBatch(stored, WireForms(stored, ENCODE)))


def new(outcome: Outcome) -> list[Reading]:
    return [outcome.reading] if isinstance(outcome, Stored) else []


class Cluster(Protocol):
    """One database, and as many members as its storage allows."""

    size: int

    async def before(self, readings: Sequence[Reading]) -> None:
        """Commit before any member has joined."""

    async def join(self) -> Member: ...

    async def stored(self) -> list[Reading]: ...


class MemoryCluster:
    size = 1

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._bus = MemoryBus()

    async def before(self, readings: Sequence[Reading]) -> None:
        await commit(self._storage, self._bus, readings)

    async def join(self) -> Member:
        member = Member(self._storage, self._bus)
        await member.bus.start(member.batches.append)
        return member

    async def stored(self) -> list[Reading]:
        return await self._storage.after(0, 100_000)


class PostgresCluster:
    size = 3

    def __init__(self, server: Postgres, url: str, opened: AsyncExitStack) -> None:
        self._server = server
        self.url = url
        self._opened = opened

    async def before(self, readings: Sequence[Reading]) -> None:
        async with open_postgres(self.url) as storage:
            await storage.append(readings)

    async def join(self) -> Member:
        storage = await self._opened.enter_async_context(open_postgres(self.url))
        return await self._opened.enter_async_context(carried(storage))

    async def stored(self) -> list[Reading]:
        async with open_postgres(self.url) as storage:
            return await storage.after(0, 100_000)

    async def ask(self, sql: str) -> set[int]:
        rows = await asyncio.to_thread(self._server.execute, sql, database=self.url)
        return {pid for (pid,) in rows}

    async def cut(self) -> None:
        """End every listening session; return when every member listens again."""
        ended = await self.ask(TERMINATED)
        assert len(ended) >= self.size
        async with asyncio.timeout(SECONDS):
            while len(await self.ask(LISTENERS) - ended) < self.size:
                pass


@asynccontextmanager
async def open_postgres(url: str) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(url)
    try:
        await storage.start()
        yield storage
    finally:
        await storage.close()


@asynccontextmanager
async def carried(storage: PostgresStorage) -> AsyncIterator[Member]:
    """The storage with a running bus, wired as `app` does it."""
    bus = PostgresBus(storage.announcer, partial(listen, storage.address), storage.after, ENCODE)
    member = Member(storage, bus)
    await bus.start(member.batches.append)
    newest = await storage.newest()
    bus.attach(newest.id or 0 if newest is not None else 0, bus.cursor)
    tasks = [asyncio.create_task(bus.listen()), asyncio.create_task(bus.run())]
    try:
        await eventually(lambda: bus.listening)
        yield member
    finally:
        bus.end()
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*tasks)
        await bus.stop()


@asynccontextmanager
async def postgres_cluster(version: str) -> AsyncIterator[PostgresCluster]:
    server = shared(version)
    url = server.create_database(migrated=True)
    try:
        async with AsyncExitStack() as opened:
            yield PostgresCluster(server, url, opened)
    finally:
        server.drop_database(url)


@pytest.fixture(params=["memory", *(f"postgresql-{version}" for version in VERSIONS)])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    backend, _, version = request.param.partition("-")
    if backend == "memory":
        storage = open_storage(tmp_path)
        await storage.start()
        yield MemoryCluster(storage)
        await storage.close()
        return
    async with postgres_cluster(version) as made:
        yield made


def batches(seed: int) -> Callable[[], list[Reading]]:
    """Batches of random sizes; one in three with devices' times, late, early and repeated."""
    chance = random.Random(seed)

    def batch() -> list[Reading]:
        size = chance.choice((1, 1, 2, 5, 30))
        if chance.random() < 1 / 3:
            return [device_reading("shared", chance.randrange(100)) for _ in range(size)]
        return [server_reading(f"s{seed}", temperature=float(n)) for n in range(size)]

    return batch


async def assert_all_have(members: Sequence[Member], expected: Sequence[Reading]) -> None:
    """Each has got exactly these in this order, each with its wire form."""
    last = expected[-1].id
    await eventually(lambda: all(last in member.seen[-1:] for member in members), SECONDS)
    for member in members:
        assert [r for batch in member.batches for r in batch.readings] == expected
        assert [line for batch in member.batches for line in batch.wire_forms] == [
            ENCODE(reading) for reading in expected
        ]


async def test_every_bus_carries_every_reading_once_in_order(cluster: Cluster) -> None:
    members = [await cluster.join() for _ in range(cluster.size)]

    async def write(seed: int, member: Member) -> None:
        batch = batches(seed)
        for _ in range(60):
            await member.commit(batch())
            await asyncio.sleep(0)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for seed, member in enumerate(members):
            group.create_task(write(seed, member))
    await assert_all_have(members, await cluster.stored())


async def test_a_bus_that_joins_later_begins_after_the_newest(cluster: Cluster) -> None:
    await cluster.before([server_reading(temperature=float(n)) for n in range(1_500)])
    before = await cluster.stored()
    members = []
    joined_at = []
    for _ in range(cluster.size):
        joined_at.append(len(await cluster.stored()))
        members.append(await cluster.join())
        for member in members:
            await member.commit([server_reading("late"), server_reading("late")])
    stored = await cluster.stored()
    assert len(stored) > len(before) == 1_500
    for member, start in zip(members, joined_at, strict=True):
        await assert_all_have([member], stored[start:])


async def test_one_that_joins_amid_commits_has_all_after_its_first(cluster: Cluster) -> None:
    first = await cluster.join()
    batch = batches(7)
    done = asyncio.Event()

    async def write() -> None:
        while not done.is_set():
            await first.commit(batch())
            await asyncio.sleep(0)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(write())
        later = [await cluster.join() for _ in range(cluster.size - 1)]
        await eventually(lambda: all(len(member.seen) > 200 for member in (first, *later)))
        done.set()
    stored = await cluster.stored()
    for member in later:
        begins = [reading.id for reading in stored].index(member.seen[0])
        await assert_all_have([member], stored[begins:])


async def test_a_stopped_bus_carries_nothing_more(cluster: Cluster) -> None:
    members = [await cluster.join() for _ in range(cluster.size)]
    await members[0].commit([server_reading()])
    await assert_all_have(members, await cluster.stored())
    for _ in range(2):
        await members[-1].bus.stop()
    await members[0].commit([server_reading()])
    await assert_all_have(members[:-1] or [], await cluster.stored())
    assert len(members[-1].seen) == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_nothing_is_lost_when_the_listening_sessions_are_ended(version: str) -> None:
    async with postgres_cluster(version) as cluster:
        members = [await cluster.join() for _ in range(cluster.size)]
        done = asyncio.Event()

        async def write(seed: int, member: Member) -> None:
            batch = batches(seed)
            while not done.is_set():
                await member.commit(batch())
                await asyncio.sleep(0)

        async def cut() -> None:
            for _ in range(3):
                reached = [len(member.seen) + 100 for member in members]
                await cluster.cut()
                for member, count in zip(members, reached, strict=True):
                    await eventually(partial(has_seen, member, count), SECONDS)
            done.set()

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for number, member in enumerate(members):
                group.create_task(write(number, member))
            group.create_task(cut())
        await assert_all_have(members, await cluster.stored())


def has_seen(member: Member, count: int) -> bool:
    return len(member.seen) >= count


class Screen:
    """A subscriber's connection, which keeps the ids."""

    def __init__(self) -> None:
        self.ids: list[int | None] = []

    def write(self, frames: Frames) -> None:
        self.ids += frames.ids

    def buffered(self) -> int:
        return 0

    async def drained(self) -> None:
        pass

    def end(self, code: int, reason: str) -> None:
        raise AssertionError(reason)


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_others_commit_while_a_worker_reconnects_comes_once(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was the newest reading when it was asked for may not be by the time of the answer."""
    async with postgres_cluster(version) as cluster:
        await cluster.before([server_reading()])
        other = await cluster.join()
        hub = Hub(Metrics())
        screen = Screen()
        settings = Settings(data_dir=tmp_path, database_url=cluster.url)
        backend = on_postgres(settings, hub, ENCODE, Metrics())
        background = Background(on_failure=lambda: None)
        ask = PostgresStorage.newest
        overtaken = asyncio.Event()

        async def newest(storage: PostgresStorage) -> Reading | None:
            answer = await ask(storage)
            await other.commit([server_reading("other")])
            await eventually(lambda: screen.ids == [2, 3])
            overtaken.set()
            return answer

        async with backend.run(background), asyncio.timeout(SECONDS):
            try:
                subscriber = Subscriber(screen, None, 2**20)
                hub.come(subscriber)
                hub.join(subscriber)
                await other.commit([server_reading("other")])
                await eventually(lambda: screen.ids == [2])
                with monkeypatch.context() as patched:
                    patched.setattr(PostgresStorage, "newest", newest)
                    # The worker's writing session, which has committed nothing but its probe.
                    assert await cluster.ask(
                        "WITH writing AS MATERIALIZED (SELECT pid FROM pg_stat_activity"
                        " WHERE datname = current_database() AND query LIKE 'COMMIT%')"
                        " SELECT pid FROM writing WHERE pg_terminate_backend(pid)"
                    )
                    await overtaken.wait()
                await other.commit([server_reading("other")])
                await eventually(lambda: screen.ids[-1] == 4)
            finally:
                await background.stop()
        assert screen.ids == [2, 3, 4]
