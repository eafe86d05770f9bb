"""P7: what a reading takes on disk, beside a plain table of the same columns and indexes.

20 sensors send temperature, humidity and pressure every 10 seconds with their own clock, a
thousand readings a request. Afterwards the rows are copied, in the same order, into a plain table
in the same kind of database, with the same primary key and index there from the start. Counted with
the table: its indexes. With rollups: everything that is ours, also sensors, states, and
PostgreSQL's tokens.
"""

import http.client
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.postgres import Postgres

from benchmarks.databases import POSTGRES
from benchmarks.report import Row
from benchmarks.server import API_KEY, HOST, BenchmarkError, Running, scratch, sensorflow, tool

READINGS: Final = 300_000
SENSORS: Final = 20
EVERY: Final = timedelta(seconds=10)
AT_ONCE: Final = 1_000
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
FOLLOWED_WITHIN: Final = 300.0
GOAL: Final = "≤ 1.0 × a plain table"
PLAIN: Final = (
    "CREATE TABLE beside.plain (id INTEGER PRIMARY KEY, sensor INTEGER NOT NULL,"
    " recorded_at BIGINT NOT NULL, clock SMALLINT NOT NULL, received_at BIGINT NOT NULL,"
    " temperature DOUBLE, humidity DOUBLE, pressure DOUBLE, extra TEXT, client_ip TEXT)"
)
INDEX: Final = "CREATE INDEX plain_sensor_recorded_at ON plain (sensor, recorded_at)"


@dataclass(frozen=True)
class Sizes:
    """Bytes."""

    readings: int
    everything: int
    plain: int


def measure(database: str) -> list[Row]:
    """One row for the readings alone, one with rollups."""
    problems: list[str] = []
    with scratch() as folder:
        sizes = (_sqlite if database == "sqlite" else _postgresql)(folder, problems)
    return [
        Row(
            name=f"P7 disk a reading, {what}",
            ours=f"{ours / READINGS:.1f} bytes",
            beside=f"plain table {sizes.plain / READINGS:.1f} bytes",
            ratio=f"{ours / sizes.plain:.2f}",
            latency="—",
            goal=goal,
            checked=f"{READINGS:,} readings stored, all of them followed",
            problems=problems,
        )
        for what, ours, goal in (
            ("with its indexes", sizes.readings, GOAL),
            ("with rollups and all else", sizes.everything, "—"),
        )
    ]


def _sqlite(folder: Path, problems: list[str]) -> Sizes:
    path = folder / "sensorflow.db"

    def cursor() -> int:
        uri = f"file:{path}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10.0)) as asked:
            found: int = asked.execute("SELECT min(cursor) FROM followers").fetchone()[0]
            return found

    with sensorflow(folder, problems, {}) as running:
        _send(running)
        _wait(cursor)
    with closing(sqlite3.connect(path)) as ours:
        everything = _used(ours)
        ours.execute("ATTACH ? AS beside", (str(folder / "plain.db"),))
        ours.execute(PLAIN)
        ours.execute(INDEX.replace("INDEX plain", "INDEX beside.plain"))
        for first in range(1, READINGS + 1, AT_ONCE):
            ours.execute(
                "INSERT INTO beside.plain SELECT * FROM readings WHERE id BETWEEN ? AND ?"
                " ORDER BY id",
                (first, first + AT_ONCE - 1),
            )
            ours.commit()
        ours.execute("DETACH beside")
        ours.execute("DROP TABLE readings")
        ours.commit()
        readings = everything - _used(ours)
    with closing(sqlite3.connect(folder / "plain.db")) as plain:
        rows = plain.execute("SELECT count(*) FROM plain").fetchone()[0]
        if rows != READINGS:
            problems.append(f"{rows} rows in the plain table")
        return Sizes(readings, everything, _used(plain))


def _used(database: sqlite3.Connection) -> int:
    pages, free, size = database.execute(
        "SELECT page_count, freelist_count, page_size"
        " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
    ).fetchone()
    used: int = (pages - free) * size
    return used


def _postgresql(folder: Path, problems: list[str]) -> Sizes:
    tool(POSTGRES, "postgresql-15")
    with Postgres("15", shared_buffers="128MB") as server:

        def ask(sql: str) -> int:
            found: int = server.execute(sql)[0][0]
            return found

        with sensorflow(folder, problems, {"DATABASE_URL": server.url()}) as running:
            _send(running)
            _wait(lambda: ask("SELECT min(cursor) FROM followers"))
        readings = ask(
            "SELECT sum(pg_total_relation_size(relid))::bigint"
            " FROM pg_partition_tree('readings') WHERE isleaf"
        )
        everything = ask(
            "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        server.execute("CREATE TABLE plain (LIKE readings)")
        server.execute("ALTER TABLE plain ADD PRIMARY KEY (id)")
        server.execute(INDEX)
        for first in range(1, READINGS + 1, AT_ONCE):
            server.execute(
                "INSERT INTO plain SELECT * FROM readings WHERE id BETWEEN $1 AND $2 ORDER BY id",
                first,
                first + AT_ONCE - 1,
            )
        if (rows := ask("SELECT count(*) FROM plain")) != READINGS:
            problems.append(f"{rows} rows in the plain table")
        return Sizes(readings, everything, ask("SELECT pg_total_relation_size('plain')"))


def _send(running: Running) -> None:
    connection = http.client.HTTPConnection(HOST, running.port, timeout=60)
    headers = {"X-API-Key": API_KEY, "Content-Type": "application/json"}
    deadline = time.monotonic() + 30.0
    for body in _bodies():
        while True:
            try:
                connection.request("POST", "/api/readings", body, headers)
                response = connection.getresponse()
                answer = response.read()
            except OSError:
                # It is not listening yet.
                connection.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
                continue
            if response.status == 201:
                break
            if response.status != 503 or time.monotonic() > deadline:
                raise BenchmarkError(f"readings were answered with {answer[:500]!r}")
            time.sleep(0.05)
    connection.close()


def _bodies() -> Iterator[str]:
    batch = []
    for number in range(READINGS):
        turn, sensor = divmod(number, SENSORS)
        batch.append(
            {
                "sensor_id": f"sensor-{sensor:02}",
                "recorded_at": (START + turn * EVERY).isoformat(),
                "temperature": 20 + (number * 7 % 1_000) / 100,
                "humidity": 40 + (number * 11 % 3_000) / 100,
                "pressure": 1_000 + (number * 13 % 3_000) / 100,
            }
        )
        if len(batch) == AT_ONCE:
            yield json.dumps(batch)
            batch = []


def _wait(cursor: Callable[[], int]) -> None:
    """Until every reading is followed: by then its rollups are written."""
    deadline = time.monotonic() + FOLLOWED_WITHIN
    while cursor() < READINGS:
        if time.monotonic() > deadline:
            raise BenchmarkError("the readings were not followed in time")
        time.sleep(0.2)
