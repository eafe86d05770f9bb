"""What PostgreSQL does wrong: told by its name, in bounded time, and mended by another start."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import uuid4

import asyncpg
import pytest

from sensorflow.errors import BatchRefused, StorageUnavailable
from sensorflow.readings import Duplicate, Stored
from sensorflow.storage.postgres import readers, session, upkeep
from sensorflow.storage.postgres.connection import Address, connect, limited
from sensorflow.storage.postgres.readers import READ_TIMEOUT, READERS
from sensorflow.storage.postgres.session import COPY_FROM, Connection, Session
from sensorflow.storage.postgres.storage import PostgresStorage
from tests.contract.conftest import SESSIONS, TERMINATED, WAITING, Database
from tests.helpers import device_reading, eventually, promised, server_reading
from tests.postgres import ROLE, Postgres
from tests.system.test_database_away import fill, small_disk


def hinder(database: Database, does: str) -> None:
    """Have PostgreSQL do this at each row."""
    database.execute(
        f"CREATE OR REPLACE FUNCTION hinder() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {does}; RETURN new; END $$"
    )
    database.execute(
        "CREATE TRIGGER hinder BEFORE INSERT ON readings FOR EACH ROW EXECUTE FUNCTION hinder()"
    )


def unhinder(database: Database) -> None:
    database.execute("DROP TRIGGER hinder ON readings")


# At the start


async def test_a_database_that_cannot_be_reached_is_told(database: Database) -> None:
    server = database.server
    for url, reason in [
        (database.url.replace(server.password, "wrong"), "password authentication failed"),
        (server.url("nowhere"), 'database "nowhere" does not exist'),
        (database.url.replace(f":{server.port}", ":1"), "Connect call failed"),
    ]:
        storage = PostgresStorage(url)
        with pytest.raises(StorageUnavailable, match=reason):
            await storage.start()
        with pytest.raises(StorageUnavailable, match="not connected"):
            await storage.append([server_reading()])
        await storage.close()


async def test_a_read_only_database_is_told_at_the_start(
    storage: PostgresStorage, database: Database
) -> None:
    name = database.url.rpartition("/")[2]
    database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(StorageUnavailable, match="read-only"):
        await storage.start()


async def test_a_right_that_is_missing_is_told_at_the_start(
    storage: PostgresStorage, database: Database
) -> None:
    for right in (
        "INSERT ON readings",
        "INSERT ON sensors",
        "UPDATE ON sensors",
        "DELETE ON commits",
        "UPDATE ON SEQUENCE readings_id_seq",
    ):
        database.execute(f"REVOKE {right} FROM {ROLE}")
        with pytest.raises(StorageUnavailable, match="permission denied"):
            await storage.start()
        database.execute(f"GRANT {right} TO {ROLE}")
    await storage.start()
    await storage.append([server_reading()])


@pytest.mark.parametrize("lock", [session._LOCK, "LOCK readings"])
async def test_a_lock_that_is_never_released_holds_up_nothing(
    storage: PostgresStorage, database: Database, lock: str
) -> None:
    other = await asyncpg.connect(database.url)
    try:
        transaction = other.transaction()
        await transaction.start()
        await other.execute(lock)
        for attempt in (storage.append([server_reading()]), storage.start()):
            started = time.monotonic()
            with pytest.raises(StorageUnavailable, match="another session holds a lock"):
                await attempt
            assert time.monotonic() - started < promised(2)
        await transaction.rollback()
        await storage.start()
        await storage.append([server_reading()])
    finally:
        await other.close()


async def test_a_full_disk_is_told_at_the_start() -> None:
    with small_disk() as disk, Postgres("15", base=disk, max_wal_size="64MB") as server:
        storage = PostgresStorage(server.url())
        await storage.start()
        await storage.append([server_reading()])
        fill(disk / "ballast")
        # What is there has room for many more, and for what a start writes into other tables.
        with pytest.raises(StorageUnavailable):
            await storage.start()
        (disk / "ballast").unlink()
        if not server.running:
            server.start()
        await storage.start()
        await storage.append([server_reading()])
        assert len(await storage.after(0, 10)) == 2
        await storage.close()


async def test_starts_leave_nothing_behind(storage: PostgresStorage, database: Database) -> None:
    # Nor are they stopped by what a user of the database wants of readings.
    database.execute("ALTER TABLE readings ALTER temperature SET NOT NULL")
    for _ in range(5):
        await storage.start()
    assert [database.count(table) for table in ("readings", "sensors", "commits")] == [0, 0, 0]
    (outcome,) = await storage.append([server_reading()])
    assert isinstance(outcome, Stored)
    assert outcome.reading.id == 1


@pytest.mark.parametrize("count", [1, COPY_FROM])
async def test_a_sequence_that_was_set_back_is_set_right(
    storage: PostgresStorage, database: Database, count: int
) -> None:
    await storage.append([server_reading()] * 3)
    batch, token = [server_reading() for _ in range(count)], uuid4()
    database.execute("SELECT setval('readings_id_seq', 1, false)")
    with pytest.raises(StorageUnavailable, match="_pkey"):
        await storage.append(batch, token)
    await storage.start()
    await storage.append(batch, token)
    first = batch[0].id or 0
    assert first > 3
    assert [reading.id for reading in batch] == list(range(first, first + count))


async def test_a_password_that_was_changed_is_told_at_the_next_start(own_server: Postgres) -> None:
    storage = PostgresStorage(own_server.url())
    await storage.start()
    own_server.execute(f"ALTER ROLE {ROLE} PASSWORD 'another'")
    await storage.append([server_reading()])
    own_server.execute(TERMINATED)
    with pytest.raises(StorageUnavailable):
        await storage.append([server_reading()])
    with pytest.raises(StorageUnavailable, match="password"):
        await storage.start()
    own_server.execute(f"ALTER ROLE {ROLE} PASSWORD '{own_server.password}'")
    await storage.start()
    await storage.append([server_reading()])
    await storage.close()


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
    await eventually(lambda: not database.execute(SESSIONS))


async def test_a_start_can_be_broken_off_while_another_migrates(own_server: Postgres) -> None:
    other = await asyncpg.connect(own_server.url())
    storage = PostgresStorage(own_server.url())
    for hangs in (False, True):
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT pg_advisory_xact_lock(hashtext('sensorflow migrations'))")
        starting = asyncio.create_task(storage.start())
        await eventually(lambda: len(own_server.execute(WAITING)) == 1)
        if hangs:
            own_server.pause()
        starting.cancel()
        started = time.monotonic()
        await asyncio.wait((starting,))
        assert starting.cancelled()
        assert time.monotonic() - started < promised(3)
        own_server.resume()
        await transaction.rollback()
    await storage.start()
    await storage.append([server_reading()])
    await storage.close()
    await other.close()


# In a commit


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


@pytest.mark.parametrize("count", [1, COPY_FROM])
@pytest.mark.parametrize("state", ["53100", "53200", "25006", "55P03", "57014", "40001", "XX001"])
async def test_what_the_database_cannot_do_now_is_stored_later(
    storage: PostgresStorage, database: Database, state: str, count: int
) -> None:
    batch, token = [server_reading() for _ in range(count)], uuid4()
    hinder(database, f"RAISE EXCEPTION 'not now' USING ERRCODE = '{state}'")
    for attempt in (storage.append(batch, token), storage.start()):
        with pytest.raises(StorageUnavailable):
            await attempt
    unhinder(database)
    await storage.start()
    assert {type(outcome) for outcome in await storage.append(batch, token)} == {Stored}
    assert database.count() == count


@pytest.mark.parametrize("count", [1, COPY_FROM])
async def test_what_takes_too_long_is_committed_once_whatever_became_of_it(
    storage: PostgresStorage, database: Database, count: int
) -> None:
    batch, token = [server_reading() for _ in range(count)], uuid4()
    hinder(database, "IF new.id = 1 THEN PERFORM pg_sleep(1.5); END IF")
    with pytest.raises(StorageUnavailable, match="does not answer"):
        await storage.append(batch, token)
    # Waits for the end of what goes on in the server.
    unhinder(database)
    await storage.start()
    outcomes = await storage.append(batch, token)
    assert {type(outcome) for outcome in outcomes} in ({Stored}, {Duplicate})
    assert database.count() == count


@pytest.mark.parametrize("count", [1, COPY_FROM])
async def test_a_value_that_the_driver_refuses_is_the_batchs_fault(
    storage: PostgresStorage, database: Database, count: int
) -> None:
    batch = [device_reading("a", n) for n in range(count)]
    batch[-1].client_ip = "\ud800"
    with pytest.raises(BatchRefused):
        await storage.append(batch)
    assert [reading.id for reading in batch] == [None] * count
    batch[-1].client_ip = "192.0.2.7"
    assert {type(outcome) for outcome in await storage.append(batch)} == {Stored}
    assert database.count() == count


async def test_a_process_that_freezes_with_the_lock_is_cut_off_by_the_database(
    storage: PostgresStorage,
) -> None:
    frozen = await connect(storage.address)
    try:
        await frozen.execute("SET idle_in_transaction_session_timeout = '200ms'")
        await frozen.execute("BEGIN")
        await frozen.execute(session._LOCK)
        assert isinstance((await storage.append([server_reading()]))[0], Stored)
        await eventually(frozen.is_closed)  # our own end may hear of it later
    finally:
        frozen.terminate()


# Between commits


async def test_it_is_told_when_the_writing_session_ends(
    storage: PostgresStorage, database: Database
) -> None:
    told: list[StorageUnavailable] = []
    storage.on_lost(told.append)
    await storage.start()
    assert told == []
    database.execute(TERMINATED)
    await eventually(lambda: len(told) == 1)
    with pytest.raises(StorageUnavailable):
        await storage.append([server_reading()])
    await storage.start()
    await storage.append([server_reading()])
    assert await storage.newest() is not None
    assert len(told) == 1


@pytest.mark.parametrize("end", [Postgres.stop, Postgres.kill])
async def test_it_is_told_at_once_when_the_server_ends(
    own_server: Postgres, end: Callable[[Postgres], None]
) -> None:
    storage = PostgresStorage(own_server.url())
    told: list[StorageUnavailable] = []
    storage.on_lost(told.append)
    await storage.start()
    end(own_server)
    await eventually(lambda: len(told) == 1, seconds=1.0)
    with pytest.raises(StorageUnavailable):
        await storage.start()
    own_server.start()
    await storage.start()
    await storage.close()
    assert len(told) == 1


async def test_it_is_not_told_of_what_is_known(own_server: Postgres) -> None:
    storage = PostgresStorage(own_server.url())
    told: list[StorageUnavailable] = []
    storage.on_lost(told.append)
    await storage.start()
    for count in (1, COPY_FROM):
        await storage.start()
        own_server.pause()
        with pytest.raises(StorageUnavailable, match="does not answer"):
            await storage.append([server_reading()] * count)
        own_server.resume()
    await storage.start()
    await storage.close()
    await asyncio.sleep(0)
    assert told == []


async def test_a_session_that_ends_during_the_start_is_no_start(
    storage: PostgresStorage, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Session.probe

    async def probe_and_end(session: Session) -> None:
        await probe(session)
        database.execute(TERMINATED)
        await eventually(session._connection.is_closed)

    monkeypatch.setattr(Session, "probe", probe_and_end)
    with pytest.raises(StorageUnavailable, match="ended"):
        await storage.start()


async def test_nothing_waits_for_a_server_that_hangs(own_server: Postgres) -> None:
    storage = PostgresStorage(own_server.url())
    await storage.start()
    await storage.append([server_reading()])
    await asyncio.gather(*(storage.after(0, 1) for _ in range(READERS)))
    own_server.pause()
    for attempt, bound in [
        (storage.append([server_reading()]), 1.5),
        (storage.ping(), 2.5),
        (storage.after(0, 1), 2.75),
        (storage.describe("a", lambda details: details), 2.75),
        (storage.start(), 2.5),
        (upkeep.maintain(storage.address), 2.5),
    ]:
        started = time.monotonic()
        with pytest.raises(StorageUnavailable):
            await attempt
        assert time.monotonic() - started < promised(bound)
    await storage.close()


async def test_a_read_and_the_session_that_it_needs_have_one_bound(
    storage: PostgresStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    async def slowly(address: Address) -> Connection:
        await asyncio.sleep(0.2)
        return await connect(address)

    def limited_(connection: Connection, seconds: float) -> AbstractContextManager[None]:
        given.append(seconds)
        return limited(connection, seconds)

    monkeypatch.setattr(readers, "connect", slowly)
    monkeypatch.setattr(readers, "limited", limited_)
    await storage.after(0, 1)
    (seconds,) = given
    assert 0 < seconds <= READ_TIMEOUT - 0.2


async def test_closing_does_not_wait_for_a_server_that_hangs(own_server: Postgres) -> None:
    storage = PostgresStorage(own_server.url())
    await storage.start()
    await asyncio.gather(*(storage.after(0, 1) for _ in range(READERS)))
    own_server.pause()
    reading = asyncio.create_task(storage.after(0, 1))
    await asyncio.sleep(0)
    started = time.monotonic()
    await storage.close()
    with pytest.raises(StorageUnavailable):
        await reading
    assert time.monotonic() - started < promised(3)
    own_server.resume()
    await eventually(lambda: not own_server.execute(SESSIONS))
