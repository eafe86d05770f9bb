"""One scrape tells the whole program: two workers, deaths among them, and one that is frozen."""

import os
import re
import signal

import psutil
import pytest

from tests.helpers import eventually
from tests.servers import READ_KEY
from tests.workers import SECONDS, Http, Watcher, Workers, on_each

STORED = 'sensorflow_receipts_total{status="stored"}'
CREATED = 'sensorflow_requests_total{route="/api/temperature_reading",status="201"}'
TIMED = 'sensorflow_request_seconds_count{route="/api/temperature_reading"}'


pytestmark = pytest.mark.usefixtures("no_client_left")


async def scrape(connection: Http) -> dict[str, float]:
    status, text = await connection.ask("GET /metrics", headers={"X-API-Key": READ_KEY})
    assert status == 200
    return {
        name: float(value)
        for name, value in re.findall(r"^([^# ][^ ]*) (\S+)$", text.decode(), re.MULTILINE)
    }


async def post(connection: Http, count: int) -> None:
    for n in range(count):
        status, _ = await connection.post("kitchen", n)
        assert status == 201


async def test_each_worker_tells_what_both_have_counted(server: Workers) -> None:
    async with on_each(server) as connections:
        (first,), (second,) = connections.values()
        await post(first, 3)
        await post(second, 5)
        for connection in (first, second):
            told = await scrape(connection)
            assert told[STORED] == told[CREATED] == told[TIMED] == 8
            assert told["sensorflow_batch_readings_sum"] == 8
            assert told["sensorflow_commit_seconds_count"] == 8
            assert told["sensorflow_workers"] == 2
            assert told["sensorflow_database_available"] == 1


async def test_gauges_are_those_of_both_within_a_second_or_so(server: Workers) -> None:
    async with on_each(server) as connections:
        watchers = [await Watcher.open(server) for _ in range(20)]
        try:
            owners = await server.owned([watcher.port for watcher in watchers])
            assert len(set(owners.values())) == 2
            for (connection,) in connections.values():
                while (await scrape(connection))["sensorflow_subscribers"] != len(watchers):
                    pass
        finally:
            for watcher in watchers:
                watcher.close()
                await watcher.wait_closed()
        for (connection,) in connections.values():
            while (await scrape(connection))["sensorflow_subscribers"] != 0:
                pass


async def test_what_a_killed_worker_has_counted_stays_and_its_gauges_go(server: Workers) -> None:
    watcher = await Watcher.open(server)
    async with on_each(server) as connections:
        victim = psutil.Process((await server.owned([watcher.port]))[watcher.port])
        (dying,) = connections[victim.pid]
        (other,) = next(mine for pid, mine in connections.items() if pid != victim.pid)
        await post(dying, 7)
        while (await scrape(other))["sensorflow_subscribers"] != 1:
            pass
        before = await scrape(dying)
        victim.kill()
        counted = before
        while not (
            len(server.events("worker started")) == 3 and counted["sensorflow_workers"] == 2
        ):
            told = await scrape(other)
            for name in (STORED, CREATED, TIMED, "process_cpu_seconds_total"):
                assert told[name] >= counted[name], name
            counted = told
        assert counted[STORED] == 7
        assert counted["sensorflow_subscribers"] == 0
        assert counted["process_start_time_seconds"] == before["process_start_time_seconds"]
    await watcher.wait_closed()
    async with on_each(server) as connections:
        for (connection,) in connections.values():
            await post(connection, 1)
        for (connection,) in connections.values():
            assert (await scrape(connection))[STORED] == 9


async def test_a_frozen_worker_holds_up_no_scrape(server: Workers) -> None:
    async with on_each(server) as connections:
        (frozen, (silent,)), (_, (connection,)) = connections.items()
        await post(silent, 4)
        os.kill(frozen, signal.SIGSTOP)
        try:
            await eventually(
                lambda: psutil.Process(frozen).status() == psutil.STATUS_STOPPED, SECONDS
            )
            told = await scrape(connection)
        finally:
            os.kill(frozen, signal.SIGCONT)
        assert told[STORED] == 4
        assert told["sensorflow_workers"] == 2
