"""Where the time of P1 goes: py-spy looks at the program 250 times a second, under load.

A sample counts for the innermost part of the program that it is in; what a part calls (a codec, the
kernel) is its own. Samples in which the program waits are not counted.
"""

import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Final

from benchmarks.databases import DATABASES
from benchmarks.server import BenchmarkError, first_accepted, scratch, sensorflow, tool
from benchmarks.wrk import load

CONNECTIONS: Final = 64
RATE: Final = 250

PARTS: Final = (
    ("_write (sensorflow/web/answering.py", "the response, mostly its one write to the socket"),
    ("sensorflow/web/http.py", "bounds on requests (web/http.py)"),
    ("asyncpg/", "asyncpg: the batch to the database and back"),
    ("sensorflow/storage/", "the batch in the database's form (storage)"),
    ("sensorflow/ingest/plain.py", "decoding and checking the body"),
    ("sensorflow/ingest/formats.py", "decoding and checking the body"),
    ("sensorflow/ingest/times.py", "decoding and checking the body"),
    ("WireEncoder", "the reading's wire form"),
    ("sensorflow/web/gate.py", "the key"),
    ("sensorflow/keys/", "the key"),
    ("sensorflow/ingest/", "group commit, receipts (ingest)"),
    ("sensorflow/bus/", "announcing (bus, live)"),
    ("sensorflow/live/", "announcing (bus, live)"),
    ("sensorflow/history/", "the follower"),
    ("sensorflow/metrics/", "counting"),
    ("sensorflow/web/", "the endpoint and its way there (web)"),
    ("uvicorn/", "uvicorn: parsing"),
    ("asyncio/", "the event loop: reading sockets, callbacks"),
)
"""What a frame of py-spy holds, and the part of the program it is; the first that fits counts."""
REST: Final = "all else"

IDLE_THREAD: Final = "_worker (concurrent/futures/thread.py"
"""A thread that waits for work, which py-spy takes for working."""


def measure(database: str, seconds: int) -> tuple[str, list[str]]:
    """The table, and what makes it worthless."""
    spy = Path(sys.executable).parent / "py-spy"
    problems: list[str] = []
    with (
        scratch() as folder,
        DATABASES[database](folder) as made,
        sensorflow(folder, problems, made.variables) as program,
    ):
        wrk = tool("wrk", "wrk")
        first_accepted(program)
        load(wrk, program.port, CONNECTIONS, 1)
        raw = folder / "profile.raw"
        pouring = threading.Thread(
            target=lambda: load(wrk, program.port, CONNECTIONS, seconds + 2), daemon=True
        )
        pouring.start()
        time.sleep(0.5)
        command = [str(spy), "record", "--pid", str(program.pid), "--duration", str(seconds)]
        command += ["--rate", str(RATE), "--format", "raw", "--output", str(raw)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        pouring.join()
        if done.returncode != 0:
            raise BenchmarkError(f"py-spy failed: {done.stderr[-500:]}")
        return _table(raw.read_text()), problems


def _table(raw: str) -> str:
    parts: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, number = line.rpartition(" ")
        frames = stack.split(";")
        if IDLE_THREAD not in frames[-1]:
            parts[_part(frames)] += int(number)
    lines = ["| Part | Share of the samples |", "| --- | --- |"]
    lines += [f"| {part} | {n / parts.total():.0%} |" for part, n in parts.most_common()]
    return "\n".join([*lines, f"| samples | {parts.total():,} |"])


def _part(stack: list[str]) -> str:
    for frame in reversed(stack):
        for found, part in PARTS:
            if found in frame:
                return part
    return REST
