"""What `/metrics` tells of one process."""

import re

from tests.integration.conftest import GOOD, Running
from tests.servers import READ_KEY


async def scrape(app: Running) -> dict[str, float]:
    response = await app.http.get("/metrics", headers={"X-API-Key": READ_KEY})
    assert response.status_code == 200
    return {
        name: float(value)
        for name, value in re.findall(r"^([^# ][^ ]*) (\S+)$", response.text, re.MULTILINE)
    }


def requests(route: str, status: int | str) -> str:
    return f'sensorflow_requests_total{{route="{route}",status="{status}"}}'


async def test_every_response_counts_by_route_and_status(app: Running) -> None:
    before = await scrape(app)
    for _ in range(3):
        await app.post()
    await app.post(b"{")
    await app.http.get("/api/temperature_reading")
    await app.http.get("/healthz")
    await app.http.post("/healthz")
    await app.http.get("/assets/none.js")
    await app.http.get("/assets/other.js")
    await app.http.get("/of/nobody")
    await app.http.get("/ws/sensor_updates")
    async with app.watch() as subscriber:
        await subscriber.recv()
    async with app.watch("?api-key=wrong-key") as subscriber:
        await subscriber.wait_closed()
    after = await scrape(app)
    counted = {
        name: after[name] - before.get(name, 0)
        for name in after
        if name.startswith("sensorflow_requests_total") and after[name] > before.get(name, 0)
    }
    assert counted == {
        requests("/api/temperature_reading", 201): 3,
        requests("/api/temperature_reading", 400): 1,
        requests("/api/temperature_reading", 405): 1,
        requests("/healthz", 200): 1,
        requests("/healthz", 405): 1,
        requests("/assets", 404): 2,
        requests("other", 404): 1,
        requests("/ws/sensor_updates", 426): 1,
        requests("/ws/sensor_updates", 101): 2,
        requests("/metrics", 200): 1,
    }
    assert after['sensorflow_request_seconds_count{route="/api/temperature_reading"}'] == 5
    seconds = after['sensorflow_request_seconds_sum{route="/api/temperature_reading"}']
    assert 0 < seconds < 60
    assert after['sensorflow_request_seconds_count{route="/ws/sensor_updates"}'] == 1


async def test_the_readings_and_their_commits_are_counted(app: Running) -> None:
    for n in range(4):
        await app.post({**GOOD, "temperature": n})
    told = await scrape(app)
    assert told['sensorflow_receipts_total{status="stored"}'] == 4
    assert told["sensorflow_batch_readings_sum"] == 4
    assert told['sensorflow_batch_readings_bucket{le="1.0"}'] == 4
    assert told['sensorflow_batch_readings_bucket{le="+Inf"}'] == 4
    assert told["sensorflow_commit_seconds_count"] == 4
    assert 0 < told["sensorflow_commit_seconds_sum"] < 60
    assert told["sensorflow_workers"] == 1


async def test_what_there_is_not_has_no_number(app: Running) -> None:
    """On SQLite there is no database that could be away, and no bus that could be deaf."""
    told = await scrape(app)
    assert "sensorflow_database_available" not in told
    assert "sensorflow_bus_listening" not in told
    assert told["sensorflow_spooled_readings"] == 0


async def test_the_program_and_its_process_are_told(app: Running) -> None:
    told = await scrape(app)
    assert [name for name in told if name.startswith("sensorflow_build_info{version=")]
    assert told["process_resident_memory_bytes"] > 2**20
    assert told["process_cpu_seconds_total"] > 0
    assert 3 < told["process_open_fds"] < told["process_max_fds"]
    assert told["process_start_time_seconds"] > 1_700_000_000
