"""Moving in with the real program: killed in the middle, and beside a server."""

import json
import os
import re
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import original
from tests.load import wait_until
from tests.postgres import VERSIONS, Postgres, shared
from tests.servers import PROGRAM, READ_KEY, serving
from tests.weather import weather

MANY = 1_000_000

# A commit waits once there are many readings, for longer than the program does, so that it is
# killed before.
HOLD = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM readings) >= 8000 THEN PERFORM pg_sleep(60); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER hold BEFORE INSERT ON readings EXECUTE FUNCTION hold();
"""
MADE_UP = f"""
INSERT INTO data (date_recorded, time_recorded, temperature, humidity, pressure, sensor_id,
    client_ip)
SELECT at::date, date_trunc('second', at)::time, 20 + sin(n / 1e4), 50 + random(),
    1000 + (n % 300) / 10.0, 'sensor-' || n % 20, '192.0.2.' || n % 20
FROM (SELECT n, timestamp '2025-01-01' + n * interval '250 ms' AS at
    FROM generate_series(1, {MANY}) AS n) AS numbered
"""


class Program:
    """`sensorflow db …`, with its settings."""

    def __init__(self, folder: Path, *arguments: str, database: str | None = None) -> None:
        self._folder = folder
        self._arguments = [str(PROGRAM), "db", *arguments]
        self._environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(folder / "data")}
        if database is not None:
            self._environment["DATABASE_URL"] = database

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._arguments,
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill(self, process: subprocess.Popen[str], count: Callable[[], int], more: int) -> int:
        """SIGKILL once so many more are stored; returns how many there are then."""
        before = count()
        try:
            wait_until(lambda: count() >= before + more or process.poll() is not None, 600)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == -9
        return count()

    def finish(self) -> str:
        with self.start() as process:
            out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        return out


@pytest.fixture
def postgres() -> Postgres:
    return shared("15")


def stored(postgres: Postgres, database: str) -> int:
    if postgres.execute("SELECT to_regclass('readings') IS NULL", database=database)[0][0]:
        return 0
    number: int = postgres.execute("SELECT count(*) FROM readings", database=database)[0][0]
    return number


def release(postgres: Postgres, database: str) -> int:
    """End what waits, and return how many readings were committed."""
    postgres.script(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        database,
    )
    postgres.script("DROP FUNCTION hold CASCADE", database)
    return stored(postgres, database)


def test_killed_in_the_middle_it_finishes_on_the_second_run(
    tmp_path: Path, postgres: Postgres, database: str
) -> None:
    source = postgres.create_database()
    original.make(postgres, source)
    original.fill(postgres, source, original.shown(weather()))
    program = Program(tmp_path, "import-original", source, database=database)
    postgres.script(HOLD, database)
    program.kill(program.start(), lambda: stored(postgres, database), 8_000)
    kept = release(postgres, database)
    assert kept == 8_000
    out = program.finish()
    assert "  8,000  stored before\n" in out
    assert f"{23_386 - kept:,}  stored\n" in out
    assert "Compared: 23,386 rows" in out
    assert stored(postgres, database) == 23_386
    postgres.drop_database(source)


def test_a_copy_killed_in_the_middle_is_finished_by_the_second_run(
    tmp_path: Path, postgres: Postgres, database: str
) -> None:
    rows = original.shown(weather()[:12_000])
    source = original.make_file(tmp_path / "original.db", rows)
    Program(tmp_path, "import-original", source).finish()
    postgres.script(HOLD, database)
    program = Program(tmp_path, "copy", "--to", database)
    program.kill(program.start(), lambda: stored(postgres, database), 10_000)
    assert release(postgres, database) == 10_000
    out = program.finish()
    assert "12,000  readings, checksum " in out
    assert "Compared: both databases hold the same." in out
    with serving(tmp_path, DATABASE_URL=database) as server:
        assert server.terminate() == 0


def test_beside_a_server_what_comes_reaches_who_resumes(
    tmp_path: Path, postgres: Postgres, database: str
) -> None:
    rows = original.shown(weather()[:3_000])
    source = original.make_file(tmp_path / "original.db", rows)
    with serving(tmp_path / "server", DATABASE_URL=database) as server:
        request = urllib.request.Request(
            f"{server.base}/api/stream?since=0", headers={"X-API-Key": READ_KEY}
        )
        with urllib.request.urlopen(request, timeout=30) as stream:
            Program(tmp_path, "import-original", source, database=database).finish()
            ids = []
            for line in stream:
                if line.startswith(b"data: "):
                    ids.append(json.loads(line.removeprefix(b"data: "))["id"])
                if len(ids) == 3_000:
                    break
        assert ids == list(range(1, 3_001))
        assert server.terminate() == 0


@pytest.fixture(params=["sqlite", *VERSIONS])
def moved(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Program, Callable[[], int]]]:
    """A program with a million made-up rows to import, and how many are there."""
    server = shared("15")
    source = server.create_database()
    original.make(server, source)
    server.script(MADE_UP, source)
    if request.param == "sqlite":

        def rows() -> int:
            with closing(sqlite3.connect(tmp_path / "data/sensorflow.db", timeout=10)) as database:
                number: int = database.execute("SELECT count(*) FROM readings").fetchone()[0]
                return number

        def count() -> int:
            try:
                return rows()
            except sqlite3.OperationalError:
                return 0

        yield Program(tmp_path, "import-original", source), count
    else:
        target = shared(request.param)
        url = target.create_database()
        yield (
            Program(tmp_path, "import-original", source, database=url),
            lambda: stored(target, url),
        )
        target.drop_database(url)
    server.drop_database(source)


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_a_million_rows_come_in_spite_of_kills(
    moved: tuple[Program, Callable[[], int]], request: pytest.FixtureRequest
) -> None:
    program, count = moved
    for more in (1, 100_000, 300_000):
        program.kill(program.start(), count, more)
    kept = count()
    assert 400_000 < kept < MANY
    started = time.monotonic()
    out = program.finish()
    took = time.monotonic() - started
    assert f"Compared: {MANY:,} rows" in out
    (stored,) = re.findall(r"([\d,]+)  stored$", out, re.MULTILINE)
    assert kept <= MANY - int(stored.replace(",", ""))
    assert count() == MANY
    again = program.finish()
    assert f"{MANY:,}  stored before\n" in again
    assert count() == MANY
    print(f"\nthe rest of a killed import: {took:.1f} s\n{out}a run that finds all:\n{again}")


EMBEDDED = (
    "INSERT INTO sensors (sensor_id, first_seen) VALUES ('a', 1), ('b', 2), ('c', 3)",
    f"""
INSERT INTO readings (sensor, recorded_at, clock, received_at, temperature, humidity, pressure,
    extra, client_ip)
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {MANY})
SELECT 1 + n % 3, 1735689600000000 + n * 250000, n % 2, 1735689600000000 + n * 250000 + 17,
    20 + n / 3e5, 50 + random() / 1e18, 1000 + (n % 300) / 10.0,
    CASE WHEN n % 10 = 0 THEN '{{"flow":' || n / 7.0 || '}}' END, '192.0.2.7'
FROM numbers
""",
)


@pytest.mark.long
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_million_readings_are_copied_in_spite_of_kills(tmp_path: Path, version: str) -> None:
    Program(tmp_path, "upgrade").finish()
    with closing(sqlite3.connect(tmp_path / "data/sensorflow.db")) as database, database:
        for statement in EMBEDDED:
            database.execute(statement)
    server = shared(version)
    url = server.create_database()
    program = Program(tmp_path, "copy", "--to", url)
    for more in (1, 100_000, 300_000):
        program.kill(program.start(), lambda: stored(server, url), more)
    assert 400_000 < stored(server, url) < MANY
    killed = program.finish()
    assert "Compared: both databases hold the same." in killed
    assert stored(server, url) == MANY
    server.drop_database(url)
    url = server.create_database()
    whole = Program(tmp_path, "copy", "--to", url).finish()
    print(f"\nthe rest of a killed copy:\n{killed}a whole one:\n{whole}")
    server.drop_database(url)
