"""P6: a chart of one sensor with 1,000 points, over an hour, a day, a month, a year of history.

The same readings are in the program's database and in InfluxDB 1.6, which is asked for the same
buckets in the same run, in turn. Each question is asked over a connection of its own. Before the
first one a third of them is thrown away, so both have what they keep in memory.
"""

import asyncio
import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median, quantiles
from typing import Any, Final
from urllib.parse import urlencode

import psutil

from benchmarks.databases import DATABASES
from benchmarks.history import History, last_midnight
from benchmarks.influx import InfluxDB, influxdb
from benchmarks.report import Row, spread
from benchmarks.server import (
    API_KEY_WS,
    HOST,
    BenchmarkError,
    Running,
    scratch,
    sensorflow,
)

SIZES: Final = (1, 10)
"""Millions of readings, where nothing else is asked for."""

POINTS: Final = 1_000
ASKED: Final = 60
"""Times of each question."""

SETTLE_TIMEOUT: Final = 1_800.0

CALM: Final = 5.0
"""Percent of a core that all processes together take at most when they are at rest."""

GOAL: Final = "≤ 20 ms, as flat at 10 M as at 1 M"


@dataclass(frozen=True)
class Chart:
    """One question, with the bucket that the program picks for it."""

    name: str
    span: timedelta
    bucket: str


CHARTS: Final = (
    Chart("hour", timedelta(hours=1), "5s"),
    Chart("day", timedelta(days=1), "2m"),
    Chart("month", timedelta(days=30), "1h"),
    Chart("year", timedelta(days=365), "12h"),
)


@dataclass(frozen=True)
class Times:
    """Milliseconds of one question, both asked in turn."""

    ours: list[float]
    beside: list[float]


def measure(database: str, sizes: Sequence[int] = SIZES) -> list[Row]:
    """A row for each range and number of readings, each beside that of the first number."""
    problems: list[str] = []
    end = last_midnight()
    with ExitStack() as stack:
        made = [
            stack.enter_context(_filled(database, History(millions, end), problems))
            for millions in sizes
        ]
        _settle([process for one in made for process in one.processes])
        print("asking ...", file=sys.stderr, flush=True)
        seen = {(chart, one): _alternate(one, chart, problems) for chart in CHARTS for one in made}
    first = made[0]
    rows = []
    for one in made:
        for chart in CHARTS:
            times = seen[chart, one]
            grown = median(times.ours) / median(seen[chart, first].ours)
            growth = f"{grown:.2f} of that at {sizes[0]} M"
            rows.append(_row(chart, one.history, times, growth, problems))
    return rows


@dataclass(frozen=True, eq=False)
class Filled:
    """The program and InfluxDB, with the same history."""

    history: History
    program: Running
    peer: InfluxDB
    processes: Sequence[psutil.Process]


@contextmanager
def _filled(database: str, history: History, problems: list[str]) -> Iterator[Filled]:
    print(f"filling in {history.readings:,} readings ...", file=sys.stderr, flush=True)
    with scratch() as folder, DATABASES[database](folder) as made:
        # Makes the tables.
        with sensorflow(folder, problems, made.variables) as program:
            wait(program)
        if database == "sqlite":
            history.fill_sqlite(folder)
        else:
            asyncio.run(history.fill_postgresql(made.variables["DATABASE_URL"]))
        with (
            influxdb(folder, problems) as peer,
            sensorflow(folder, problems, made.variables) as program,
        ):
            history.fill_influxdb(peer)
            if made.rows() != history.readings or peer.count("value", "temperature") != made.rows():
                problems.append("not every reading is in both databases")
            wait(program)
            own = [psutil.Process(pid) for pid in (program.pid, peer.running.pid)]
            yield Filled(history, program, peer, [*own, *made.processes()])


def _alternate(made: Filled, chart: Chart, problems: list[str]) -> Times:
    history, program, peer = made.history, made.program, made.peer
    end = history.end
    start = end - chart.span
    sensor = f"sensor-{history.sensors // 2}"

    def ours() -> dict[str, Any]:
        return _series(program, sensor, start, end)

    def beside() -> list[list[Any]]:
        return peer.query(
            "SELECT mean(value), min(value), max(value), count(value) FROM temperature"
            f" WHERE sensor = '{sensor}' AND time >= '{start.isoformat().replace('+00:00', 'Z')}'"
            f" AND time < '{end.isoformat().replace('+00:00', 'Z')}'"
            f" GROUP BY time({chart.bucket}) fill(none)"
        )

    _check(chart, ours(), beside(), problems)
    for _ in range(ASKED // 3):
        ours(), beside()
    times = Times([], [])
    for _ in range(ASKED):
        times.ours.append(_timed(ours))
        times.beside.append(_timed(beside))
    return times


def _check(
    chart: Chart, answer: dict[str, Any], rows: list[list[Any]], problems: list[str]
) -> None:
    """Both have to tell the same."""
    (one,) = answer["series"]
    told = [
        list(point)
        for point in zip(
            answer["at"], one["average"], one["minimum"], one["maximum"], one["count"], strict=True
        )
        if point[4]
    ]
    same = len(told) == len(rows) and all(
        a[0] == b[0] and a[4] == b[4] and all(abs(a[n] - b[n]) < 1e-9 for n in (1, 2, 3))
        for a, b in zip(told, rows, strict=True)
    )
    if answer["bucket"] != chart.bucket or not same:
        problems.append(f"{chart.name}: the two do not answer the same")


def _series(program: Running, sensor: str, start: datetime, end: datetime) -> dict[str, Any]:
    query = urlencode(
        {
            "sensor_id": sensor,
            "measurement": "temperature",
            "start": start.isoformat(),
            "end": end.isoformat(),
            "points": POINTS,
        }
    )
    request = urllib.request.Request(
        f"http://{HOST}:{program.port}/api/series?{query}", headers={"X-API-Key": API_KEY_WS}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, Any] = json.loads(response.read())
        return answer


def wait(program: Running) -> None:
    """Return when it is ready."""
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://{HOST}:{program.port}/readyz", timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise BenchmarkError("the program does not start") from None
            time.sleep(0.05)


def _settle(processes: list[psutil.Process]) -> None:
    """Wait until what a start and a fill have left to do is done."""
    deadline = time.monotonic() + SETTLE_TIMEOUT
    calm = 0
    for process in processes:
        process.cpu_percent()
    while calm < 3:
        time.sleep(1)
        busy = 0.0
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                busy += process.cpu_percent()
        calm = calm + 1 if busy < CALM else 0
        if time.monotonic() > deadline:
            raise BenchmarkError("the databases do not come to rest")


def _timed(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1e3


def _row(chart: Chart, history: History, times: Times, growth: str, problems: list[str]) -> Row:
    ratios = [ours / beside for ours, beside in zip(times.ours, times.beside, strict=True)]
    return Row(
        f"P6, a {chart.name}, {chart.bucket} buckets, {history.readings / 1e6:.1f} M readings",
        f"{median(times.ours):.1f} ms, {growth}",
        f"InfluxDB 1.6: {median(times.beside):.1f} ms",
        spread([median(ratios), *quantiles(ratios, n=20)[::18]]),
        f"{median(times.ours):.1f} / {quantiles(times.ours, n=100)[98]:.1f} ms",
        GOAL,
        "both answer the same",
        problems,
    )
