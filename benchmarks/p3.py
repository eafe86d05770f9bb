"""P3: from a POST to every screen, flat out, every reading committed first.

`tools/wsfan.c` holds 1,000 WebSocket subscribers and posts from 64 or 16 connections, each as fast
as its receipts come. Latency is from just before the POST to when a subscriber has read the frame,
over all frames. A run counts only if no subscriber was closed and each got exactly one frame for
every reading acknowledged, which are also the rows in the database. Every run has a new server and
an empty database, as every reading comes from a sensor of its own: the worst case for the storage.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.databases import DATABASES, Database
from benchmarks.report import Row, compact, milliseconds
from benchmarks.server import (
    API_KEY,
    API_KEY_WS,
    BUILD,
    HERE,
    BenchmarkError,
    first_accepted,
    scratch,
    sensorflow,
    stored_rows,
    tool,
)

SUBSCRIBERS: Final = 1_000
PUBLISHERS: Final = (64, 16)
GOALS: Final = {64: "5 × nchan", 16: "2 × nchan"}

_NUMBER: Final = r"([\d.]+)"
_LINE: Final = re.compile(
    r"conns=(\d+) .*closed=(\d+) posted=(\d+) acked=(\d+) .*frames=(\d+) expected=(\d+)"
    rf" per_conn=(\d+)\.\.(\d+) deliveries/s={_NUMBER} p50={_NUMBER}ms p99={_NUMBER}ms"
)


@dataclass(frozen=True)
class FanOut:
    """What wsfan saw."""

    connections: int
    closed: int
    posted: int
    acked: int
    frames: int
    expected: int
    fewest: int
    most: int
    rate: float
    p50: float
    p99: float

    def problems(self, stored: int) -> list[str]:
        """Everything that makes this run worthless."""
        claims = {
            f"{self.connections} of {SUBSCRIBERS} connected": self.connections == SUBSCRIBERS,
            f"{self.closed} subscribers were closed": self.closed == 0,
            f"{self.posted} posted, {self.acked} acknowledged": 0 < self.posted == self.acked,
            f"{self.acked} acknowledged, {stored} stored": self.acked == stored,
            f"{self.frames} frames, {self.expected} expected": self.frames == self.expected,
            f"one subscriber got {self.fewest} frames, another {self.most}, of {self.acked}": (
                self.fewest == self.most == self.acked
            ),
        }
        return [claim for claim, holds in claims.items() if not holds]


def measure(database: str, seconds: int, rounds: int) -> list[Row]:
    """One row for each number of publishers; their runs alternate."""
    program = compiled(tool("gcc", "gcc libc6-dev"))
    runs: dict[int, list[FanOut]] = {publishers: [] for publishers in PUBLISHERS}
    problems: dict[int, list[str]] = {publishers: [] for publishers in PUBLISHERS}
    for _ in range(rounds):
        for publishers in PUBLISHERS:
            with scratch() as folder, DATABASES[database](folder) as made:
                run = _run(program, folder, made, publishers, seconds, problems[publishers])
            runs[publishers].append(run)
    return [_row(publishers, runs[publishers], problems[publishers]) for publishers in PUBLISHERS]


def _row(publishers: int, runs: list[FanOut], problems: list[str]) -> Row:
    readings = median(run.rate for run in runs) / SUBSCRIBERS
    return Row(
        name=f"P3 1,000 subscribers, {publishers} publishers",
        ours=f"{compact([run.rate for run in runs])} deliveries/s ({readings:,.0f} readings/s)",
        beside="—",
        ratio="—",
        latency=milliseconds([run.p50 for run in runs], [run.p99 for run in runs]),
        goal=GOALS[publishers],
        checked="closed = 0, frames = expected, equal for all, rows = 201s",
        problems=problems,
    )


def _run(
    program: Path,
    folder: Path,
    database: Database,
    publishers: int,
    seconds: int,
    problems: list[str],
) -> FanOut:
    with sensorflow(folder, problems, database.variables) as server:
        first_accepted(server)
        before = stored_rows(database.rows)
        path = f"/ws/sensor_updates?api-key={API_KEY_WS}"
        command = [str(program), str(server.port), path, "/api/temperature_reading"]
        command += [str(SUBSCRIBERS), "0", str(seconds), f"X-API-Key: {API_KEY}"]
        done = subprocess.run(
            command,
            env={"PATH": os.defpath, "PUBLISHERS": str(publishers)},
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
        found = _LINE.search(done.stdout)
        if found is None:
            raise BenchmarkError(f"wsfan failed: {done.stdout[-500:]}{done.stderr[-500:]}")
        counts = [int(text) for text in found.groups()[:8]]
        run = FanOut(*counts, *(float(text) for text in found.groups()[8:]))
        faults = run.problems(stored_rows(database.rows) - before)
    if done.stderr.strip():
        faults.append(f"wsfan said: {done.stderr.strip()[:500]}")
    if faults:
        problems += [*faults, done.stdout.strip()]
    return run


def compiled(gcc: str) -> Path:
    """The program that watches and posts."""
    source = HERE / "tools" / "wsfan.c"
    program = BUILD / "wsfan"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        command = [gcc, "-O2", "-Wall", "-pthread", "-o", str(program), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise BenchmarkError(f"gcc failed: {done.stderr[-1000:]}")
    return program
