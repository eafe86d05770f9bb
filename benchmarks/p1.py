"""P1: one reading a request, each answered when it is on disk, beside an app that does nothing.

`wrk` (one thread, keep-alive) posts flat out to the program and to `peers/empty.py` in turn, on
one machine, in one run. The figure is the ratio of their rates: the median over the rounds, since
what disturbs a shared machine for seconds disturbs both halves of a round. The order within a
round alternates. Afterwards the rows in the database are counted: as many as 201s, plus at most
those requests that were under way when wrk stopped.

On PostgreSQL there are two more peers, each measured in the same way in rounds of its own:
`peers/one_commit.py` (one row, one commit, in the same database server), and InfluxDB with one
point a request, each flushed to the disk before it is answered.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.databases import DATABASES, Database
from benchmarks.influx import influxdb
from benchmarks.report import Row
from benchmarks.server import (
    Running,
    empty_app,
    first_accepted,
    one_commit_app,
    scratch,
    sensorflow,
    stored_rows,
    tool,
)
from benchmarks.wrk import Load, Peer, compared, load

CONNECTIONS: Final = {"sqlite": (64, 16), "postgresql": (64, 16, 256)}
WARM_UP: Final = 1
GOAL: Final = "0.75 × the empty app (set for PostgreSQL)"
GOAL_ONE_COMMIT: Final = "20 × one row, one commit"
GOAL_INFLUXDB: Final = "1 × InfluxDB"


def measure(database: str, seconds: int, rounds: int) -> list[Row]:
    """One row for each number of connections; on PostgreSQL more, beside the other peers."""
    wrk = tool("wrk", "wrk")
    rows = []
    for connections in CONNECTIONS[database]:
        with scratch() as folder, DATABASES[database](folder) as made:
            rows.append(_beside_empty(wrk, folder, made, connections, seconds, rounds))
    if database == "postgresql":
        for connections in CONNECTIONS[database][:2]:
            with scratch() as folder, DATABASES[database](folder) as made:
                rows.append(_beside_one_commit(wrk, folder, made, connections, seconds, rounds))
        with scratch() as folder, DATABASES[database](folder) as made:
            rows.append(_beside_influxdb(wrk, folder, made, seconds, rounds))
    return rows


def _beside_empty(
    wrk: str, folder: Path, database: Database, connections: int, seconds: int, rounds: int
) -> Row:
    problems: list[str] = []
    with sensorflow(folder, problems, database.variables) as program:
        first_accepted(program)
        load(wrk, program.port, connections, WARM_UP)
        # After the warm-up, so that the id has nearly as many digits as those to come.
        _, receipt = first_accepted(program)
        with empty_app(folder, len(receipt), problems) as empty:
            ours, limit = _alternate(
                wrk, program, _on(wrk, empty), database, connections, seconds, rounds, problems
            )
    problems += [f"empty app: {one.errors}" for one in limit if one.errors]
    return compared(
        f"P1 one reading a request, {connections} connections",
        ours,
        Peer("empty app", "/s", limit),
        goal=GOAL,
        checked="rows = answers, no errors",
        problems=problems,
    )


def _beside_one_commit(
    wrk: str, folder: Path, database: Database, connections: int, seconds: int, rounds: int
) -> Row:
    problems: list[str] = []
    url = database.variables["DATABASE_URL"]
    with (
        sensorflow(folder, problems, database.variables) as program,
        one_commit_app(folder, url, problems) as usual,
    ):
        first_accepted(usual)
        ours, theirs = _alternate(
            wrk, program, _on(wrk, usual), database, connections, seconds, rounds, problems
        )
    return compared(
        f"P1 beside one row, one commit, {connections} connections",
        ours,
        Peer("FastAPI and ORM", " readings/s", theirs),
        goal=GOAL_ONE_COMMIT,
        checked="rows = answers, no errors of ours",
        problems=problems,
    )


def _beside_influxdb(wrk: str, folder: Path, database: Database, seconds: int, rounds: int) -> Row:
    connections = CONNECTIONS["postgresql"][0]
    problems: list[str] = []
    with (
        sensorflow(folder, problems, database.variables) as program,
        influxdb(folder, problems) as peer,
    ):
        path = peer.write_path

        def load_peer(connections: int, seconds: int) -> Load:
            before = peer.count("temperature", "reading")
            seen = load(wrk, peer.running.port, connections, seconds, "line.lua", path)
            stored = peer.count("temperature", "reading") - before
            if not seen.accepted <= stored <= seen.accepted + connections:
                problems.append(f"InfluxDB took {seen.accepted} points and has {stored}")
            return seen

        ours, theirs = _alternate(
            wrk, program, load_peer, database, connections, seconds, rounds, problems
        )
    problems += [f"InfluxDB: {one.errors}" for one in theirs if one.errors]
    return compared(
        f"P1 beside InfluxDB 1.6, one point a request, {connections} connections",
        ours,
        Peer("InfluxDB", " points/s", theirs),
        goal=GOAL_INFLUXDB,
        checked="rows = answers, points = answers, no errors",
        problems=problems,
    )


def _on(wrk: str, peer: Running) -> Callable[[int, int], Load]:
    """Loads a peer that takes the same requests as the program."""
    return lambda connections, seconds: load(wrk, peer.port, connections, seconds)


def _alternate(
    wrk: str,
    program: Running,
    load_peer: Callable[[int, int], Load],
    database: Database,
    connections: int,
    seconds: int,
    rounds: int,
    problems: list[str],
) -> tuple[list[Load], list[Load]]:
    """Load the program and its peer in turn, after a warm-up."""
    ours: list[Load] = []
    theirs: list[Load] = []
    first_accepted(program)
    load(wrk, program.port, connections, WARM_UP)
    load_peer(connections, WARM_UP)
    for number in range(rounds):
        if number % 2:
            theirs.append(load_peer(connections, seconds))
        before = stored_rows(database.rows)
        seen = load(wrk, program.port, connections, seconds)
        ours.append(seen)
        stored = stored_rows(database.rows) - before
        if not seen.accepted <= stored <= seen.accepted + connections:
            problems.append(f"{seen.accepted} readings were accepted, {stored} stored")
        if not number % 2:
            theirs.append(load_peer(connections, seconds))
    problems += [f"round {i + 1}: {one.errors}" for i, one in enumerate(ours) if one.errors]
    return ours, theirs
