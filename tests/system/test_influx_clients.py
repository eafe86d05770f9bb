"""Influx's own clients write to us, and what they wrote is read back equal."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import websockets
from influxdb import InfluxDBClient as Client1  # type: ignore[import-untyped]
from influxdb.exceptions import (  # type: ignore[import-untyped]
    InfluxDBClientError,
    InfluxDBServerError,
)
from influxdb_client.client.influxdb_client import InfluxDBClient as Client2
from influxdb_client.client.write.point import Point
from influxdb_client.client.write_api import SYNCHRONOUS, WriteOptions
from influxdb_client.rest import ApiException

from tests.postgres import Postgres
from tests.servers import INGEST_KEY, READ_KEY, Server, serving
from tests.system.conftest import Backend

NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)

Said = tuple[str, datetime, dict[str, float]]


@contextmanager
def client_1(server: Server, **options: Any) -> Iterator[Any]:
    client = Client1(
        host="127.0.0.1",
        port=server.port,
        **{"username": "anybody", "password": INGEST_KEY, "database": "any", **options},
    )
    try:
        yield client
    finally:
        client.close()


def client_2(server: Server, token: str = INGEST_KEY, **options: Any) -> Client2:
    return Client2(url=server.base, token=token, org="any", **options)


async def on_the_stream(server: Server, count: int) -> list[Said]:
    url = f"ws://127.0.0.1:{server.port}/ws/sensor_updates?api-key={READ_KEY}&since=0"
    own = ("id", "sensor_id", "recorded_at", "received_at", "date_recorded", "time_recorded")
    said: list[Said] = []
    async with websockets.connect(url) as subscriber, asyncio.timeout(60):
        for _ in range(count):
            frame = json.loads(await subscriber.recv())
            assert frame["id"] == len(said) + 1
            measured = {k: v for k, v in frame.items() if k not in (*own, "client_ip")}
            said.append(
                (frame["sensor_id"], datetime.fromisoformat(frame["recorded_at"]), measured)
            )
    return said


def in_the_database(backend: Backend) -> list[Said]:
    said = []
    for sensor, recorded_at, temperature, humidity, pressure, extra in backend.rows(
        "SELECT s.sensor_id, recorded_at, temperature, humidity, pressure, extra"
        " FROM readings r JOIN sensors s ON s.id = r.sensor ORDER BY r.id"
    ):
        measured = json.loads(extra) if extra else {}
        known = {"temperature": temperature, "humidity": humidity, "pressure": pressure}
        measured |= {name: value for name, value in known.items() if value is not None}
        if isinstance(recorded_at, int):
            recorded_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=recorded_at)
        said.append((sensor, recorded_at, measured))
    return said


def point(n: int) -> dict[str, Any]:
    return {
        "measurement": "climate room,=1",
        "tags": {"sensor": f"line {n % 3},=", "floor": "2 b"},
        "time": (NOON + timedelta(seconds=n)).isoformat(),
        "fields": {
            "temperature": 20.5 + n / 7,
            "count": n,
            "value": -1.5e-7 * n,
            "ok": n % 2 == 0,
            "note": 'a "quoted" \\ text,\nwith=more',
        },
    }


def meant(n: int) -> Said:
    # Version 1's client writes \= for = in a measurement, which has no such escape.
    return (
        f"line {n % 3},=",
        NOON + timedelta(seconds=n),
        {
            "NAME.temperature": 20.5 + n / 7,
            "NAME.count": float(n),
            "NAME": -1.5e-7 * n,
        },
    )


def named(said: list[Said], name: str) -> list[Said]:
    return [
        (sensor, at, {key.replace("NAME", name): value for key, value in measured.items()})
        for sensor, at, measured in said
    ]


async def test_the_client_of_version_1(backend: Backend) -> None:
    def send() -> None:
        with client_1(backend.server) as client:
            assert client.ping().startswith("1.8.0-sensorflow-")
            client.create_database("any")
            assert client.write_points([point(n) for n in range(10)], batch_size=7)
            assert client.write_points([])
        with client_1(backend.server, gzip=True) as client:
            # Half of them again: duplicates.
            assert client.write_points([point(n) for n in range(20)])

    await asyncio.to_thread(send)
    expected = named([meant(n) for n in range(20)], "climate_room___1.2_b")
    assert await on_the_stream(backend.server, 20) == expected
    assert in_the_database(backend) == expected


async def test_the_client_of_version_2(backend: Backend) -> None:
    def send() -> None:
        with client_2(backend.server) as client:
            assert client.ping()
            assert client.version().startswith("1.8.0-sensorflow-")
            with client.write_api(SYNCHRONOUS) as api:
                api.write("any", record=[point(n) for n in range(10)])
        with client_2(backend.server, enable_gzip=True) as client:
            # The same again: duplicates. Then as its background task sends them.
            with client.write_api(SYNCHRONOUS) as api:
                api.write("any", record=[Point.from_dict(point(n)) for n in range(10)])
            with client.write_api(WriteOptions(batch_size=4, flush_interval=10_000)) as api:
                for n in range(10, 20):
                    api.write("any", record=Point.from_dict(point(n)))

    await asyncio.to_thread(send)
    expected = named([meant(n) for n in range(20)], "climate_room__1.2_b")
    assert await on_the_stream(backend.server, 20) == expected
    assert in_the_database(backend) == expected


async def test_each_precision_of_each_client(tmp_path: Path) -> None:
    second = NOON.replace(microsecond=0)
    with serving(tmp_path) as server:

        def send() -> None:
            one = {"measurement": "m", "time": second, "fields": {"value": 1.0}}
            with client_1(server) as client:
                for unit in ("n", "u", "ms", "s", "m", "h", None):
                    client.write_points(
                        [{**one, "tags": {"host": f"1{unit}"}}], time_precision=unit
                    )
            with client_2(server) as v2, v2.write_api(write_options=SYNCHRONOUS) as api:
                for precision in ("ns", "us", "ms", "s"):
                    record = {**one, "tags": {"host": f"2{precision}"}}
                    api.write("any", record=record, write_precision=precision)

        await asyncio.to_thread(send)
        said = await on_the_stream(server, 11)
    assert {sensor for sensor, _, _ in said} == {
        *("1n", "1u", "1ms", "1s", "1m", "1h", "1None", "2ns", "2us", "2ms", "2s")
    }
    assert {at for _, at, _ in said} == {second}


async def test_the_clients_understand_our_errors(tmp_path: Path) -> None:
    lines = ["m,host=h a=1 1769860800000000000", "m,host=h a=", "m,host=h a=2 1769860800000000000"]
    with serving(tmp_path) as server:

        def send() -> None:
            with client_1(server) as client:
                with pytest.raises(InfluxDBClientError) as partial:
                    client.write_points(lines, protocol="line")
                assert partial.value.code == 400
                assert json.loads(partial.value.content)["error"].endswith("dropped=1")
                with pytest.raises(InfluxDBClientError) as query:
                    client.get_list_database()
                assert "Queries are not served here" in query.value.content
            with client_1(server, password="a-wrong-key") as client:
                with pytest.raises(InfluxDBClientError) as refused:
                    client.write_points(lines, protocol="line")
                assert refused.value.code == 401
            with client_2(server) as v2, v2.write_api(write_options=SYNCHRONOUS) as api:
                with pytest.raises(ApiException) as failed:
                    api.write("any", record=lines)
                assert failed.value.status == 400
                assert failed.value.message.startswith("partial write: line 2: ")
            with client_2(server, "a-wrong-key") as v2, v2.write_api(SYNCHRONOUS) as api:
                with pytest.raises(ApiException) as failed:
                    api.write("any", record=lines)
                assert failed.value.status == 401
                assert failed.value.message.startswith("The API key is wrong")

        await asyncio.to_thread(send)
        assert [said[2] for said in await on_the_stream(server, 1)] == [{"m.a": 2.0}]


async def test_while_the_database_is_away_what_is_written_is_kept(tmp_path: Path) -> None:
    with Postgres("15") as postgres, serving(tmp_path, DATABASE_URL=postgres.url()) as server:

        def send() -> None:
            postgres.stop()
            with client_1(server) as client:
                assert client.write_points([point(1)])
            with client_2(server) as v2, v2.write_api(SYNCHRONOUS) as api:
                api.write("any", record=point(2))
            postgres.start()

        await asyncio.to_thread(send)
        url = f"ws://127.0.0.1:{server.port}/ws/sensor_updates?api-key={READ_KEY}&since=0"
        stored: list[str] = []
        async with websockets.connect(url) as subscriber, asyncio.timeout(60):
            while len(stored) < 2:
                frame = json.loads(await subscriber.recv())
                if frame["id"] is not None:
                    stored.append(frame["sensor_id"])
        assert stored == ["line 1,=", "line 2,="]


async def test_a_server_that_cannot_store_is_tried_again(tmp_path: Path) -> None:
    """The client of version 2 waits as long as it is told, and sends the same again."""
    with serving(tmp_path) as server:
        lock = sqlite3.connect(server.data_dir / "sensorflow.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")

        def send() -> None:
            with client_1(server) as client, pytest.raises(InfluxDBServerError) as away:
                client.write_points([point(1)])
            assert "could not be stored" in str(away.value)
            failures: list[object] = []
            with (
                client_2(server) as client,
                client.write_api(
                    WriteOptions(batch_size=1, retry_interval=100, jitter_interval=0),
                    error_callback=lambda *told: failures.append(told),
                    retry_callback=lambda *_: retried(),
                ) as api,
            ):
                api.write("any", record=point(1))
            assert failures == []

        loop = asyncio.get_running_loop()

        def retried() -> None:
            loop.call_soon_threadsafe(lock.rollback)

        await asyncio.to_thread(send)
        lock.close()
        assert len(await on_the_stream(server, 1)) == 1
