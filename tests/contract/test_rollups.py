"""Rollups beside a plain computation over the readings, on every backend."""

import math
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, text

from sensorflow.errors import StorageUnavailable
from sensorflow.history.follower import Follower
from sensorflow.history.ledger import Ledger
from sensorflow.metrics.by_sensor import BySensor
from sensorflow.readings import Clock, Reading
from sensorflow.storage.base import Storage
from sensorflow.storage.engine import open_rebuilder, open_storage
from sensorflow.storage.folder import FILE_NAME
from tests.helpers import NOON, device_reading
from tests.postgres import VERSIONS, shared

TIERS = {"minute": 60, "hour": 3_600, "day": 86_400}
NAMES = ["temperature", "humidity", "pressure", "co2", "flow.rate-1"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_prefixes = count()


@dataclass
class Stored:
    """A storage, and a look into its tables."""

    storage: Storage
    execute: Callable[[str], Sequence[Sequence[Any]]]
    change: Callable[[str], object]


@pytest.fixture(params=["sqlite", *(f"postgresql-{version}" for version in VERSIONS)])
async def stored(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stored]:
    backend, _, version = request.param.partition("-")
    if backend == "sqlite":

        def look(sql: str) -> Sequence[Sequence[Any]]:
            with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
                return database.execute(sql).fetchall()

        storage = open_storage(tmp_path)
        await storage.start()

        def change(sql: str) -> None:
            with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database, database:
                database.execute(sql)

        yield Stored(storage, look, change)
        await storage.close()
        return
    server = shared(version)
    url = server.create_database(migrated=True)
    storage = open_storage(tmp_path, url)
    await storage.start()

    def execute(sql: str) -> Sequence[Sequence[Any]]:
        return server.execute(sql, database=url)

    yield Stored(storage, execute, execute)
    await storage.close()
    server.drop_database(url)


@dataclass(frozen=True)
class Rolled:
    """What the values of a bucket come to, but for their sum."""

    count: int
    minimum: float
    maximum: float
    first: float
    last: float
    first_at: datetime
    last_at: datetime


Key = tuple[str, str, datetime]


def plainly(readings: Sequence[Reading], seconds: int) -> dict[Key, list[Reading]]:
    """The readings of each bucket, in order of time, then of id."""
    found: dict[Key, list[Reading]] = {}
    for reading in sorted(readings, key=lambda r: (r.recorded_at, r.id)):
        at = reading.recorded_at
        bucket = at - (at - _EPOCH) % timedelta(seconds=seconds)
        for name in reading.measurements:
            found.setdefault((reading.sensor_id, name, bucket), []).append(reading)
    return found


def moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else _EPOCH + timedelta(microseconds=value)


def check(stored: Stored, tier: str, prefix: str, readings: Sequence[Reading]) -> None:
    """Hold the rows of a tier to what its readings come to."""
    rows = stored.execute(
        "SELECT s.sensor_id, m.name, bucket, count, sum, minimum, maximum, first, last, first_at,"
        f" last_at FROM rollups_{tier} r JOIN sensors s ON s.id = r.sensor"
        " JOIN measurements m ON m.id = r.measurement"
        f" WHERE s.sensor_id IN ('{prefix}a', '{prefix}b')"
    )
    found = {(row[0], row[1], moment(row[2])): row[3:] for row in rows}
    expected = plainly(readings, TIERS[tier])
    assert found.keys() == expected.keys()
    for key, of_bucket in expected.items():
        number, total, minimum, maximum, first, last, first_at, last_at = found[key]
        values = [reading.measurements[key[1]] for reading in of_bucket]
        assert Rolled(
            number, minimum, maximum, first, last, moment(first_at), moment(last_at)
        ) == Rolled(
            len(values),
            min(values),
            max(values),
            values[0],
            values[-1],
            of_bucket[0].recorded_at,
            of_bucket[-1].recorded_at,
        )
        assert total == pytest.approx(
            math.fsum(values), rel=0, abs=1e-9 * math.fsum(map(abs, values))
        )


class Interrupted:
    """A storage that fails now and then, before or after a page is written."""

    def __init__(self, storage: Storage, faults: Iterator[str]) -> None:
        self._storage = storage
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def follow(self, *arguments: Any) -> bool:
        fault = next(self._faults, "")
        if fault == "before":
            raise StorageUnavailable("away")
        written = await self._storage.follow(*arguments)
        if fault == "after":
            raise StorageUnavailable("away")
        return written


async def follow_all(storage: Storage, page: int = 100, faults: Sequence[str] = ()) -> None:
    """Follow up to the end of the stream, whatever fails on the way."""
    follower = Follower(Interrupted(storage, iter(faults)), Ledger(storage, BySensor()), page)
    newest = await storage.newest()
    while newest is not None and (await storage.lead() or 0) < (newest.id or 0):
        try:
            await follower.turn()
        except StorageUnavailable:
            follower.forget()


values = st.one_of(
    st.floats(-1e6, 1e6), st.sampled_from([0.0, -0.0, 5e-324, 0.1, 21.5, 1e22, -1013.25])
)
made = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        # Around a midnight, so that late ones fall into other minutes, hours and days.
        st.one_of(st.integers(-200, 200), st.integers(-200_000, 200_000)),
        st.dictionaries(st.sampled_from(NAMES), values, min_size=1),
    ),
    max_size=30,
)


def readings_of(prefix: str, rows: Sequence[tuple[str, int, dict[str, float]]]) -> list[Reading]:
    midnight = NOON.replace(hour=0)
    return [
        Reading(
            prefix + sensor,
            measurements,
            midnight + timedelta(seconds=seconds / 4),
            Clock.SERVER,
            NOON,
            None,
        )
        for sensor, seconds, measurements in rows
    ]


async def hold(stored: Stored, batches: Sequence[Any], page: int, faults: Sequence[str]) -> None:
    """Each batch ends with a sensor that is removed before the batch is followed, or none."""
    prefix = f"{next(_prefixes)}-"
    sent: list[Reading] = []
    for batch, removed in batches:
        readings = readings_of(prefix, batch)
        if readings:
            await stored.storage.append(readings)
        sent += readings
        if removed:
            gone = prefix + removed
            while (step := await stored.storage.remove_some(gone, 4)) is not None and not step.done:
                pass
            sent = [one for one in sent if one.sensor_id != gone]
        await follow_all(stored.storage, page, faults)
    for tier in TIERS:
        check(stored, tier, prefix, sent)


_shared_between_examples = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
_batch_and_removed = st.tuples(made, st.sampled_from(["", "", "a", "b"]))
_faults = st.lists(st.sampled_from(["before", "after", ""]), max_size=6)


@settings(_shared_between_examples, max_examples=15)
@given(st.lists(_batch_and_removed, max_size=3), st.integers(1, 9), _faults)
async def test_rollups_are_what_the_readings_come_to(
    stored: Stored, batches: list[Any], page: int, faults: list[str]
) -> None:
    await hold(stored, batches, page, faults)


@pytest.mark.long
@pytest.mark.timeout(1200)
@settings(_shared_between_examples, max_examples=500)
@given(st.lists(_batch_and_removed, max_size=5), st.integers(1, 20), _faults)
async def test_rollups_are_what_the_readings_come_to_in_full_counts(
    stored: Stored, batches: list[Any], page: int, faults: list[str]
) -> None:
    await hold(stored, batches, page, faults)


async def test_of_the_same_moment_the_first_is_the_one_stored_first(stored: Stored) -> None:
    sent = readings_of("", [("a", 0, {"temperature": t, "x": t}) for t in (3.0, 1.0, 2.0, 4.0)])
    for pair in (sent[:2], sent[2:]):
        await stored.storage.append(pair)
        await follow_all(stored.storage)
    for tier in TIERS:
        found = stored.execute(f"SELECT first, last FROM rollups_{tier}")
        assert [tuple(row) for row in found] == [(3.0, 4.0)] * 2


async def test_a_sum_stays_within_what_a_double_holds(stored: Stored) -> None:
    most = 1.7976931348623157e308
    rows = [("a", n, {"temperature": most, "humidity": -most, "x": most}) for n in range(4)]
    sent = readings_of("", rows)
    for reading in sent:
        await stored.storage.append([reading])
        await follow_all(stored.storage)
    for tier in TIERS:
        found = stored.execute(f"SELECT count, sum, minimum, maximum FROM rollups_{tier}")
        assert all(abs(row[1]) == pytest.approx(4e300) for row in found)
        assert {(row[0], row[2], row[3]) for row in found} == {
            (4, most, most),
            (4, -most, -most),
        }


async def test_nothing_is_written_of_a_sensor_that_is_removed_meanwhile(stored: Stored) -> None:
    await stored.storage.append(readings_of("", [(s, 0, {"temperature": 1.0}) for s in "ab"]))
    await stored.storage.lead()
    page = await stored.storage.gathered(0, 10)
    stored.change("DELETE FROM readings WHERE sensor = (SELECT min(id) FROM sensors)")
    stored.change("DELETE FROM sensors WHERE id = (SELECT min(id) FROM sensors)")
    assert await stored.storage.follow(page, page.sums)
    for table in ("sensor_states", *(f"rollups_{tier}" for tier in TIERS)):
        assert stored.execute(f"SELECT count(*) FROM {table}")[0][0] == 1


def upgrade_to(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "sensorflow.storage:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def test_an_upgrade_rolls_up_what_is_there_and_counts_nothing_again(tmp_path: Path) -> None:
    database = create_engine(f"sqlite:///{tmp_path / FILE_NAME}")
    with database.begin() as connection:
        upgrade_to(connection, "0002")
        connection.execute(text("INSERT INTO sensors (sensor_id, first_seen) VALUES ('old', 0)"))
        at = (NOON - _EPOCH) // timedelta(microseconds=1)
        # The first of them are gone.
        for number in range(11, 21):
            connection.execute(
                text(
                    "INSERT INTO readings (id, sensor, recorded_at, clock, received_at,"
                    f" temperature) VALUES ({number}, 1, {at}, 0, {at}, {number})"
                )
            )
        connection.execute(
            text(f"INSERT INTO sensor_states VALUES (1, 18, 18, {at}, '{{}}')"),
        )
        connection.execute(text("UPDATE followers SET cursor = 18"))
    database.dispose()
    storage = open_storage(tmp_path)
    await storage.start()
    try:
        await storage.append([device_reading("new", 1)])
        await follow_all(storage, page=3)
        sensor = await storage.sensor("old")
        assert sensor is not None
        assert sensor.state is not None
        assert (sensor.state.stored, sensor.state.last_id) == (20, 20)
        with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connected:
            rows = connected.execute("SELECT count, sum, first, last FROM rollups_day").fetchall()
        assert rows == [(10, 155.0, 11.0, 20.0), (1, 21.5, 21.5, 21.5)]
    finally:
        await storage.close()


async def rebuilt(stored: Stored) -> tuple[int, int, int, int]:
    """How many rollups there are, were missing, too many, different."""
    totals = [0, 0, 0, 0]
    async for day in open_rebuilder(stored.storage).run():
        totals = [one + other for one, other in zip(totals, day[2:], strict=True)]
    return (totals[0], totals[1], totals[2], totals[3])


@settings(_shared_between_examples, max_examples=10)
@given(made)
async def test_what_is_right_is_left_as_it_is(stored: Stored, rows: Any) -> None:
    readings = readings_of(f"{next(_prefixes)}-", rows)
    if readings:
        await stored.storage.append(readings)
    await follow_all(stored.storage, 7)
    assert (await rebuilt(stored))[1:] == (0, 0, 0)


async def test_what_is_wrong_is_told_and_made_right(stored: Stored) -> None:
    rows = [("a", n * 40, {"temperature": n / 7, "x": 1e10 / (n + 1)}) for n in range(40)]
    sent = readings_of("", rows)
    await stored.storage.append(sent)
    await follow_all(stored.storage)
    stored.change("DELETE FROM rollups_hour")
    stored.change("UPDATE rollups_day SET last = last + 1 WHERE count > 1")
    stored.change(
        "INSERT INTO rollups_minute SELECT sensor, measurement, last_at, count, sum, minimum,"
        " maximum, first, last, first_at, last_at FROM rollups_day"
    )
    # Not followed yet: left to the follower.
    await stored.storage.append(readings_of("", [("a", 1, {"temperature": 99.0})]))
    assert await rebuilt(stored) == (14 + 2 + 2, 2, 2, 2)
    for tier in TIERS:
        check(stored, tier, "", sent)
    assert (await rebuilt(stored))[1:] == (0, 0, 0)


async def test_buckets_whose_readings_are_gone_are_left_alone(stored: Stored) -> None:
    midnight = NOON.replace(hour=0)
    rows = [("a", n * 4 * 1_800, {"temperature": float(n)}) for n in range(-4, 100)]
    await stored.storage.append(readings_of("", rows))
    await follow_all(stored.storage)
    before = {tier: stored.execute(f"SELECT * FROM rollups_{tier} ORDER BY 3") for tier in TIERS}
    stored.change("DELETE FROM readings WHERE temperature < 3")
    gone = midnight + timedelta(hours=1, minutes=30)
    micro = (gone - _EPOCH) // timedelta(microseconds=1)
    literal = str(micro) if isinstance(before["day"][0][2], int) else f"'{gone.isoformat()}'"
    stored.change(f"UPDATE tiers SET complete_from = {literal} WHERE name = 'raw'")
    assert (await rebuilt(stored))[1:] == (0, 0, 0)
    after = {tier: stored.execute(f"SELECT * FROM rollups_{tier} ORDER BY 3") for tier in TIERS}
    assert before == after
