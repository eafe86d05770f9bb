"""`sensorflow db import-original`: the real program, killed in the middle, and beside a server."""

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

MANY = 1_000_000

# A commit beyond these ids waits for longer than the program does, so that it is killed before.
HOLD = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT last_value FROM readings_id_seq) > 8000 THEN PERFORM pg_sleep(60); END IF;
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
    """`sensorflow db import-original`, with its settings."""

    def __init__(self, folder: Path, source: str, target: str | None) -> None:
        self._folder = folder
        self._arguments = [str(PROGRAM), "db", "import-original", source]
        self._environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(folder / "data")}
        if target is not None:
            self._environment["DATABASE_URL"] = target

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


def settled(postgres: Postgres, database: str) -> int:
    """How many are stored once nobody else is at it."""
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    wait_until(lambda: postgres.execute(others, database=database)[0][0] == 0)
    number: int = postgres.execute("SELECT count(*) FROM readings", database=database)[0][0]
    return number


def test_killed_in_the_middle_it_finishes_on_the_second_run(
    tmp_path: Path, postgres: Postgres, database: str
) -> None:
    source = postgres.create_database()
    original.make(postgres, source)
    original.fill(postgres, source, original.shown(original.weather()))
    program = Program(tmp_path, source, database)
    upgrade = [str(PROGRAM), "db", "upgrade"]
    subprocess.run(upgrade, cwd=tmp_path, env={**os.environ, "DATABASE_URL": database}, check=True)
    postgres.script(HOLD, database)
    process = program.start()

    def count() -> int:
        number: int = postgres.execute("SELECT count(*) FROM readings", database=database)[0][0]
        return number

    program.kill(process, count, 8_000)
    postgres.script(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        database,
    )
    kept = settled(postgres, database)
    assert kept == 8_000
    postgres.script("DROP FUNCTION hold CASCADE", database)
    out = program.finish()
    assert "  8,000  stored before\n" in out
    assert f"{23_386 - kept:,}  stored\n" in out
    assert "Compared: 23,386 rows" in out
    assert settled(postgres, database) == 23_386
    postgres.drop_database(source)


def test_beside_a_server_what_comes_reaches_who_resumes(
    tmp_path: Path, postgres: Postgres, database: str
) -> None:
    rows = original.shown(original.weather()[:3_000])
    source = original.make_file(tmp_path / "original.db", rows)
    with serving(tmp_path / "server", DATABASE_URL=database) as server:
        request = urllib.request.Request(
            f"{server.base}/api/stream?since=0", headers={"X-API-Key": READ_KEY}
        )
        with urllib.request.urlopen(request, timeout=30) as stream:
            Program(tmp_path, source, database).finish()
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

        yield Program(tmp_path, source, None), count
    else:
        target = shared(request.param)
        url = target.create_database()
        yield Program(tmp_path, source, url), lambda: settled_or_not(target, url)
        target.drop_database(url)
    server.drop_database(source)


def settled_or_not(server: Postgres, url: str) -> int:
    if server.execute("SELECT to_regclass('readings') IS NULL", database=url)[0][0]:
        return 0
    number: int = server.execute("SELECT count(*) FROM readings", database=url)[0][0]
    return number


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
