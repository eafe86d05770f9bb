"""Runs of `tools/wsfan.c`: subscribers and publishers against one server, and what they saw."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.databases import DATABASES, Database
from benchmarks.server import (
    API_KEY,
    API_KEY_WS,
    BUILD,
    HERE,
    BenchmarkError,
    Running,
    first_accepted,
    nchan,
    scratch,
    sensorflow,
    stored_rows,
    tool,
)

_NUMBER: Final = r"([\d.]+)"
_LINE: Final = re.compile(
    r"conns=(\d+) .*closed=(\d+) posted=(\d+) acked=(\d+) .*frames=(\d+) expected=(\d+)"
    rf" per_conn=(\d+)\.\.(\d+) deliveries/s={_NUMBER} p50={_NUMBER}ms p99={_NUMBER}ms"
    rf" max={_NUMBER}ms"
)
_STORM: Final = re.compile(
    rf"storm=(\d+) connected=(\d+) in={_NUMBER}s p50={_NUMBER}ms p99={_NUMBER}ms"
)


@dataclass(frozen=True)
class Load:
    """What wsfan is to do."""

    subscribers: int
    publishers: int
    seconds: int
    rate: float = 0
    """Readings a second over all publishers; 0: as fast as receipts come."""
    stalled: int = 0
    """Further subscribers, which never read."""
    storm: int = 0
    """Further subscribers, which connect at once half-way."""


@dataclass(frozen=True)
class FanOut:
    """What wsfan saw. Rates are deliveries a second, times milliseconds."""

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
    max: float
    storm_connected: int = 0
    storm_seconds: float = 0.0
    storm_p99: float = 0.0

    def problems(self, load: Load) -> list[str]:
        """Everything that makes this run worthless."""
        claims = {
            f"{self.connections} of {load.subscribers} connected": (
                self.connections == load.subscribers
            ),
            f"{self.closed} subscribers were closed": self.closed == 0,
            f"{self.posted} posted, {self.acked} acknowledged": 0 < self.posted == self.acked,
            f"{self.frames} frames, {self.expected} expected": self.frames == self.expected,
            f"one subscriber got {self.fewest} frames, another {self.most}, of {self.acked}": (
                self.fewest == self.most == self.acked
            ),
            f"{self.storm_connected} of {load.storm} connected in the storm": (
                self.storm_connected == load.storm
            ),
        }
        return [claim for claim, holds in claims.items() if not holds]


@contextmanager
def ours(database: str, problems: list[str]) -> Iterator[tuple[Running, Database]]:
    """The program with an empty database, ready."""
    with (
        scratch() as folder,
        DATABASES[database](folder) as made,
        sensorflow(folder, problems, made.variables) as server,
    ):
        first_accepted(server)
        yield server, made


def on_ours(database: str, load: Load, problems: list[str]) -> FanOut:
    """One run on the program, with an empty database; its rows are counted too."""
    with ours(database, problems) as (server, made):
        before = stored_rows(made.rows)
        run = drive(server, load, problems)
        stored = stored_rows(made.rows) - before
    if run.acked != stored:
        problems.append(f"{run.acked} acknowledged, {stored} stored")
    return run


def on_nchan(load: Load, problems: list[str]) -> FanOut:
    """One run on nchan, which keeps messages in memory only."""
    with scratch() as folder, nchan(folder, problems) as server:
        return drive(server, load, problems)


def drive(server: Running, load: Load, problems: list[str]) -> FanOut:
    """Put the load onto a server; what makes the run worthless is added to `problems`."""
    path = f"/ws/sensor_updates?api-key={API_KEY_WS}"
    command = [str(compiled()), str(server.port), path, "/api/temperature_reading"]
    command += [str(load.subscribers), str(load.rate), str(load.seconds), f"X-API-Key: {API_KEY}"]
    variables: Mapping[str, int] = {
        "PUBLISHERS": load.publishers,
        "STALL": load.stalled,
        "STORM": load.storm,
    }
    done = subprocess.run(
        command,
        env={"PATH": os.defpath, **{name: str(n) for name, n in variables.items() if n}},
        capture_output=True,
        text=True,
        timeout=load.seconds + 120,
        check=False,
    )
    found = _LINE.search(done.stdout)
    if found is None:
        raise BenchmarkError(f"wsfan failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    counts = [int(text) for text in found.groups()[:8]]
    times = [float(text) for text in found.groups()[8:]]
    storm = _STORM.search(done.stdout)
    run = FanOut(*counts, *times)
    if storm is not None:
        run = replace(
            run,
            storm_connected=int(storm[2]),
            storm_seconds=float(storm[3]),
            storm_p99=float(storm[5]),
        )
    faults = run.problems(load)
    if done.stderr.strip():
        faults.append(f"wsfan said: {done.stderr.strip()[:500]}")
    if faults:
        problems += [*faults, done.stdout.strip()]
    return run


def compiled() -> Path:
    """The program that watches and posts."""
    source = HERE / "tools" / "wsfan.c"
    program = BUILD / "wsfan"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        gcc = tool("gcc", "gcc libc6-dev")
        command = [gcc, "-O2", "-Wall", "-pthread", "-o", str(program), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise BenchmarkError(f"gcc failed: {done.stderr[-1000:]}")
    return program
