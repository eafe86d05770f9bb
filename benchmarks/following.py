"""What the follower costs: the program beside itself without it, flat out.

Each has a server of its own on a database of its own, and they take turns. The follower works while
the load lasts, and has two seconds after it; what is left then falls into the other's turn.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from benchmarks.databases import DATABASES, Database
from benchmarks.report import Row, compact, milliseconds, spread
from benchmarks.server import (
    API_KEY,
    API_KEY_WS,
    HERE,
    HOST,
    Running,
    first_accepted,
    free_port,
    scratch,
    sensorflow,
    started,
    tool,
)
from benchmarks.wrk import Load, load

CONNECTIONS: Final = 64
BATCH_CONNECTIONS: Final = 4
READINGS: Final = 1_000
FIRST: Final = 1_700_000_000
MORE: Final = 1_000_000
"""Seconds between the starts of two loads, so that no time comes twice."""
GOAL: Final = "0.85 × without it"

Post = Callable[[Running, int], Load]


def measure(database: str, seconds: int, rounds: int) -> list[Row]:
    """One row for single readings, one for a thousand a request."""
    wrk = tool("wrk", "wrk")
    starts = count(FIRST, MORE)

    def single(program: Running, seconds: int) -> Load:
        return load(wrk, program.port, CONNECTIONS, seconds)

    def many(program: Running, seconds: int) -> Load:
        more = {"FORM": "json", "START": str(next(starts))}
        connections = BATCH_CONNECTIONS
        return load(wrk, program.port, connections, seconds, "many.lua", "/api/readings", **more)

    return [
        _row(f"P1, {CONNECTIONS} connections", single, 1, database, seconds, rounds),
        _row(f"P2, {BATCH_CONNECTIONS} connections", many, READINGS, database, seconds, rounds),
    ]


def _row(name: str, post: Post, readings: int, database: str, seconds: int, rounds: int) -> Row:
    problems: list[str] = []
    make = DATABASES[database]
    with (
        scratch() as folder,
        scratch() as other,
        make(folder) as made,
        make(other) as made_beside,
        sensorflow(folder, problems, made.variables) as followed,
        _unfollowed(other, problems, made_beside.variables) as alone,
    ):
        pairs = ((followed, made), (alone, made_beside))
        for program, _ in pairs:
            first_accepted(program)
            post(program, 1)
        seen: dict[int, list[Load]] = {followed.port: [], alone.port: []}
        for number in range(rounds):
            for program, stored in pairs if number % 2 else pairs[::-1]:
                before = _rows(stored)
                seen[program.port].append(one := post(program, seconds))
                problems += [one.errors] if one.errors else []
                if _rows(stored) - before < one.accepted * readings:
                    problems.append(f"{one.accepted} requests accepted, too few rows")
    ours, beside = seen[followed.port], seen[alone.port]
    return Row(
        name=f"{name}, with the follower",
        ours=f"{compact([one.rate * readings for one in ours])} readings/s",
        beside=f"without it {compact([one.rate * readings for one in beside])} readings/s",
        ratio=spread([one.rate / other.rate for one, other in zip(ours, beside, strict=True)]),
        latency=f"{milliseconds([one.p50 for one in ours], [one.p99 for one in ours])}"
        f" (without {milliseconds([x.p50 for x in beside], [x.p99 for x in beside])})",
        goal=GOAL,
        checked="rows = answers, no errors",
        problems=problems,
    )


def _rows(database: Database) -> int:
    """How many there are, once nothing is under way any more, and the follower has come near."""
    time.sleep(2)
    return database.rows()


@contextmanager
def _unfollowed(
    folder: Path, problems: list[str], variables: Mapping[str, str]
) -> Iterator[Running]:
    port = free_port()
    command = [sys.executable, str(HERE / "peers" / "unfollowed.py"), "serve"]
    environment = {
        "HOST": HOST,
        "PORT": str(port),
        "DATA_DIR": str(folder),
        "API_KEY": API_KEY,
        "API_KEY_WS": API_KEY_WS,
        "LOG_FORMAT": "json",
        **variables,
    }
    with started(command, port, folder, environment, problems) as running:
        yield running
