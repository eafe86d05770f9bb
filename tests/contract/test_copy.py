"""`sensorflow db copy`: everything of an embedded database in a PostgreSQL database."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from sensorflow.cli.moving.copy import copy
from sensorflow.errors import DataDirInUse, SettingsError, StorageUnavailable
from sensorflow.history.follower import Follower
from sensorflow.history.ledger import Ledger
from sensorflow.metrics.by_sensor import BySensor
from sensorflow.readings import Duplicate, Reading, Stored
from sensorflow.storage.base import Storage
from sensorflow.storage.engine import open_storage
from sensorflow.storage.folder import FILE_NAME, lock_data_dir
from sensorflow.storage.tables import metadata
from sensorflow.storage.transfer.tables import tables
from tests.contract.conftest import Database
from tests.helpers import device_reading, server_reading
from tests.weather import as_reading, weather

# The versions differ in nothing that these look at.
on_one = pytest.mark.parametrize("database", ["15"], indirect=True)

# What is not here is copied.
LEFT_OUT = {"commits", "partitions", "sensors.latest", "sizes"}

ODD = [
    server_reading("Küche 😀", temperature=-5e-324, **{"flow.rate-1": 1e300, "zero": -0.0}),
    server_reading("Küche 😀", b=0.1 + 0.2, a=1.0),
    device_reading("a", 1.123457, humidity=1.7976931348623157e308),
    device_reading("Z", 3, pressure=-0.0),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@asynccontextmanager
async def opened(folder: Path, url: str | None = None) -> AsyncIterator[Storage]:
    storage = open_storage(folder, url)
    try:
        await storage.start()
        yield storage
    finally:
        await storage.close()


async def fill(folder: Path, readings: list[Reading]) -> None:
    """Append, count and follow, as a server does."""
    async with opened(folder) as storage:
        for first in range(0, len(readings), 4_000):
            await storage.append(readings[first : first + 4_000])
        await storage.count({"a": {"duplicate": 7}, "silent": {"not_a_number": 2}}, uuid4(), None)
        follower = Follower(storage, Ledger(storage, BySensor()))
        while await follower.turn():
            pass


def embedded(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / FILE_NAME)) as database, database:
        return database.execute(sql).fetchall()


async def everything(folder: Path, url: str | None) -> tuple[object, ...]:
    """All that can be asked of a storage."""
    async with opened(folder, url) as storage:
        lead = await storage.lead()
        return (
            await storage.after(0, 10**6),
            await storage.sensors(100, None, ""),
            sorted((await storage.states(range(100))).items()),
            lead,
            await storage.oldest(),
        )


def test_what_is_not_copied_is_each_databases_own() -> None:
    left_out = {table.name for table in metadata.tables.values()} - {t.name for t in tables()}
    left_out |= {
        f"{table.name}.{column.name}"
        for table in tables()
        for column in table.columns
        if column.info.get("only") == "postgresql"
    }
    assert left_out == LEFT_OUT


@pytest.mark.parametrize("database", ["18"], indirect=True)
def test_everything_is_the_same_afterwards(
    folder: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(fill(folder, [*map(as_reading, weather()), *ODD]))
    before = asyncio.run(everything(folder, None))
    assert copy(database.url) == 0
    out = capsys.readouterr().out
    assert "23,390  readings, checksum " in out
    assert "Compared: both databases hold the same." in out
    assert asyncio.run(everything(folder, database.url)) == before
    for name in ("minute", "hour", "day"):
        table = f"rollups_{name}"
        assert database.count(table) == embedded(folder, f"SELECT count(*) FROM {table}")[0][0] > 0
    (partition,) = database.execute("SELECT lower, upper, rows FROM partitions")
    assert partition == (1, 1_000_001, None)

    async def go_on() -> None:
        async with opened(folder, database.url) as storage:
            (again,) = await storage.append([device_reading("Z", 3, pressure=0.0)])
            assert isinstance(again, Duplicate)
            (stored,) = await storage.append([server_reading("new")])
            assert isinstance(stored, Stored)
            assert stored.reading.id == 23_391
            sensor = await storage.sensor("new")
            ((highest,),) = embedded(folder, "SELECT max(id) FROM sensors")
            assert sensor is not None
            assert sensor.number == highest + 1

    asyncio.run(go_on())


@on_one
def test_ids_after_a_restore_and_what_was_removed_come_along(
    folder: Path, database: Database
) -> None:
    async def make() -> None:
        async with opened(folder) as storage:
            await storage.append([server_reading(temperature=float(n)) for n in range(10)])
            await storage.skip_ids()
            await storage.append([server_reading(temperature=float(n)) for n in range(10)])

    asyncio.run(make())
    embedded(folder, "DELETE FROM readings WHERE id < 4")
    embedded(folder, f"DELETE FROM readings WHERE id > {10**12 + 8}")
    before = asyncio.run(everything(folder, None))
    assert copy(database.url) == 0
    assert asyncio.run(everything(folder, database.url)) == before
    assert database.execute("SELECT lower, upper, rows FROM partitions ORDER BY lower") == [
        (4, 1_000_004, 7),
        (10**12 + 1, 10**12 + 1_000_001, None),
    ]

    async def go_on() -> None:
        async with opened(folder, database.url) as storage:
            assert await storage.oldest() == 4
            (stored,) = await storage.append([server_reading()])
            assert isinstance(stored, Stored)
            assert stored.reading.id == 10**12 + 11

    asyncio.run(go_on())


@on_one
def test_after_a_restore_ids_go_on_where_nothing_was_stored_yet(
    folder: Path, database: Database
) -> None:
    async def make() -> None:
        async with opened(folder) as storage:
            await storage.append([server_reading()])
            await storage.skip_ids()

    async def go_on() -> None:
        async with opened(folder, database.url) as storage:
            (stored,) = await storage.append([server_reading()])
            assert isinstance(stored, Stored)
            assert stored.reading.id == 10**12 + 1

    asyncio.run(make())
    assert copy(database.url) == 0
    asyncio.run(go_on())
    assert database.count("partitions") == 2


@on_one
def test_a_copy_that_broke_off_is_finished_and_nobody_uses_it_before(
    folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(fill(folder, [server_reading(temperature=float(n)) for n in range(50)]))
    before = asyncio.run(everything(folder, None))
    monkeypatch.setattr("sensorflow.storage.transfer.source.PAGE_ROWS", 7)
    asyncio.run(everything(folder, database.url))  # makes the tables
    database.server.script(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF (SELECT max(id) FROM readings) > 20 THEN RAISE 'not now'; END IF; RETURN NULL;"
        " END $$; CREATE TRIGGER fail BEFORE INSERT ON readings EXECUTE FUNCTION fail()",
        database.url,
    )
    with pytest.raises(StorageUnavailable, match="not now"):
        copy(database.url)
    assert database.count() == 21
    with pytest.raises(StorageUnavailable, match="`sensorflow db copy` has to finish"):
        asyncio.run(everything(folder, database.url))

    another = folder.parent / "another"
    asyncio.run(fill(another, [server_reading() for _ in range(5)]))
    monkeypatch.setenv("DATA_DIR", str(another))
    with pytest.raises(SettingsError, match="a part of another one"):
        copy(database.url)
    monkeypatch.setenv("DATA_DIR", str(folder))

    database.execute("DROP FUNCTION fail CASCADE")
    assert copy(database.url) == 0
    assert asyncio.run(everything(folder, database.url)) == before
    with pytest.raises(SettingsError, match="in use already"):
        copy(database.url)


@on_one
def test_what_differs_is_told_and_the_copy_is_not_used(
    folder: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(fill(folder, [server_reading(temperature=float(n)) for n in range(5)]))
    asyncio.run(everything(folder, database.url))  # makes the tables
    database.server.script(
        "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " NEW.temperature := NEW.temperature + 1e-15 * (NEW.id = 2)::int; RETURN NEW;"
        " END $$; CREATE TRIGGER change BEFORE INSERT ON readings"
        " FOR EACH ROW EXECUTE FUNCTION change()",
        database.url,
    )
    assert copy(database.url) == 1
    err = capsys.readouterr().err
    assert err.startswith("sensorflow: readings: the copy has 5 rows, checksum ")
    assert len(err.splitlines()) == 1
    with pytest.raises(StorageUnavailable):
        asyncio.run(everything(folder, database.url))


@on_one
def test_what_cannot_be_copied_is_refused_in_one_line(
    folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="DATA_DIR: there is no database"):
        copy(database.url)
    asyncio.run(fill(folder, ODD))
    with pytest.raises(SettingsError, match="--to: write postgresql://"):
        copy("sqlite:///x.db")
    with pytest.raises(StorageUnavailable, match="host is not known"):
        copy("postgresql://a:b@nowhere.invalid/c")
    lock = lock_data_dir(folder)
    with pytest.raises(DataDirInUse):
        copy(database.url)
    os.close(lock)
    monkeypatch.setenv("DATABASE_URL", database.url)
    with pytest.raises(SettingsError, match="use pg_dump"):
        copy(database.url)


@on_one
async def test_a_server_that_uses_the_target_is_not_disturbed(
    folder: Path, database: Database
) -> None:
    await fill(folder, ODD)
    async with opened(folder, database.url) as storage:
        assert await storage.lead() == 0
        with pytest.raises(SettingsError, match="a server uses that database"):
            await asyncio.to_thread(copy, database.url)
        assert [type(o) for o in await storage.append([server_reading()])] == [Stored]


@on_one
async def test_what_autovacuum_may_hold_is_waited_for(folder: Path, database: Database) -> None:
    await fill(folder, ODD)
    holder = await asyncpg.connect(database.url)
    held = holder.transaction()
    await held.start()
    await holder.execute("LOCK TABLE sensors IN SHARE UPDATE EXCLUSIVE MODE")
    copying = asyncio.create_task(asyncio.to_thread(copy, database.url))
    # Longer than a server would wait.
    waits = (
        "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity a USING (pid) WHERE NOT granted"
        " AND datname = current_database() AND clock_timestamp() - query_start > '1.5 s')"
    )
    while not await holder.fetchval(waits):
        assert not copying.done()
        await asyncio.sleep(0.05)
    await held.rollback()
    await holder.close()
    assert await copying == 0
