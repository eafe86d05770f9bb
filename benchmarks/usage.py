"""What a server's processes take while something else loads it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic

import psutil

from benchmarks.server import Running

INTERVAL = 0.1
"""Seconds between two looks."""


class Usage:
    """Of all processes of one server: the most memory (shared once), and the share of a core."""

    def __init__(self) -> None:
        self.most_bytes = 0
        self.of_a_core = 0.0


@contextmanager
def watched(server: Running) -> Iterator[Usage]:
    """Look at the processes until the end of the block; the answer is there afterwards."""
    usage = Usage()
    ended = threading.Event()
    root = psutil.Process(server.pid)
    family = [root, *root.children(recursive=True)]

    def look() -> None:
        while not ended.wait(INTERVAL):
            usage.most_bytes = max(usage.most_bytes, _bytes(family))

    before, started = _seconds(family), monotonic()
    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield usage
    finally:
        ended.set()
        looking.join()
        usage.of_a_core = (_seconds(family) - before) / (monotonic() - started)


def _bytes(family: list[psutil.Process]) -> int:
    total = 0
    for process in family:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total


def _seconds(family: list[psutil.Process]) -> float:
    total = 0.0
    for process in family:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total
