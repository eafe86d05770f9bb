"""Everything read back as CSV by clients that take it slowly, not at all, or leave in the middle.

The server holds a page and what a connection buffers, whatever a client does; others are answered
meanwhile, and when the client is gone nothing of it is left.
"""

import codecs
import csv
import http.client
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Final

import psutil
import pytest

from sensorflow.live.ring import RING_BYTES
from tests.helpers import promised
from tests.load import ANSWERED_WITHIN, wait_until
from tests.servers import INGEST_KEY, READ_KEY, Server
from tests.system.conftest import Backend

FEW: Final = 20_000
MANY: Final = 1_000_000
STOPPED: Final = 8
"""Clients that take nothing: twice as many as there are sessions that read."""
GROWTH: Final = 8 * 2**20
"""Bytes by which the server may grow while it streams: a few pages of 1,000 readings, each up to
2 MiB as objects. All of the few at once would be more than 16 MiB."""
KEPT: Final = RING_BYTES
"""Bytes of the readings posted beside, which the server keeps for who watches: `live.ring`."""
OF_ONE_STOPPED: Final = 2 * 2**20
"""Bytes that one client may cost as long as it takes nothing: a page, and what its connection
buffers."""
LEFT: Final = 8 * 2**20
"""Bytes that rounds of those clients may leave behind. Were it what one of a round costs, it would
be more after two of them."""
CUT_WITHIN: Final = 60.0
"""Seconds: twice the 30 in which a client may take nothing."""
SPOONFUL: Final = 16_384
BODY: Final = 10_000
SENSORS: Final = tuple(f"line-{n}-".ljust(128, "é") for n in range(10))
"""As long as they may be, so that the few are more than the system buffers for a connection."""
START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Filled:
    """A running program with so many readings, all of them rolled up, and what it takes."""

    def __init__(self, backend: Backend, number: int) -> None:
        self.backend = backend
        self.number = number
        self.server: Server = backend.server
        self._fill()
        # What storing them took is no part of what is measured.
        self.server.terminate()
        self.server.start()
        self.process = psutil.Process(self.server.process.pid)
        self.post()
        with self.reading(f"&limit={FEW // 4}") as client:
            client.rest()
        self.memory = self.process.memory_info().rss
        self.largest = self.memory
        self.connections = self.count_connections()
        self.answered: list[float] = []

    def _fill(self) -> None:
        for first in range(0, self.number, BODY):
            lines = [
                f'{{"sensor_id":"{SENSORS[n % 10]}","recorded_at":"{moment(n)}","temperature":20.5,'
                f'"serial":{n}}}'
                for n in range(first, first + BODY)
            ]
            assert self._send("/api/readings", "\n".join(lines), "application/x-ndjson") == 201
        wait_until(lambda: self._followed() >= self.number, 300)

    def _followed(self) -> int:
        (row,) = self.backend.rows("SELECT cursor FROM followers WHERE name = 'history'")
        return int(row[0])

    def _send(self, path: str, body: str, kind: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        headers = {"X-API-Key": INGEST_KEY, "Content-Type": kind}
        connection.request("POST", path, body.encode(), headers)
        with connection.getresponse() as response:
            response.read()
        connection.close()
        return response.status

    def post(self) -> float:
        """Store one reading; return how many seconds that took."""
        body = {"temperature": 1, "humidity": 2, "pressure": 3, "sensor_id": "beside"}
        began = time.monotonic()
        assert self._send("/api/temperature_reading", json.dumps(body), "application/json") == 201
        return time.monotonic() - began

    def look(self) -> None:
        """Post a reading beside, and see how large the server is."""
        self.answered.append(self.post())
        self.measure()

    def measure(self) -> None:
        self.largest = max(self.largest, self.process.memory_info().rss)

    @property
    def growth(self) -> int:
        return self.largest - self.memory

    @contextmanager
    def reading(self, more: str = "") -> Iterator["Client"]:
        client = Client(self.server.port, more)
        try:
            yield client
        finally:
            client.leave()

    def streams_ended(self) -> float:
        """How many streams the server has done with."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        connection.request("GET", "/metrics", headers={"X-API-Key": READ_KEY})
        with connection.getresponse() as response:
            lines = response.read().decode().splitlines()
        connection.close()
        start = 'sensorflow_requests_total{route="/api/readings",status="200"}'
        return sum(float(line.split()[1]) for line in lines if line.startswith(start))

    def count_connections(self) -> int:
        """Those of clients; sessions of the database are opened as they are needed, and kept."""
        found = self.process.net_connections("tcp")
        return sum(c.status == "ESTABLISHED" and c.laddr[1] == self.server.port for c in found)

    def holds_nothing(self) -> bool:
        """Whether no transaction is open in the database."""
        if self.backend.embedded:
            # A reader that has not ended keeps the log from being taken over whole.
            ((busy, *_),) = self.backend.rows("PRAGMA wal_checkpoint(TRUNCATE)")
            return bool(busy == 0)
        return not self.backend.rows(
            "SELECT query FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
        )


class Client:
    """Reads all readings as CSV, as slowly as it is told; its system buffers little."""

    def __init__(self, port: int, more: str = "") -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SPOONFUL)
        self._socket.settimeout(60)
        self._socket.connect(("127.0.0.1", port))
        head = f"GET /api/readings?format=csv{more} HTTP/1.1\r\nHost: x\r\nX-API-Key: {READ_KEY}"
        self._socket.sendall(f"{head}\r\n\r\n".encode())
        self._response = http.client.HTTPResponse(self._socket)
        self._response.begin()
        assert self._response.status == 200
        self.bytes = 0
        self._text = codecs.getincrementaldecoder("utf-8-sig")()
        self._parts: list[str] = []

    def take(self, size: int = SPOONFUL) -> bool:
        """Take some; return whether there was any."""
        part = self._response.read1(size)
        self.bytes += len(part)
        self._parts.append(self._text.decode(part, final=not part))
        return bool(part)

    def rest(self, look: Callable[[], None] = lambda: None) -> None:
        while self.take(2**18):
            look()

    def rows(self) -> Iterator[dict[str, str]]:
        return csv.DictReader("".join(self._parts).splitlines(keepends=True))

    def leave(self) -> None:
        """Without a word more: what is under way is not waited for."""
        self._response.close()
        if self._socket.fileno() == -1:
            return
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def moment(serial: int) -> str:
    return (START + timedelta(milliseconds=serial)).isoformat()


def check_one_that_trickles(filled: Filled, posts: int) -> None:
    """It gets every row once; meanwhile readings are stored, and the server does not grow."""
    with filled.reading() as client:
        for _ in range(posts):
            filled.look()
            assert client.take()
        trickled, began = client.bytes, time.monotonic()
        over = Event()

        def store_beside() -> None:
            while not over.is_set():
                filled.answered.append(filled.post())

        with ThreadPoolExecutor(1) as pool:
            beside = pool.submit(store_beside)
            client.rest(filled.measure)
            took = time.monotonic() - began
            over.set()
            beside.result()
        serials = [row["serial"] for row in client.rows() if row["sensor_id"] != "beside"]
    assert serials == [f"{n}.0" for n in reversed(range(filled.number))]
    fast = client.bytes - trickled
    print(
        f"\n{filled.number:,} readings, {client.bytes / 2**20:.0f} MiB, of which"
        f" {trickled / 2**20:.1f} MiB in a trickle; then"
        f" {filled.number * fast / client.bytes / took:,.0f} rows/s and {fast / 2**20 / took:.0f}"
        f" MiB/s; {len(filled.answered):,} posts beside, the slowest"
        f" {max(filled.answered) * 1e3:.0f} ms; memory {filled.memory / 2**20:.0f} MiB before,"
        f" at most {filled.largest / 2**20:.0f} MiB"
    )


def check_those_that_take_nothing(filled: Filled, *, they_leave: bool) -> None:
    """They hold no session and no transaction, and others read beside them."""
    ended = filled.streams_ended()
    with ExitStack() as stack:
        clients = [stack.enter_context(filled.reading()) for _ in range(STOPPED)]
        wait_until(filled.holds_nothing)
        with filled.reading("&limit=10") as other:
            other.rest(filled.look)
            assert len(list(other.rows())) == 10
        # All but the one beside are under way.
        assert filled.streams_ended() == ended + 1
        assert filled.count_connections() >= filled.connections + STOPPED
        if they_leave:
            for client in clients:
                client.leave()
        wait_until(lambda: filled.streams_ended() == ended + 1 + STOPPED, CUT_WITHIN)
        wait_until(lambda: filled.count_connections() <= filled.connections)
    wait_until(filled.holds_nothing)
    filled.look()


def check_one_that_leaves_in_the_middle(filled: Filled) -> None:
    ended = filled.streams_ended()
    with filled.reading() as client:
        for _ in range(20):
            assert client.take()
        filled.look()
    wait_until(lambda: filled.streams_ended() == ended + 1)
    wait_until(lambda: filled.count_connections() <= filled.connections)
    wait_until(filled.holds_nothing)


def check_all(filled: Filled, posts: int, rounds: int, *, they_leave: bool) -> None:
    check_one_that_trickles(filled, posts)
    check_one_that_leaves_in_the_middle(filled)
    allowed = GROWTH + (KEPT if filled.number == MANY else 0)
    assert filled.growth < allowed
    check_those_that_take_nothing(filled, they_leave=they_leave)
    assert filled.growth < allowed + STOPPED * OF_ONE_STOPPED
    before = filled.growth
    for _ in range(rounds):
        check_those_that_take_nothing(filled, they_leave=True)
    assert filled.growth - before < LEFT
    print(
        f"{STOPPED} that take nothing: {before / 2**20:.0f} MiB more than in the beginning, after"
        f" {rounds} more rounds {filled.growth / 2**20:.0f} MiB"
    )
    assert max(filled.answered) < promised(ANSWERED_WITHIN)


def test_whoever_reads_slowly_or_leaves_costs_the_server_nothing(backend: Backend) -> None:
    check_all(Filled(backend, FEW), posts=100, rounds=2, they_leave=True)


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_a_million_readings_for_a_slow_reader_cost_the_server_nothing(backend: Backend) -> None:
    check_all(Filled(backend, MANY), posts=2_000, rounds=10, they_leave=False)
