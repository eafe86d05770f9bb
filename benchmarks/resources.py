"""What the server takes of the machine: memory, processor and disk, by load.

Each load has a new server and an empty database. The subscribers connect first; then readings are
sent one by one at a steady rate, and what the server's processes have used meanwhile is read from
the system. A load counts only if the rate was held, every reading was answered 201 and is a row, no
subscriber was closed, and each got every reading.
"""

import asyncio
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from benchmarks.databases import DATABASES, Database
from benchmarks.fanout import compiled
from benchmarks.server import (
    API_KEY_WS,
    HOST,
    BenchmarkError,
    Running,
    first_accepted,
    scratch,
    sensorflow,
    stored_rows,
)
from benchmarks.steady import send

RATES: Final = (0, 10, 100, 1_000)
SUBSCRIBERS: Final = (0, 100, 1_000)

LEAST_RATE: Final = 0.95
"""Of the rate that was asked for; below it the machine could not keep up."""

FEWEST: Final = 1_000
"""Readings from which on the database's growth says something: it grows by whole pages."""

GREETING: Final = 2.0
"""Seconds after which wsfan has begun to count."""

CONNECT_TIMEOUT: Final = 30.0

HEAD: Final = (
    "Readings/s",
    "Subscribers",
    "Memory",
    "CPU",
    "Database's memory",
    "Database's CPU",
    "Written a reading",
    "Kept a reading",
    "Checked",
)

_COUNTS: Final = re.compile(r"conns=(\d+) .*closed=(\d+) .*per_conn=(\d+)\.\.(\d+) ")


@dataclass(frozen=True)
class Used:
    """What some processes hold, and have used so far."""

    memory: int
    """Bytes; what is shared counts once."""
    seconds: float
    """Of processors."""
    written: int
    """Bytes, to the disk."""


@dataclass
class Load:
    """One line of the table."""

    rate: int
    subscribers: int
    cells: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)


def measure(database: str, seconds: int) -> list[Load]:
    """One line for each rate and number of subscribers."""
    program = compiled()
    loads = [Load(rate, subscribers) for rate in RATES for subscribers in SUBSCRIBERS]
    for load in loads:
        with scratch() as folder, DATABASES[database](folder) as made:
            _measure(load, program, folder, made, seconds)
    return loads


def table(loads: Sequence[Load]) -> str:
    """A Markdown table."""
    lines: list[tuple[str, ...]] = [HEAD, tuple("---" for _ in HEAD)]
    for load in loads:
        checked = "**FAILED**" if load.problems else "rate, rows, frames"
        lines.append((f"{load.rate:,}", f"{load.subscribers:,}", *load.cells, checked))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _measure(load: Load, program: Path, folder: Path, database: Database, seconds: int) -> None:
    with sensorflow(folder, load.problems, database.variables) as server:
        first_accepted(server)
        ours = psutil.Process(server.pid)
        with _watching(load, program, server, seconds):
            rows, kept = stored_rows(database.rows), database.bytes()
            before, theirs_before = _used([ours]), _used(database.processes())
            began = time.perf_counter()
            sent = asyncio.run(send(server.port, load.rate, seconds))
            took = time.perf_counter() - began
            after, theirs = _used([ours]), _used(database.processes())
        if sent < load.rate * took * LEAST_RATE:
            load.problems.append(f"{sent / took:,.0f} readings/s instead of {load.rate:,}")
        stored = stored_rows(database.rows) - rows
        if stored != sent:
            load.problems.append(f"{sent} acknowledged, {stored} stored")
        grown = database.bytes() - kept
    written = after.written - before.written + theirs.written - theirs_before.written
    load.cells = (
        f"{after.memory / 2**20:,.0f} MiB",
        f"{(after.seconds - before.seconds) / took:.1%}",
        f"{theirs.memory / 2**20:,.0f} MiB" if theirs.memory else "—",
        f"{(theirs.seconds - theirs_before.seconds) / took:.1%}" if theirs.memory else "—",
        f"{written / sent:,.0f} B" if sent else "—",
        f"{grown / sent:,.0f} B" if sent >= FEWEST else "—",
    )


@contextmanager
def _watching(load: Load, program: Path, server: Running, seconds: int) -> Iterator[None]:
    """The subscribers, from when all are there until they have all there is to get."""
    if not load.subscribers:
        yield
        return
    path = f"/ws/sensor_updates?api-key={API_KEY_WS}"
    command = [str(program), str(server.port), path, "-", str(load.subscribers), "0"]
    process = subprocess.Popen(
        [*command, str(seconds + 2)],
        env={"PUBLISHERS": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _wait_for(server, load.subscribers)
        time.sleep(GREETING)
        yield
        output, _ = process.communicate(timeout=seconds + 30)
    finally:
        process.kill()
        process.wait()
    found = _COUNTS.search(output)
    if found is None:
        raise BenchmarkError(f"wsfan failed: {output[-500:]}")
    connected, closed, fewest, most = map(int, found.groups())
    expected = load.rate * seconds
    if (connected, closed) != (load.subscribers, 0):
        load.problems.append(f"{connected} subscribers connected, {closed} were closed")
    if (fewest, most) != (expected, expected):
        load.problems.append(f"subscribers got {fewest} to {most} of {expected} readings")


def _wait_for(server: Running, subscribers: int) -> None:
    request = urllib.request.Request(
        f"http://{HOST}:{server.port}/metrics", headers={"X-API-Key": API_KEY_WS}
    )
    deadline = time.monotonic() + CONNECT_TIMEOUT
    while time.monotonic() < deadline:
        with urllib.request.urlopen(request, timeout=5) as response:
            text = response.read().decode()
        if re.search(rf"^sensorflow_subscribers {float(subscribers)}$", text, re.MULTILINE):
            return
        time.sleep(0.1)
    raise BenchmarkError(f"{subscribers} subscribers did not connect")


def _used(processes: Sequence[psutil.Process]) -> Used:
    memory, seconds, written = 0, 0.0, 0
    for process in processes:
        with suppress(psutil.NoSuchProcess), process.oneshot():
            times, io = process.cpu_times(), process.io_counters()
            memory += process.memory_full_info().pss
            seconds += times.user + times.system
            written += io.write_bytes
    return Used(memory, seconds, written)
