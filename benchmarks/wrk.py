"""Runs of `wrk`, with one thread and kept connections, and what it saw."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.report import Row, compact, milliseconds, spread
from benchmarks.server import API_KEY, HERE, HOST, BenchmarkError


@dataclass(frozen=True)
class Load:
    """What wrk saw: rates are requests a second, times milliseconds."""

    accepted: int
    rate: float
    p50: float
    p99: float
    errors: str


def load(
    wrk: str,
    port: int,
    connections: int,
    seconds: int,
    script: str = "single.lua",
    path: str = "/api/temperature_reading",
    **variables: str,
) -> Load:
    """Post flat out with one of `tools/*.lua`; raise `BenchmarkError` where nothing is answered."""
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(HERE / "tools" / script)]
    command += [f"http://{HOST}:{port}{path}"]
    done = subprocess.run(
        command,
        env={"API_KEY": API_KEY, **variables},
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


@dataclass(frozen=True)
class Peer:
    """What stands beside the program."""

    name: str
    unit: str
    """Of its rate."""
    loads: Sequence[Load]


def compared(
    name: str,
    ours: Sequence[Load],
    peer: Peer,
    *,
    goal: str,
    checked: str,
    problems: Sequence[str],
    readings: int = 1,
) -> Row:
    """The row of rounds in which the program and its peer took turns, `readings` a request."""
    theirs = peer.loads
    return Row(
        name=name,
        ours=f"{compact([one.rate * readings for one in ours])} readings/s",
        beside=f"{peer.name} {compact([one.rate * readings for one in theirs])}{peer.unit}",
        ratio=spread([one.rate / other.rate for one, other in zip(ours, theirs, strict=True)]),
        latency=f"{milliseconds([one.p50 for one in ours], [one.p99 for one in ours])}"
        f" ({peer.name} {milliseconds([x.p50 for x in theirs], [x.p99 for x in theirs])})",
        goal=goal,
        checked=checked,
        problems=problems,
    )
