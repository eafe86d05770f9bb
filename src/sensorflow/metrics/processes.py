"""What the program's processes take of the machine, as Linux tells it."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_PROC: Final = Path("/proc")
_ATTEMPTS: Final = 5
"""For a moment in which no worker ends while their times are added up."""


class _Process:
    """One process, by the fields of its `stat` after the name."""

    def __init__(self, pid: int) -> None:
        self._fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        self.parent = int(self._fields[1])
        self.ticks = int(self._fields[11]) + int(self._fields[12])
        self.ticks_of_the_ended = int(self._fields[13]) + int(self._fields[14])
        self.started = int(self._fields[19])
        self.pages = int(self._fields[21])


class Processes:
    """The founder and the workers that it has forked, as one."""

    def __init__(self, founder: int, pids: Callable[[], set[int]]) -> None:
        """`pids` may name processes that have ended."""
        self._founder = founder
        self._pids = pids
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._page_size = os.sysconf("SC_PAGE_SIZE")

    def collect(self) -> Iterator[Metric]:
        """Nothing where there is no /proc."""
        try:
            founder, workers = self._look()
            booted = _booted()
        except OSError:
            return
        everybody = [founder, *workers.values()]
        ticks = sum(process.ticks for process in everybody) + founder.ticks_of_the_ended
        yield CounterMetricFamily(
            "process_cpu_seconds",
            "CPU time of all processes, also those that have ended.",
            ticks / self._ticks,
        )
        yield GaugeMetricFamily(
            "process_resident_memory_bytes",
            "Memory of all processes; what they share counts for each.",
            sum(process.pages for process in everybody) * self._page_size,
        )
        yield GaugeMetricFamily(
            "process_open_fds",
            "Open files and connections of all processes.",
            sum(map(_open_files, (self._founder, *workers))),
        )
        yield GaugeMetricFamily(
            "process_max_fds",
            "Open files and connections that each process may have.",
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        )
        yield GaugeMetricFamily(
            "process_start_time_seconds",
            "When the program started, since 1970.",
            booted + founder.started / self._ticks,
        )

    def _look(self) -> tuple[_Process, dict[int, _Process]]:
        """The founder and its workers; all times are in exactly one of them."""
        founder = _Process(self._founder)
        for _ in range(_ATTEMPTS):
            workers = {}
            for pid in self._pids() - {self._founder}:
                with suppress(FileNotFoundError, ProcessLookupError):
                    process = _Process(pid)
                    # Another's who has been given the number since is not ours.
                    if process.parent == self._founder:
                        workers[pid] = process
            before, founder = founder, _Process(self._founder)
            if founder.ticks_of_the_ended == before.ticks_of_the_ended:
                break
        return founder, workers


def _open_files(pid: int) -> int:
    with suppress(OSError):  # it has just ended
        return sum(1 for _ in os.scandir(_PROC / str(pid) / "fd"))
    return 0


def _booted() -> float:
    for line in (_PROC / "stat").read_bytes().splitlines():
        if line.startswith(b"btime "):
            return float(line.split()[1])
    raise OSError("the kernel does not tell when it was started")
