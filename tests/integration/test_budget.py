"""DISK_BUDGET in the whole application: filled far past a small one, it is kept.

`tests/system/test_budget.py` does so with the real program, for longer.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from sensorflow import settings
from sensorflow.history import follower, keeper
from tests.integration.conftest import Running, Serve
from tests.postgres import shared
from tests.servers import INGEST_KEY, READ_KEY

BUDGET = 11_000_000
SLACK = 1.3
"""On a busy machine much comes between two looks, beside so small a budget."""
READINGS = 110_000
AT_ONCE = 1_000


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LEAST_BUDGET", BUDGET)
    monkeypatch.setattr(follower, "POLL_INTERVAL", 0.02)
    monkeypatch.setattr(keeper, "BUDGET_INTERVAL", 0.05)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    server = shared("15")
    url = server.create_database(migrated=True)
    yield url
    server.drop_database(url)


async def told(app: Running) -> dict[str, Any]:
    response = await app.http.get("/api/storage", headers={"X-API-Key": READ_KEY}, timeout=30)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


@pytest.mark.parametrize("serve", ["own protocols"], indirect=True)
async def test_the_budget_is_kept_and_only_the_oldest_go(
    serve: Serve, database_url: str | None
) -> None:
    body = json.dumps(
        [
            {"sensor_id": f"s{n % 7}", "temperature": 21.5, "humidity": 55.5, "pressure": 1013.2}
            for n in range(AT_ONCE)
        ]
    )
    headers = {"X-API-Key": INGEST_KEY, "Content-Type": "application/json"}
    largest = 0
    async with serve(database_url=database_url, disk_budget="11MB") as app:
        for _ in range(READINGS // AT_ONCE):
            response = await app.http.post(
                "/api/readings", content=body, headers=headers, timeout=60
            )
            assert response.status_code == 201, response.text
            largest = max(largest, (await told(app))["bytes"])
        async with asyncio.timeout(60):
            while (state := await told(app))["bytes"] > 0.95 * BUDGET:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        async with app.watch(f"?api-key={READ_KEY}&since=5") as live:
            gap = json.loads(await live.recv())["gap"]
            first = json.loads(await live.recv())["id"]
    assert {(drop["tier"], drop["why"]) for drop in state["drops"]} == {("raw", "budget")}
    assert largest < SLACK * BUDGET
    # No more than was needed: most of the budget is still in use.
    assert state["bytes"] > 0.75 * BUDGET
    assert gap["after"] == 5
    assert 5 < gap["oldest"] <= first
