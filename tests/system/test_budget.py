"""DISK_BUDGET on the real program: filled far past it under load, it is kept."""

import http.client
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import promised
from tests.load import wait_until
from tests.servers import INGEST_KEY, READ_KEY, Server, serving
from tests.system.conftest import Backend, Kept

BUDGET = 100_000_000
SLACK = 1.05
"""What is stored between two looks, and what is not followed yet, may come on top."""

READINGS = 500
"""In a request."""
SENDERS = 2


@pytest.fixture
def small(kept: Kept, tmp_path: Path) -> Iterator[Backend]:
    """A program with the least budget."""
    with serving(tmp_path, DATABASE_URL=kept.url, DISK_BUDGET="100MB") as server:
        yield Backend(server, kept.execute, embedded=not kept.url)


class Flood:
    """Sends many readings a request, until so many requests were stored."""

    def __init__(self, server: Server, requests: int) -> None:
        self._server = server
        self._left = requests
        self._lock = threading.Lock()
        self.stored = 0
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._send, args=(n,), daemon=True) for n in range(SENDERS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _send(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        with closing(connection):
            self._send_all(number, connection)

    def _send_all(self, number: int, connection: http.client.HTTPConnection) -> None:
        values = {"temperature": 21.5, "humidity": 55.25, "pressure": 1013.25}
        body = json.dumps(
            [{"sensor_id": f"flood-{number}-{n % 5}", **values} for n in range(READINGS)]
        )
        headers = {"X-API-Key": INGEST_KEY, "Content-Type": "application/json"}
        while True:
            with self._lock:
                if self._left == 0 or self.failures:
                    return
                self._left -= 1
            connection.request("POST", "/api/readings", body, headers)
            response = connection.getresponse()
            answer = response.read()
            with self._lock:
                if response.status == 201:
                    self.stored += READINGS
                elif response.status == 503:
                    time.sleep(0.1)  # the queue was full; nothing was kept
                    self._left += 1
                else:
                    self.failures.append(f"{response.status} {answer!r}")


class Watch:
    """One device that sends a reading at a time: how long each answer takes, and when."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = threading.Event()
        self.took: list[tuple[float, float]] = []
        self.statuses: set[int] = set()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _send(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        with closing(connection):
            self._send_over(connection)

    def _send_over(self, connection: http.client.HTTPConnection) -> None:
        headers = {"X-API-Key": INGEST_KEY, "Content-Type": "application/json"}
        body = json.dumps({"temperature": 1, "humidity": 2, "pressure": 3, "sensor_id": "watched"})
        while not self._stop.is_set():
            began = time.monotonic()
            connection.request("POST", "/api/temperature_reading", body, headers)
            response = connection.getresponse()
            response.read()
            self.took.append((began, time.monotonic() - began))
            self.statuses.add(response.status)
            self._stop.wait(0.005)

    def p99(self, since: float, until: float) -> float:
        times = sorted(took for began, took in self.took if since <= began < until)
        return times[int(len(times) * 0.99)] if times else float("nan")


def told(server: Server) -> dict[str, Any]:
    request = urllib.request.Request(f"{server.base}/api/storage", headers={"X-API-Key": READ_KEY})
    with urllib.request.urlopen(request, timeout=60) as response:
        found: dict[str, Any] = json.load(response)
    return found


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_budget_is_kept_under_load(small: Backend) -> None:
    server = small.server
    flood = Flood(server, requests=2_400)
    largest = largest_on_disk = 0
    with Watch(server) as watch:
        began = time.monotonic()
        flood.start()
        first_drop = None
        while flood.running:
            state = told(server)
            largest = max(largest, state["bytes"])
            largest_on_disk = max(largest_on_disk, state["bytes_on_disk"])
            if state["drops"] and first_drop is None:
                first_drop = time.monotonic()
            time.sleep(0.2)
        ended = time.monotonic()
        assert flood.failures == []
        wait_until(lambda: told(server)["bytes"] <= 0.95 * BUDGET)
    assert first_drop is not None, "nothing was dropped"
    assert watch.statuses == {201}
    assert max(took for _, took in watch.took) < promised(3.0)
    ((low, high, left),) = small.rows("SELECT min(id), max(id), count(*) FROM readings")
    state = told(server)
    dropped = sum(drop["rows"] for drop in state["drops"])
    calm, dropping = watch.p99(began, first_drop), watch.p99(first_drop, ended)
    print(
        f"\n{flood.stored:,} readings in {ended - began:.0f} s, {left:,} left, {dropped:,} dropped"
        f" in the last {len(state['drops'])} drops; most in use {largest / 1e6:.1f} MB, on disk"
        f" {largest_on_disk / 1e6:.1f} MB of {BUDGET / 1e6:.0f} MB; p99 of one reading beside"
        f" {calm * 1e3:.0f} ms before, {dropping * 1e3:.0f} ms while dropping"
    )
    assert largest_on_disk < SLACK * BUDGET
    # No more was dropped than was needed: most of the budget is in use.
    assert state["bytes"] > 0.80 * BUDGET
    assert {drop["tier"] for drop in state["drops"]} == {"raw"}
    assert low > 1
    assert high >= flood.stored + len(watch.took)
