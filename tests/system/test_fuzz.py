"""Mutated bodies over all ingest routes of the real program: no 5xx, no stall, flat memory."""

import asyncio
import gzip
import json
import re
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import psutil
import pytest

from sensorflow.ingest.bodies import MAX_UNPACKED
from tests.devices import send_pico
from tests.mutations import request
from tests.servers import INGEST_KEY, Server, http, serving
from tests.system.conftest import Kept

SEED = 20260131
CONNECTIONS = 8
PATIENCE = 30.0
PROBE_PAUSE = 0.005
MAX_STALL = 1.0
MAX_GROWTH = 16 * 2**20
"""Bytes, in the second half: the ring of recent readings and all caches are full by then."""


AT_ONCE: Final = 4 * MAX_UNPACKED
"""Bytes for a body that is refused: as it came, unpacked in pieces and as a whole."""


@dataclass
class Seen:
    """What the server did."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    longest_stall: float = 0.0
    """Of an answer to /healthz on a connection of its own, asked for all the time."""
    longest_lag: float = 0.0
    """By which the test itself was held up: the machine's doing, not the server's."""
    memory: list[int] = field(default_factory=list)
    """After each tenth of the requests."""

    def __str__(self) -> str:
        memory = ", ".join(f"{number / 2**20:.0f}" for number in self.memory)
        return (
            f"{self.statuses.total():,} requests: {dict(sorted(self.statuses.items()))}; slowest "
            f"answer {self.slowest * 1e3:.0f} ms, longest stall {self.longest_stall * 1e3:.0f} ms "
            f"(the test itself {self.longest_lag * 1e3:.0f} ms), "
            f"memory after each tenth {memory} MiB"
        )


async def fuzz(server: Server, number: int) -> Seen:
    """Send so many requests; what fails is told with the request."""
    seen = Seen()
    process = psutil.Process(server.process.pid)
    serials = count()
    probing = asyncio.create_task(probe(server, seen))

    async def send() -> None:
        reader = writer = None
        while (serial := next(serials)) < number:
            if serial and serial % (number // 10) == 0:
                seen.memory.append(process.memory_info().rss)
            sent = request(f"{SEED}-{serial}", INGEST_KEY.encode())
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            began = time.monotonic()
            writer.write(sent.wire)
            status, kept = await answer(reader)
            seen.slowest = max(seen.slowest, time.monotonic() - began)
            seen.statuses[status] += 1
            if not 200 <= status < 500:
                seen.failures.append(f"{serial}: {status} for {sent}")
            if not kept:
                await closed(writer)
                reader = writer = None
        if writer is not None:
            await closed(writer)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(send())
    probing.cancel()
    with suppress(asyncio.CancelledError):
        await probing
    seen.memory.append(process.memory_info().rss)
    return seen


async def answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The status (0 where there is none), and whether the connection is kept."""
    async with asyncio.timeout(PATIENCE):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = re.search(rb"\r\ncontent-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, False
        return int(head[9:12]), b"\r\nconnection: close" not in head


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def probe(server: Server, seen: Seen) -> None:
    """Ask for /healthz again and again; note the longest that an answer took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        while True:
            began = time.monotonic()
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await answer(reader))[0] == 200
            seen.longest_stall = max(seen.longest_stall, time.monotonic() - began)
            began = time.monotonic()
            await asyncio.sleep(PROBE_PAUSE)
            seen.longest_lag = max(seen.longest_lag, time.monotonic() - began - PROBE_PAUSE)
    finally:
        await closed(writer)


def levels(server: Server) -> set[str]:
    return {json.loads(line)["level"] for line in server.log.read_text().splitlines()}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kept", ["sqlite", "postgresql-15"], indirect=True)
async def test_mutated_bodies_are_answered_without_a_5xx(tmp_path: Path, kept: Kept) -> None:
    with serving(tmp_path, DATABASE_URL=kept.url) as server:
        seen = await fuzz(server, 2_000)
        assert not seen.failures, seen.failures[:5]
        assert seen.statuses[201] > 100 < seen.statuses[400]
        assert seen.statuses[204] > 20 < seen.statuses[422]
        assert levels(server) <= {"info", "warning"}


@pytest.mark.parametrize(
    ("kind", "begin", "unit", "end"),
    [
        ("json", b"[", b"{},", b"{}]"),
        ("json", b"[", b"1,", b"1]"),
        ("json", b'{"x":[', b"1,", b"1]}"),
        ("x-ndjson", b"", b"1\n", b"1"),
        ("x-ndjson", b"", b"{}\n", b"{}"),
    ],
)
def test_millions_of_nothing_take_no_memory(
    tmp_path: Path, kind: str, begin: bytes, unit: bytes, end: bytes
) -> None:
    """As large as a body may be, and a few KiB on its way here."""
    number = (MAX_UNPACKED - len(begin) - len(end)) // len(unit)
    packed = gzip.compress(begin + number * unit + end)
    headers = {"X-API-Key": INGEST_KEY, "Content-Encoding": "gzip"}
    headers |= {"Content-Type": f"application/{kind}", "Content-Length": str(len(packed))}
    with serving(tmp_path) as server:
        send_pico(server)
        process = psutil.Process(server.process.pid)
        before = most_ever(process)
        answered = http(server.port, "POST /api/readings", packed, headers)
        assert answered.startswith(b"HTTP/1.1 413 ")
        assert b'"reason":"body_too_large"' in answered
        assert most_ever(process) - before < AT_ONCE


def most_ever(process: psutil.Process) -> int:
    """Bytes that it has had in memory at once, at most."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.long
@pytest.mark.timeout(1_800)
async def test_a_hundred_thousand_mutated_bodies_stall_nobody(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        seen = await fuzz(server, 100_000)
        print(f"\n{seen}")
        assert not seen.failures, seen.failures[:5]
        assert seen.longest_stall - seen.longest_lag < MAX_STALL
        assert seen.memory[-1] - seen.memory[4] < MAX_GROWTH
        assert levels(server) <= {"info", "warning"}
