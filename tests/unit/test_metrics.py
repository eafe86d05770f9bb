"""What is counted, and that every label that can come is one of those that are counted."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client import generate_latest

from sensorflow.errors import Reason
from sensorflow.keys.keyring import Keyring
from sensorflow.keys.limits import FailureLimit
from sensorflow.keys.sessions import Sessions
from sensorflow.live import subscriber
from sensorflow.metrics import CLOSES, ROUTES, STATUSES, Metrics
from sensorflow.metrics.board import Board
from sensorflow.web import live, problems
from sensorflow.web.api import create_api
from sensorflow.web.edge import (
    INFLUX_1_PATH,
    INFLUX_2_PATH,
    INFLUX_PING_PATH,
    INFLUX_QUERY_PATH,
    INGEST_PATH,
    LIVE_PATH,
    READINGS_PATH,
    STREAM_PATH,
)
from sensorflow.web.gate import Gate
from sensorflow.web.health import Health, Status


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"sensorflow_{name}", labels)


def test_every_route_is_counted_by_its_name() -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    async def answers() -> Health:
        return Health(Status.OK)

    gate = Gate(Keyring({}), FailureLimit(), Sessions(b""))
    anything: Any = None
    api: Any = create_api(gate, Metrics(), answers, anything, anything, anything, lifespan)
    declared = {route.path.replace(":path}", "}") for route in api.routes} | {
        INGEST_PATH,
        READINGS_PATH,
        INFLUX_1_PATH,
        INFLUX_2_PATH,
        INFLUX_QUERY_PATH,
        INFLUX_PING_PATH,
        LIVE_PATH,
        STREAM_PATH,
    }
    assert declared == set(ROUTES)


def test_every_status_and_every_close_is_counted_by_its_name() -> None:
    assert {problems.status_of(reason) for reason in Reason} <= set(STATUSES)
    assert {reason.value for reason in live._CLOSE_REASONS} | {"too_slow"} == set(CLOSES)
    assert subscriber.CLOSE_TOO_SLOW == 1013


def test_what_has_no_name_is_other() -> None:
    metrics = Metrics()
    metrics.route("/of/nobody").answered(799, 0.003)
    metrics.closed.labels("boredom").inc()
    assert value(metrics, "requests_total", route="other", status="other") == 1
    assert value(metrics, "request_seconds_bucket", route="other", le="0.0025") == 0
    assert value(metrics, "request_seconds_bucket", route="other", le="0.005") == 1
    assert value(metrics, "request_seconds_sum", route="other") == 0.003
    assert value(metrics, "closed_subscribers_total", reason="other") == 1


def test_a_value_on_a_bound_is_below_it() -> None:
    metrics = Metrics()
    for size in (1, 2, 3, 4096, 4097):
        metrics.batch_size.observe(size)
    found = {
        le: value(metrics, "batch_readings_bucket", le=le)
        for le in ("1.0", "2.0", "4.0", "4096.0", "+Inf")
    }
    assert found == {"1.0": 1, "2.0": 2, "4.0": 3, "4096.0": 4, "+Inf": 5}
    assert value(metrics, "batch_readings_sum") == 8199
    assert value(metrics, "batch_readings_count") == 5


@pytest.mark.parametrize("make", [Metrics, lambda: Metrics(Board(2))], ids=["alone", "board"])
def test_the_text_tells_each_name_once(make: Callable[[], Metrics]) -> None:
    text = generate_latest(make().registry).decode()
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) > 20


def test_a_gauge_follows_its_function() -> None:
    metrics = Metrics()
    waiting = [1, 2, 3]
    metrics.queued.set_function(lambda: len(waiting))
    metrics.database_available.set_function(lambda: not waiting)
    assert value(metrics, "queued_readings") == 3
    assert value(metrics, "database_available") == 0
    waiting.clear()
    assert value(metrics, "queued_readings") == 0
    assert value(metrics, "database_available") == 1
    assert value(metrics, "bus_listening") is None


FORKS = """
import os, signal
from sensorflow.metrics import Metrics
from sensorflow.metrics.board import Board

board = Board(2)
own = Metrics(board)
own.stored.inc(1)
own.subscribers.set_function(lambda: 10)
own.database_available.set_function(lambda: True)

def tell():
    names = ("receipts_total", {"status": "stored"}), ("subscribers", {}), (
        "database_available", {}), ("workers", {})
    values = [own.registry.get_sample_value(f"sensorflow_{n}", labels) for n, labels in names]
    print(*map(int, values), int(own.registry.get_sample_value("process_open_fds") > 3))

def worker(readings):
    ready, tell_ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        metrics = Metrics(board)
        metrics.stored.inc(readings)
        metrics.subscribers.set_function(lambda: 2)
        metrics.database_available.set_function(lambda: False)
        os.write(tell_ready, b"!")
        signal.pause()
    os.read(ready, 1)
    return pid

tell()
first, second = worker(100), worker(1000)
tell()
for pid in (first, second):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    tell()
third = worker(10_000)
tell()
os.kill(third, signal.SIGKILL)
"""


def test_the_dead_keep_their_counts_and_lose_their_gauges() -> None:
    told = subprocess.run(
        [sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60, check=True
    )
    assert [[int(word) for word in line.split()] for line in told.stdout.splitlines()] == [
        [1, 10, 1, 1, 1],
        [1101, 14, 0, 3, 1],
        [1101, 12, 0, 2, 1],
        [1101, 10, 1, 1, 1],
        [11101, 12, 0, 2, 1],
    ]
