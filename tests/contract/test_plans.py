"""PostgreSQL finds the newest readings by an index, whatever it knows of the table.

A plan is made for what is asked, or once for all that may be asked: after some reads of a kind
PostgreSQL changes from the one to the other by itself, so both are looked at.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Final

import pytest

from sensorflow.history.raw import PAGE
from sensorflow.storage.postgres import history, rollups
from sensorflow.storage.postgres.connection import connect, parse
from sensorflow.storage.postgres.session import Connection
from sensorflow.storage.postgres.storage import PostgresStorage
from tests.contract.conftest import Database

SENSORS: Final = 200
ROWS: Final = 100_000
"""In each of two partitions: far more than anybody wants to read of one for a page."""
LAST: Final = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=2 * ROWS)
UNTIL: Final = (1_000_000 + ROWS, 1_000_000 + ROWS // 100, ROWS // 100)
"""All ids, or those there were when a cursor was made, long ago."""
MAKE: Final = f"""
INSERT INTO sensors (sensor_id, first_seen)
    SELECT 'sensor-' || n, '2026-01-01Z' FROM generate_series(1, {SENSORS}) AS n;
SELECT make_partition(1000001, 2000001);
SELECT make_partition(2000001, 3000001);
"""


def insert(first: int, last: int) -> str:
    """These of the rows, in both partitions."""
    return f"""
INSERT INTO readings (id, sensor, recorded_at, clock, received_at, temperature, humidity, pressure)
    SELECT part * 1000000 + n, 1 + n % {SENSORS}, at, 1, at, 20, 50, 1000
    FROM generate_series(0, 1) AS part, generate_series({first}, {last}) AS n,
        LATERAL (SELECT timestamptz '2026-01-01Z' + (part * {ROWS} + n) * interval '1 s' AS at) t;
"""


FILL: Final = MAKE + insert(1, ROWS)
LOOKED_UP: Final = r"Key: \(\(readings\w*\.id \+ 0\)\)(.*?)(?=Key:|$)"
"""In a plan, where one reading is looked for."""
RANGES: Final = (
    (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)),
    (LAST - timedelta(minutes=1), LAST),
    (LAST - timedelta(seconds=1.4 * ROWS), LAST),
    (datetime(2030, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)),
)
"""All, a little, a part of both partitions, and nothing."""


def named(number: int) -> list[str]:
    return [f"sensor-{n}" for n in range(1, 1 + number)]


ASKED: Final[tuple[list[str] | None, ...]] = (None, named(1), named(2), named(20), named(100))


async def plan_of(session: Connection, query: str, parameters: Sequence[object]) -> str:
    await session.execute(f"PREPARE asked AS {query}")
    given = ", ".join(map(written, parameters))
    rows = await session.fetch(f"EXPLAIN EXECUTE asked ({given})")
    await session.execute("DEALLOCATE asked")
    return "\n".join(row[0] for row in rows)


def written(parameter: object) -> str:
    if isinstance(parameter, datetime):
        return f"'{parameter.isoformat()}'"
    if isinstance(parameter, list):
        return "ARRAY[" + ", ".join(f"'{name}'" for name in parameter) + "]"
    return str(parameter)


@pytest.mark.parametrize("analysed", [True, False], ids=["analysed", "unknown"])
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_the_newest_readings_are_found_by_index(
    database: Database, storage: PostgresStorage, mode: str, analysed: bool
) -> None:
    database.server.script(FILL, database.url)
    if analysed:
        database.server.script("ANALYZE", database.url)
    session = await connect(parse(database.url))
    try:
        await session.execute(f"SET plan_cache_mode = {mode}")
        for sensors, (since, before), until, limit in product(ASKED, RANGES, UNTIL, (1, PAGE)):
            place = before, until // 2
            query, parameters = history.recorded_before(place, since, until, limit, sensors)
            plan = await plan_of(session, query, parameters)
            assert not re.search("Seq Scan on readings_(1|1000001) ", plan), plan
            # Nor is it looked for in the order of ids, over the readings of all sensors.
            assert not re.search("readings_(1|1000001)_pkey", plan), plan
            assert "readings_1000001_sensor_recorded_at_idx" in plan, plan
    finally:
        await session.close()


@pytest.mark.parametrize("state", ["analysed", "unknown", "analysed when there were few"])
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_what_a_page_begins_and_ends_with_is_found_by_its_time(
    database: Database, storage: PostgresStorage, mode: str, state: str
) -> None:
    if state == "analysed when there were few":
        database.server.script(
            f"{MAKE} {insert(1, 100)} ANALYZE; {insert(101, ROWS)}", database.url
        )
    else:
        database.server.script(FILL, database.url)
    if state == "analysed":
        database.server.script("ANALYZE", database.url)
    session = await connect(parse(database.url))
    try:
        await session.execute(f"SET plan_cache_mode = {mode}")
        for page in ((1_000_000, 1_000_000 + ROWS // 5), (1_000_000 + ROWS // 2, 1_000_000 + ROWS)):
            for query, number in (
                (rollups.SUMS, 4),
                (rollups.ROLL_UP, 8),
                (rollups.ROLL_UP_KNOWN, 8),
            ):
                plan = await plan_of(session, query, page)
                found = re.findall(LOOKED_UP, plan, re.DOTALL)
                assert len(found) == number, plan
                for part in found:
                    assert "readings_1000001_sensor_recorded_at_idx" in part, plan
                    assert "readings_1000001_pkey" not in part, plan
    finally:
        await session.close()


async def test_what_is_followed_is_read_without_parallel_workers(
    database: Database, storage: PostgresStorage
) -> None:
    database.server.script(FILL, database.url)
    assert await storage.lead() is not None
    following = storage._leader()._connection
    for cost in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
        await following.execute(f"SET {cost} = 0")
    for query in (rollups.SUMS, rollups.LATEST_OTHERS):
        assert "Gather" not in await plan_of(following, query, (1, 2 * PAGE))
    await following.execute("SET max_parallel_workers_per_gather = 2")
    assert "Gather" in await plan_of(following, rollups.LATEST_OTHERS, (1, 2 * PAGE))


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_where_a_page_begins_and_ends_is_looked_up(
    database: Database, storage: PostgresStorage, mode: str
) -> None:
    database.server.script(FILL, database.url)
    session = await connect(parse(database.url))
    try:
        await session.execute(f"SET plan_cache_mode = {mode}")
        for after in (1, 1_000_000 + ROWS // 2, 3_000_000):
            plan = await plan_of(session, rollups.WINDOW, (after,))
            assert not re.search("Seq Scan on readings_(1|1000001) ", plan), plan
    finally:
        await session.close()


async def test_no_statement_is_compiled(database: Database, storage: PostgresStorage) -> None:
    database.server.script(FILL, database.url)
    session = await connect(parse(database.url))
    page = (1_000_000, 1_000_000 + ROWS)
    try:
        await session.execute("SET jit_above_cost = 0")
        assert "JIT" not in await plan_of(session, rollups.ROLL_UP, page)
        await session.execute("SET jit = on")
        if await session.fetchval("SELECT pg_jit_available()"):
            assert "JIT" in await plan_of(session, rollups.ROLL_UP, page)
    finally:
        await session.close()
