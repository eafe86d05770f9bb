"""kill -9 in the middle of a DELETE: what is left goes when it is asked for again, and no more."""

import http.client
import json
import threading
from contextlib import suppress
from typing import Any

import pytest

from tests.helpers import eventually
from tests.servers import ADMIN_KEY, INGEST_KEY, READ_KEY
from tests.system.conftest import Backend

GONE, KEPT = 40_000, 1_000
"""Readings of the sensor that is removed, and of the one beside it."""

TABLES = (
    *("readings", "rollups_minute", "rollups_hour", "rollups_day"),
    *("sensor_states", "sensor_counts", "sensor_details"),
)


def ask(backend: Backend, method: str, path: str, key: str, body: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", backend.server.port, timeout=60)
    try:
        headers = {"X-API-Key": key, "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def send(backend: Backend, sensor_id: str, number: int) -> None:
    for start in range(0, number, 5_000):
        readings = [
            {"sensor_id": sensor_id, "recorded_at": 1_700_000_000 + 10 * n, "temperature": n % 30}
            for n in range(start, min(start + 5_000, number))
        ]
        status, receipt = ask(backend, "POST", "/api/readings", INGEST_KEY, readings)
        assert (status, receipt["stored"]) == (201, len(readings))


def left(backend: Backend, sensor_id: str) -> int:
    ((number,),) = backend.rows(
        "SELECT count(*) FROM readings r JOIN sensors s ON s.id = r.sensor"
        f" WHERE s.sensor_id = '{sensor_id}'"
    )
    return int(number)


def counted(backend: Backend, sensor_id: str) -> int:
    """In the rollups of days, so that all is followed once it is all."""
    ((number,),) = backend.rows(
        "SELECT coalesce(sum(t.count), 0) FROM rollups_day t JOIN sensors s ON s.id = t.sensor"
        f" WHERE s.sensor_id = '{sensor_id}'"
    )
    return int(number)


@pytest.mark.timeout(180)
async def test_a_removal_that_was_killed_is_finished_by_the_next(backend: Backend) -> None:
    send(backend, "gone", GONE)
    send(backend, "kept", KEPT)
    await eventually(lambda: counted(backend, "gone") == GONE and counted(backend, "kept") == KEPT)

    def remove() -> None:
        with suppress(OSError, http.client.HTTPException):
            ask(backend, "DELETE", "/api/sensors/gone?confirm=gone", ADMIN_KEY)

    removing = threading.Thread(target=remove)
    removing.start()
    await eventually(lambda: left(backend, "gone") < GONE)
    backend.server.kill()
    removing.join(60)
    assert left(backend, "gone") > 0, "it was killed too late to say anything"

    backend.server.start()
    status, sensor = ask(backend, "GET", "/api/sensors/gone", READ_KEY)
    assert (status, sensor["sensor_id"]) == (200, "gone")
    there = left(backend, "gone")
    status, told = ask(backend, "DELETE", "/api/sensors/gone?confirm=gone", ADMIN_KEY)
    assert (status, told) == (200, {"sensor_id": "gone", "readings": there})
    assert ask(backend, "GET", "/api/sensors/gone", READ_KEY)[0] == 404

    assert backend.rows("SELECT sensor_id FROM sensors") == [("kept",)]
    for table in TABLES:
        orphans = f"SELECT count(*) FROM {table} WHERE sensor NOT IN (SELECT id FROM sensors)"
        assert backend.rows(orphans) == [(0,)], table
    assert (left(backend, "kept"), counted(backend, "kept")) == (KEPT, KEPT)
