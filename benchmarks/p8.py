"""P8: from the start of the process to the first reading answered with 201.

The clock starts before the process is made and stops when the whole answer is read; a raw socket
tries every half millisecond, so no client's own start is in the figure. "First start" finds an
empty DATA_DIR and creates keys and schema; "later start" is the second on the same DATA_DIR. The
empty app's start says how much of it is Python and uvicorn. One start of each kind goes unmeasured,
so that compiled modules and files are in the cache.
"""

from pathlib import Path
from typing import Final

from benchmarks.databases import DATABASES, Database
from benchmarks.report import Row, seconds_of, spread
from benchmarks.server import empty_app, first_accepted, scratch, sensorflow, stored_rows

STARTS: Final = 5
GOAL: Final = "≤ 1 s"


def measure(database: str) -> list[Row]:
    """One row for the first start and one for later ones."""
    first: list[float] = []
    later: list[float] = []
    empty: list[float] = []
    problems: list[str] = []
    for number in range(STARTS + 1):
        with scratch() as folder, DATABASES[database](folder) as made:
            times = (
                _start(folder, made, 1, problems),
                _start(folder, made, 2, problems),
                _start_empty(folder, problems),
            )
        if number:
            for kept, time in zip((first, later, empty), times, strict=True):
                kept.append(time)
    return [
        Row(
            name=f"P8 start to first accepted reading, {kind}",
            ours=seconds_of(times_of_kind),
            beside=f"empty app {seconds_of(empty)}",
            ratio=spread([a / b for a, b in zip(times_of_kind, empty, strict=True)]),
            latency="—",
            goal=GOAL,
            checked="the reading is stored",
            problems=problems,
        )
        for kind, times_of_kind in (("first start", first), ("later start", later))
    ]


def _start(folder: Path, database: Database, expected_rows: int, problems: list[str]) -> float:
    with sensorflow(folder, problems, database.variables) as running:
        accepted_at, _ = first_accepted(running)
        rows = stored_rows(database.rows)
        if rows != expected_rows:
            problems.append(f"start {expected_rows} on one DATA_DIR: {rows} readings stored")
        return accepted_at - running.spawned_at


def _start_empty(folder: Path, problems: list[str]) -> float:
    with empty_app(folder, 280, problems) as running:
        return first_accepted(running)[0] - running.spawned_at
