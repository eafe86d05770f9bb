"""`python -m benchmarks`: measure the program, print the table, fail where a check fails."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from types import FrameType
from typing import Final

from benchmarks import (
    export,
    following,
    hotspots,
    p1,
    p2,
    p3,
    p4,
    p5,
    p6,
    p7,
    p8,
    report,
    resources,
)
from benchmarks.server import BenchmarkError, MissingTool, tool

FIGURES: Final[dict[str, Callable[[argparse.Namespace], list[report.Row]]]] = {
    "P1": lambda options: p1.measure(options.database, options.seconds, options.rounds),
    "P2": lambda options: p2.measure(options.database, options.seconds, options.rounds),
    "P3": lambda options: p3.measure(options.database, options.seconds, options.rounds),
    "P4": lambda options: p4.measure(options.database, options.seconds, options.rounds),
    "P5": lambda options: p5.measure(options.database, options.seconds, options.rounds),
    "P6": lambda options: p6.measure(options.database, options.millions or p6.SIZES),
    "EXPORT": lambda options: export.measure(options.database, options.rounds),
    "FOLLOWER": lambda options: following.measure(
        options.database, options.seconds, options.rounds
    ),
    "R4": lambda options: p4.measure_slow(options.database, options.seconds, options.rounds),
    "STORM": lambda options: p4.measure_storm(options.database, options.seconds, options.rounds),
    "P7": lambda options: p7.measure(options.database),
    "P8": lambda options: p8.measure(options.database),
}
LIVE: Final = ("P3", "P4", "P5", "R4", "STORM")
"""Figures of the live stream; RESULTS.md has them in sections of their own."""
BY_NAME: Final = {
    "P2": ": 1,000 readings a request",
    "P7": ": disk",
    "P6": ": history",
    "EXPORT": ": export",
    "FOLLOWER": ": the follower",
}
"""Measured only where they are named, for they take minutes; each has a section of its own."""
NEEDS: Final = {
    **dict.fromkeys(("P1", "P2", "FOLLOWER"), ("wrk", "wrk")),
    **dict.fromkeys(LIVE, ("gcc", "gcc libc6-dev")),
}
SECTIONS: Final = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
RESOURCES: Final = "RESOURCES"
PROFILE: Final = "PROFILE"
ALONE: Final = ([RESOURCES], [PROFILE])
"""Each has a table of its own, and is measured only by itself."""
BUSY: Final = 1.0
"""A load average over one minute, before our own load starts."""


def main() -> int:
    """Return 0; 1 where a measurement or a check failed; 2 where something is to be installed."""
    options = _options()
    signal.signal(signal.SIGTERM, _stop)
    try:
        report.refuse_memory()
        machine = report.machine()
        if os.getloadavg()[0] > BUSY:
            print("the machine is busy: the figures will be noise, see README.md", file=sys.stderr)
        section, table, problems = (
            _resources(options)
            if options.only == [RESOURCES]
            else _profile(options)
            if options.only == [PROFILE]
            else _figures(options)
        )
    except MissingTool as missing:
        print(missing, file=sys.stderr)
        return 2
    except (BenchmarkError, subprocess.TimeoutExpired) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    print(f"\n{machine}\n\n{table}\n", flush=True)
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    if problems:
        return 1
    if options.write:
        report.write(section, _command(), machine, table)
    return 0


def _figures(options: argparse.Namespace) -> tuple[str, str, list[str]]:
    """The section in RESULTS.md, the table, and what makes it worthless."""
    for figure in options.only:
        if figure in NEEDS:
            tool(*NEEDS[figure])
    rows = []
    for figure in options.only:
        print(f"measuring {figure} ...", file=sys.stderr, flush=True)
        rows += FIGURES[figure](options)
    problems = list(dict.fromkeys(problem for row in rows for problem in row.problems))
    section = SECTIONS[options.database]
    larger = f", {max(options.millions)} million" if options.millions else ""
    if len(options.only) == 1 and options.only[0] in BY_NAME:
        section += BY_NAME[options.only[0]] + larger
    elif set(options.only) <= set(LIVE):
        section += ": the live stream"
        if len(options.only) < len(LIVE):
            section += f", {' and '.join(options.only)}"
    return section, report.table(rows), problems


def _resources(options: argparse.Namespace) -> tuple[str, str, list[str]]:
    print("measuring the use of resources ...", file=sys.stderr, flush=True)
    loads = resources.measure(options.database, options.seconds)
    problems = [
        f"{load.rate:,} readings/s, {load.subscribers:,} subscribers: {problem}"
        for load in loads
        for problem in load.problems
    ]
    return f"Resources, {SECTIONS[options.database]}", resources.table(loads), problems


def _profile(options: argparse.Namespace) -> tuple[str, str, list[str]]:
    print("looking where the time goes ...", file=sys.stderr, flush=True)
    table, problems = hotspots.measure(options.database, options.seconds)
    return f"Where the time of P1 goes, {SECTIONS[options.database]}", table, problems


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        type=_named,
        default=[figure for figure in FIGURES if figure not in BY_NAME],
        help="figures, separated by commas (default: those that do not take minutes), or resources"
        " or profile",
    )
    parser.add_argument(
        "--database", choices=sorted(SECTIONS), default="sqlite", help="what it stores in (sqlite)"
    )
    parser.add_argument("--seconds", type=_positive, default=5, help="a round's length (5)")
    parser.add_argument(
        "--rounds", type=_positive, default=3, help="rounds of each but P7 and P8 (3)"
    )
    parser.add_argument(
        "--millions", type=_sizes, help="P6: millions of readings, separated by commas (1,10)"
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="put the run into RESULTS.md, in its database's section",
    )
    return parser.parse_args()


def _named(text: str) -> list[str]:
    figures = [part.strip().upper() for part in text.split(",")]
    if figures in ALONE:
        return figures
    for figure in figures:
        if figure not in FIGURES:
            raise argparse.ArgumentTypeError(
                f"{figure!r} is none of {', '.join(FIGURES)}, nor is it resources or profile alone"
            )
    return figures


def _sizes(text: str) -> list[int]:
    return [_positive(part) for part in text.split(",")]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("1 or more")
    return number


def _command() -> str:
    return " ".join(["python -m benchmarks", *sys.argv[1:]])


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Leave by way of every `finally`, so that no process stays behind."""
    raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
