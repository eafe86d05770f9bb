"""The table, the line about the machine, and RESULTS.md."""

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.server import HERE, ROOT, BenchmarkError

RESULTS: Final = HERE / "RESULTS.md"
INTRODUCTION: Final = """# Results

Each section is one run of the command it names; README.md says what the figures mean.
"""
HEAD: Final = ("Measured", "SensorFlow", "Beside it", "Ratio", "p50 / p99", "Goal", "Checked")


@dataclass(frozen=True)
class Row:
    """One figure. With `problems` it is no result."""

    name: str
    ours: str
    beside: str
    ratio: str
    latency: str
    goal: str
    checked: str
    problems: Sequence[str]

    def cells(self) -> tuple[str, ...]:
        """What the table shows."""
        checked = "**FAILED**" if self.problems else self.checked
        return (
            self.name,
            self.ours,
            self.beside,
            f"**{self.ratio}**",
            self.latency,
            self.goal,
            checked,
        )


def table(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [HEAD, tuple("---" for _ in HEAD), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def compact(rates: Sequence[float]) -> str:
    """The median of some rates per second."""
    middle = median(rates)
    return f"{middle / 1e6:.2f} M" if middle >= 1e6 else f"{middle:,.0f}"


def spread(ratios: Sequence[float]) -> str:
    """The median of some ratios, with the smallest and the largest."""
    return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def milliseconds(p50: Sequence[float], p99: Sequence[float]) -> str:
    """The medians of two percentiles."""
    return f"{median(p50):.1f} / {median(p99):.1f} ms"


def seconds_of(times: Sequence[float]) -> str:
    """The median of some durations, with the shortest and the longest."""
    return f"{median(times):.2f} s ({min(times):.2f}–{max(times):.2f})"


def machine() -> str:
    """Where and when, in one line; asked for before the load starts."""
    loads = ", ".join(f"{load:.2f}" for load in os.getloadavg())
    return "; ".join(
        (
            f"{_cpu()}, {len(os.sched_getaffinity(0))} cores, load generator included",
            f"Linux {platform.release()}, {_file_system(ROOT)}",
            f"Python {platform.python_version()}, uvicorn {version('uvicorn')}",
            f"load average at the start {loads}",
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            f"commit {_commit()}",
        )
    )


def write(section: str, command: str, machine_line: str, written_table: str) -> None:
    """Replace one section of RESULTS.md, or add it; the others stay as they are."""
    before = RESULTS.read_text() if RESULTS.exists() else INTRODUCTION
    text = f"## {section}\n\n`{command}`\n\n{machine_line}\n\n{written_table}\n"
    pattern = re.compile(rf"^## {re.escape(section)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if pattern.search(before):
        after = pattern.sub(lambda _: text + "\n", before)
    else:
        after = f"{before.rstrip()}\n\n{text}"
    RESULTS.write_text(after.rstrip() + "\n")


def refuse_memory() -> None:
    """A database that never reaches a disk is not durable, and its figures mean nothing."""
    kind = _file_system(ROOT)
    if kind in ("tmpfs", "ramfs"):
        raise BenchmarkError(f"the project lies on {kind}; measure where it is on a disk")


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _file_system(path: Path) -> str:
    """The kind of file system that holds `path`: that of the longest mount point above it."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    above = [(len(point), kind) for point, kind in mounts if path.is_relative_to(point)]
    return max(above)[1] if above else "unknown file system"


def _commit() -> str:
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
