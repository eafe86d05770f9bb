"""What the follower costs: the program beside itself without it, flat out.

Each has a server of its own on a database of its own, and they take turns. The follower works while
the load lasts, and has two seconds after it; what is left then falls into the other's turn.
"""

import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Final

from benchmarks.databases import DATABASES, Database
from benchmarks.report import Row
from benchmarks.server import (
    HERE,
    Running,
    first_accepted,
    scratch,
    sensorflow,
    tool,
)
from benchmarks.wrk import Load, Peer, compared, load

CONNECTIONS: Final = 64
BATCH_CONNECTIONS: Final = 4
READINGS: Final = 1_000
FIRST: Final = 1_700_000_000
MORE: Final = 1_000_000
"""Seconds between the starts of two loads, so that no time comes twice."""
UNFOLLOWED: Final = (sys.executable, str(HERE / "peers" / "unfollowed.py"))
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
        sensorflow(other, problems, made_beside.variables, UNFOLLOWED) as alone,
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
    return compared(
        f"{name}, with the follower",
        seen[followed.port],
        Peer("without it", " readings/s", seen[alone.port]),
        goal=GOAL,
        checked="rows = answers, no errors",
        problems=problems,
        readings=readings,
    )


def _rows(database: Database) -> int:
    """How many there are, once nothing is under way any more, and the follower has come near."""
    time.sleep(2)
    return database.rows()
