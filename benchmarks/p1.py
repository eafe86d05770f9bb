"""P1: one reading a request, each answered when it is on disk, beside an app that does nothing.

`wrk` (one thread, keep-alive) posts flat out to the program and to `peers/empty.py` in turn, on
one machine, in one run. The figure is the ratio of their rates: the median over the rounds, since
what disturbs a shared machine for seconds disturbs both halves of a round. The order within a
round alternates. Afterwards the rows in SQLite are counted: as many as 201s, plus at most those
requests that were under way when wrk stopped.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.report import Row, compact, milliseconds, spread
from benchmarks.server import (
    API_KEY,
    HERE,
    HOST,
    BenchmarkError,
    empty_app,
    first_accepted,
    scratch,
    sensorflow,
    stored_rows,
    tool,
)

CONNECTIONS: Final = (64, 16)
WARM_UP: Final = 1
GOAL: Final = "0.75 × the empty app (set for PostgreSQL)"


@dataclass(frozen=True)
class Load:
    """What wrk saw."""

    accepted: int
    rate: float
    p50: float
    p99: float
    errors: str


def measure(seconds: int, rounds: int) -> list[Row]:
    """One row for each number of connections."""
    wrk = tool("wrk", "wrk")
    rows = []
    for connections in CONNECTIONS:
        with scratch() as folder:
            rows.append(_measure(wrk, folder, connections, seconds, rounds))
    return rows


def _measure(wrk: str, folder: Path, connections: int, seconds: int, rounds: int) -> Row:
    problems: list[str] = []
    ours: list[Load] = []
    limit: list[Load] = []
    with sensorflow(folder, problems) as program:
        first_accepted(program)
        _load(wrk, program.port, connections, WARM_UP)
        # After the warm-up, so that the id has nearly as many digits as those to come.
        _, receipt = first_accepted(program)
        with empty_app(folder, len(receipt), problems) as empty:
            first_accepted(empty)
            _load(wrk, empty.port, connections, WARM_UP)
            for number in range(rounds):
                if number % 2:
                    limit.append(_load(wrk, empty.port, connections, seconds))
                before = stored_rows(folder)
                load = _load(wrk, program.port, connections, seconds)
                ours.append(load)
                stored = stored_rows(folder) - before
                if not load.accepted <= stored <= load.accepted + connections:
                    problems.append(f"{load.accepted} readings were accepted, {stored} stored")
                if not number % 2:
                    limit.append(_load(wrk, empty.port, connections, seconds))
    problems += [f"round {i + 1}: {load.errors}" for i, load in enumerate(ours) if load.errors]
    problems += [f"empty app: {load.errors}" for load in limit if load.errors]
    return Row(
        name=f"P1 one reading a request, {connections} connections",
        ours=f"{compact([load.rate for load in ours])} readings/s",
        beside=f"empty app {compact([load.rate for load in limit])}/s",
        ratio=spread([one.rate / other.rate for one, other in zip(ours, limit, strict=True)]),
        latency=f"{milliseconds([load.p50 for load in ours], [load.p99 for load in ours])}"
        f" (empty app {milliseconds([x.p50 for x in limit], [x.p99 for x in limit])})",
        goal=GOAL,
        checked="rows = answers, no errors",
        problems=problems,
    )


def _load(wrk: str, port: int, connections: int, seconds: int) -> Load:
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(HERE / "tools" / "single.lua")]
    command += [f"http://{HOST}:{port}/api/temperature_reading"]
    done = subprocess.run(
        command,
        env={"API_KEY": API_KEY},
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=False,
    )
    try:
        seen: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise BenchmarkError(f"wrk failed: {done.stdout[-500:]}{done.stderr[-500:]}") from None
    if not seen["requests"]:
        raise BenchmarkError(f"no request was answered: {seen}")
    errors = ", ".join(
        f"{seen[kind]} × {text}"
        for kind, text in (
            ("status", "status of 400 or more"),
            ("connect", "cannot connect"),
            ("read", "connection broken while reading"),
            ("write", "connection broken while writing"),
            ("timeout", "no answer within 10 s"),
        )
        if seen[kind]
    )
    accepted = seen["requests"] - seen["status"]
    rate = accepted / (seen["duration"] / 1e6)
    return Load(accepted, rate, seen["p50"] / 1e3, seen["p99"] / 1e3, errors)
