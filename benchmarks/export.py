"""EXPORT: every reading as CSV, beside the database's own way to write its rows so.

The readings are those of `history.py`, a million. Beside the program on PostgreSQL stands
`COPY (…) TO STDOUT (FORMAT csv)` of the same columns in the same order, by asyncpg; on SQLite,
which has no such statement in its library, Python's `csv` with the rows of one query. All of them
throw away what they get.
"""

import asyncio
import csv
import http.client
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from benchmarks.databases import DATABASES
from benchmarks.history import History, last_midnight
from benchmarks.p6 import wait
from benchmarks.report import Row, compact, spread
from benchmarks.server import API_KEY_WS, HOST, BenchmarkError, Running, scratch, sensorflow
from benchmarks.usage import watched

MILLIONS: Final = 1
ORDERS: Final = (("in the order of ids", "&after=0"), ("newest first", ""))
GOAL: Final = "memory flat (no ratio was set)"
CHUNK: Final = 262_144

_SELECT: Final = (
    "SELECT r.id, s.sensor_id, r.recorded_at, r.received_at, r.temperature, r.humidity, r.pressure,"
    " r.client_ip FROM readings r JOIN sensors s ON s.id = r.sensor ORDER BY "
)
BESIDE_ORDERS: Final = {
    "in the order of ids": "r.id",
    "newest first": "r.recorded_at DESC, r.id DESC",
}


class Beside(NamedTuple):
    """The database's own way."""

    name: str
    lines: Callable[[str], int]
    """Takes everything in the order given; the number of lines."""


def measure(database: str, rounds: int) -> list[Row]:
    """A row for each order."""
    problems: list[str] = []
    history = History(MILLIONS, last_midnight())
    print(f"filling in {history.readings:,} readings ...", file=sys.stderr, flush=True)
    with scratch() as folder, DATABASES[database](folder) as made:
        # Makes the tables.
        with sensorflow(folder, problems, made.variables) as program:
            wait(program)
        if database == "sqlite":
            history.fill_sqlite(folder)
            beside = Beside("sqlite3 and csv", partial(_python_csv, folder / "sensorflow.db"))
        else:
            url = made.variables["DATABASE_URL"]
            asyncio.run(history.fill_postgresql(url))
            beside = Beside("COPY … TO STDOUT", partial(_copy, url))
        with sensorflow(folder, problems, made.variables) as program:
            wait(program)
            return [
                _order(order, query, program, beside, history.readings, rounds, problems)
                for order, query in ORDERS
            ]


def _order(
    order: str,
    query: str,
    program: Running,
    beside: Beside,
    readings: int,
    rounds: int,
    problems: list[str],
) -> Row:
    ours, theirs, grown = [], [], []
    for _ in range(rounds):
        with watched(program) as before:
            time.sleep(0.5)
        with watched(program) as during:
            began = time.perf_counter()
            rows = _export(program, query) - 1
            ours.append(rows / (time.perf_counter() - began))
        grown.append((during.most_bytes - before.most_bytes) / 2**20)
        began = time.perf_counter()
        peer_rows = beside.lines(BESIDE_ORDERS[order])
        theirs.append(peer_rows / (time.perf_counter() - began))
        if not rows == peer_rows == readings:
            problems.append(f"{rows} and {peer_rows} rows of {readings}")
    return Row(
        f"EXPORT {readings:,} readings as CSV, {order}",
        f"{compact(ours)} rows/s, at most {max(grown):.1f} MiB more memory",
        f"{beside.name} {compact(theirs)} rows/s",
        spread([mine / other for mine, other in zip(ours, theirs, strict=True)]),
        "—",
        GOAL,
        "as many rows as readings",
        problems,
    )


def _export(program: Running, query: str) -> int:
    """The lines of the answer."""
    with closing(http.client.HTTPConnection(HOST, program.port, timeout=60)) as connection:
        connection.request(
            "GET", f"/api/readings?format=csv{query}", headers={"X-API-Key": API_KEY_WS}
        )
        response = connection.getresponse()
        if response.status != 200:
            raise BenchmarkError(f"the export was answered with {response.status}")
        lines = 0
        while part := response.read1(CHUNK):
            lines += part.count(b"\n")
        return lines


def _copy(url: str, order: str) -> int:
    lines = 0

    async def count(data: bytes) -> None:
        nonlocal lines
        lines += data.count(b"\n")

    async def copy() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.copy_from_query(_SELECT + order, output=count, format="csv")
        finally:
            await connection.close()

    asyncio.run(copy())
    return lines


class _Lines:
    def __init__(self) -> None:
        self.number = 0

    def write(self, text: str) -> None:
        self.number += text.count("\n")


def _python_csv(path: Path, order: str) -> int:
    lines = _Lines()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        csv.writer(lines).writerows(connection.execute(_SELECT + order))
    return lines.number
