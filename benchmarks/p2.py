"""P2: 1,000 readings a request, beside plain COPY and InfluxDB; and single readings beside them.

`wrk` posts flat out, each reading with a device's time of its own, so that every one of them is
checked for being a duplicate. Plain COPY goes into a table of the same columns and indexes, in the
same database server, over as many connections, 1,000 rows a transaction. All take turns in one run,
and the ratio of a round is of what ran next to each other.
"""

import asyncio
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from statistics import median
from typing import Any, Final

import asyncpg

from benchmarks import steady
from benchmarks.databases import DATABASES
from benchmarks.influx import InfluxDB, influxdb
from benchmarks.report import Row, compact, milliseconds, spread
from benchmarks.server import (
    Running,
    first_accepted,
    scratch,
    sensorflow,
    stored_rows,
    tool,
)
from benchmarks.wrk import Load, load
from sensorflow.live.hub import RETURN_TIMEOUT

CASES: Final = ((1, 1), (4, 1), (8, 1), (4, 2), (8, 2))
"""Connections, and workers of the program; plain COPY has a process of PostgreSQL for each."""
READINGS: Final = 1_000
"""Of one request, of one COPY, and of one write of InfluxDB's."""
SINGLES: Final = 100
"""Single readings a second, beside the batches."""
FIRST: Final = 1_700_000_000
"""The first reading's time; each request is a second later than the one before."""
MORE: Final = 1_000_000
"""Seconds between the starts of two loads, so that no time comes twice."""
GOAL: Final = "0.8 × plain COPY"
GOAL_INFLUXDB: Final = "1 × InfluxDB"
GOAL_SINGLES: Final = "≤ 5 × the calm p99"

_COLUMNS: Final = (
    *("id", "sensor", "recorded_at", "clock", "received_at"),
    *("temperature", "humidity", "pressure", "extra", "client_ip"),
)


@dataclass(frozen=True)
class Rounds:
    """What each was seen to do, round by round; rates are readings a second."""

    ours: list[Load]
    copy: list[float]
    influx: list[Load]


def measure(database: str, seconds: int, rounds: int) -> list[Row]:
    """For each of the cases one row beside COPY and one beside InfluxDB.

    None for SQLite, which has no COPY.
    """
    if database != "postgresql":
        return []
    rows = []
    for connections, workers in CASES:
        problems: list[str] = []
        seen = _rounds(connections, workers, seconds, rounds, problems)
        rows += _rows(connections, workers, seen, problems)
    return [*rows, _beside_batches(seconds, rounds)]


def _rounds(
    connections: int, workers: int, seconds: int, rounds: int, problems: list[str]
) -> Rounds:
    wrk = tool("wrk", "wrk")
    with (
        scratch() as folder,
        DATABASES["postgresql"](folder) as database,
        sensorflow(folder, problems, {**database.variables, "WORKERS": f"{workers}"}) as program,
        influxdb(folder, problems) as influx,
    ):
        copier = Copier(database.variables["DATABASE_URL"])
        starts = count(FIRST, MORE)
        ours = partial(_ours, wrk, program, connections)
        theirs = partial(_influx, wrk, influx, connections)
        first_accepted(program)
        for one in (ours, theirs):
            one(1, next(starts))
        copier.run(connections, 1)
        if workers > 1:
            # Until then each reads what the other stores, for a screen that may come back.
            time.sleep(RETURN_TIMEOUT)
        seen = Rounds([], [], [])
        for _ in range(rounds):
            before = stored_rows(database.rows)
            seen.ours.append(ours(seconds, next(starts)))
            stored = (stored_rows(database.rows) - before) // READINGS
            if not 0 <= stored - seen.ours[-1].accepted <= connections:
                problems.append(f"{seen.ours[-1].accepted} requests accepted, {stored} stored")
            seen.copy.append(copier.run(connections, seconds))
            before = influx.count("temperature", "reading")
            seen.influx.append(theirs(seconds, next(starts)))
            stored = (influx.count("temperature", "reading") - before) // READINGS
            if not 0 <= stored - seen.influx[-1].accepted <= connections:
                problems.append(f"InfluxDB took {seen.influx[-1].accepted}, has {stored}")
    problems += [one.errors for one in (*seen.ours, *seen.influx) if one.errors]
    return seen


def _ours(wrk: str, program: Running, connections: int, seconds: int, start: int) -> Load:
    path = "/api/readings"
    more = {"FORM": "json", "START": str(start)}
    return load(wrk, program.port, connections, seconds, "many.lua", path, **more)


def _influx(wrk: str, peer: InfluxDB, connections: int, seconds: int, start: int) -> Load:
    path = f"{peer.write_path}&precision=ms"
    more = {"FORM": "lines", "START": str(start)}
    return load(wrk, peer.running.port, connections, seconds, "many.lua", path, **more)


def _rows(connections: int, workers: int, seen: Rounds, problems: list[str]) -> list[Row]:
    ours = [one.rate * READINGS for one in seen.ours]
    influx = [one.rate * READINGS for one in seen.influx]
    latency = milliseconds([one.p50 for one in seen.ours], [one.p99 for one in seen.ours])
    theirs = milliseconds([one.p50 for one in seen.influx], [one.p99 for one in seen.influx])
    name = f"P2 1,000 readings a request, {connections} connection{'s' * (connections > 1)}"
    if workers > 1:
        name += f", {workers} workers"
    told = partial(Row, ours=f"{compact(ours)} readings/s", problems=problems)
    return [
        told(
            name=name,
            beside=f"plain COPY {compact(seen.copy)} rows/s",
            ratio=spread([one / other for one, other in zip(ours, seen.copy, strict=True)]),
            latency=latency,
            goal=GOAL,
            checked="rows = answers, no errors",
        ),
        told(
            name=f"{name}, beside InfluxDB 1.6",
            beside=f"InfluxDB {compact(influx)} points/s",
            ratio=spread([one / other for one, other in zip(ours, influx, strict=True)]),
            latency=f"{latency} (InfluxDB {theirs})",
            goal=GOAL_INFLUXDB,
            checked="rows = answers, points = answers, no errors",
        ),
    ]


class Copier:
    """Plain COPY, 1,000 rows a transaction, into a table made like `readings`, unpartitioned."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ids = count(1, READINGS)
        self._rest = [
            (
                *(n % 50, datetime(2026, 1, 31, tzinfo=UTC) + timedelta(milliseconds=n), 1),
                *(datetime.now(UTC), 20 + n % 10 + n / 1000, 50.0 + n % 20, 1000.0 + n % 30),
                *(None, "127.0.0.1"),
            )
            for n in range(READINGS)
        ]

    def run(self, connections: int, seconds: int) -> float:
        """Rows a second, flat out; every one committed."""
        return asyncio.run(self._run(connections, seconds))

    async def _run(self, connections: int, seconds: int) -> float:
        made = [await asyncpg.connect(self._url) for _ in range(connections)]
        await made[0].execute(
            "CREATE TABLE IF NOT EXISTS copied (LIKE readings, PRIMARY KEY (id));"
            "CREATE INDEX IF NOT EXISTS copied_at ON copied (sensor, recorded_at)"
        )
        began = time.perf_counter()
        rows = await asyncio.gather(*(self._copy(one, began + seconds) for one in made))
        took = time.perf_counter() - began
        for one in made:
            await one.close()
        return sum(rows) / took

    async def _copy(self, connection: Any, until: float) -> int:
        rows = 0
        while time.perf_counter() < until:
            first = next(self._ids)
            records = [(first + n, *rest) for n, rest in enumerate(self._rest)]
            await connection.copy_records_to_table("copied", records=records, columns=_COLUMNS)
            rows += READINGS
        return rows


def _beside_batches(seconds: int, rounds: int) -> Row:
    """Single readings at a steady rate, calm and while four connections send batches flat out."""
    wrk = tool("wrk", "wrk")
    problems: list[str] = []
    calm: list[float] = []
    busy: list[float] = []
    batches: list[float] = []
    halves: list[float] = []
    with (
        scratch() as folder,
        DATABASES["postgresql"](folder) as database,
        sensorflow(folder, problems, database.variables) as program,
    ):
        starts = count(FIRST, MORE)
        first_accepted(program)
        _ours(wrk, program, 4, 1, next(starts))
        for _ in range(rounds):
            calm.append(_percentile(_singles(program, seconds), 0.99))
            pour = partial(_ours, wrk, program, 4, seconds + 1, next(starts))
            pouring = threading.Thread(target=lambda: batches.append(pour().rate * READINGS))  # noqa: B023
            pouring.start()
            time.sleep(0.5)
            times = _singles(program, seconds)
            busy.append(_percentile(times, 0.99))
            halves.append(_percentile(times, 0.5))
            pouring.join()
    return Row(
        name=f"{SINGLES} single readings/s while batches pour in, 4 connections",
        ours=f"p99 {median(busy):.1f} ms; {compact(batches)} readings/s in batches",
        beside=f"calm p99 {median(calm):.1f} ms",
        ratio=spread([one / other for one, other in zip(busy, calm, strict=True)]),
        latency=milliseconds(halves, busy),
        goal=GOAL_SINGLES,
        checked="every answer 201",
        problems=problems,
    )


def _singles(program: Running, seconds: int) -> list[float]:
    """The milliseconds that each answer took."""
    times: list[float] = []
    asyncio.run(steady.send(program.port, SINGLES, seconds, times))
    return times


def _percentile(times: list[float], part: float) -> float:
    return sorted(times)[int(len(times) * part)]
