"""The tests' own PostgreSQL servers do what the fault tests rely on."""

import asyncio
import time

import asyncpg
import psutil
import pytest

from tests.postgres import VERSIONS, Postgres, shared


@pytest.mark.parametrize("version", VERSIONS)
def test_a_killed_server_starts_again_with_what_was_committed(version: str) -> None:
    with Postgres(version) as postgres:
        database = postgres.create_database()
        postgres.execute("CREATE TABLE kept (n int)", database=database)
        postgres.execute("INSERT INTO kept VALUES ($1)", 7, database=database)
        postgres.kill()
        assert not postgres.running
        postgres.start()
        assert postgres.execute("SELECT n FROM kept", database=database) == [(7,)]
        postgres.stop()
        assert not postgres.running
        postgres.start()
        assert postgres.execute("SELECT n FROM kept", database=database) == [(7,)]
        postgres.pause()
        folder = str(postgres.folder)
    left = [p for p in psutil.process_iter(["cwd"]) if (p.info["cwd"] or "").startswith(folder)]
    assert not left
    assert not postgres.folder.exists()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_frozen_server_answers_nothing_until_it_is_resumed(version: str) -> None:
    with Postgres(version) as postgres:
        connection = await asyncpg.connect(postgres.url())
        try:
            postgres.pause()
            began = time.monotonic()
            asking = asyncio.create_task(connection.fetchval("SELECT 1"))
            await asyncio.wait([asking], timeout=0.3)
            assert not asking.done()
            assert postgres.running
            postgres.resume()
            assert await asyncio.wait_for(asking, 10) == 1
            assert time.monotonic() - began >= 0.3
        finally:
            await connection.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_database_belongs_to_a_role_that_is_no_superuser(version: str) -> None:
    postgres = shared(version)
    url = postgres.create_database()
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE TABLE public.own (n int)")
        assert await connection.fetchval("SHOW is_superuser") == "off"
        assert (await connection.fetchval("SHOW server_version")).split(".")[0] == version
        postgres.drop_database(url)
        with pytest.raises(asyncpg.PostgresError):
            await connection.fetchval("SELECT 1")
    finally:
        connection.terminate()
