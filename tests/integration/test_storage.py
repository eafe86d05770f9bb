"""`GET /api/storage`, and what a subscriber hears of what was dropped."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from sensorflow.errors import StorageUnavailable
from sensorflow.history import follower, keeper, retention
from sensorflow.storage.sqlite_disk import SqliteDisk
from sensorflow.web.storage import StorageInfo
from tests.integration.conftest import Running, Serve
from tests.integration.test_readings import at, post
from tests.servers import INGEST_KEY, READ_KEY

READ = {"X-API-Key": READ_KEY}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(keeper, "INTERVAL", 0.01)
    monkeypatch.setattr(keeper, "BUDGET_INTERVAL", 0.01)
    monkeypatch.setattr(retention, "_SHORTEST", timedelta(0))
    monkeypatch.setattr(retention, "_LONGEST", timedelta(0))


async def ask(app: Running) -> dict[str, Any]:
    response = await app.http.get("/api/storage", headers=READ)
    assert response.status_code == 200, response.text
    StorageInfo.model_validate_json(response.content)
    told: dict[str, Any] = response.json()
    return told


async def test_everything_is_kept_and_told(app: Running) -> None:
    await post(app, [at(n) for n in range(5)])
    told = await ask(app)
    assert told["budget"] is None
    assert told["forecast"]["reached_at"] is None
    assert told["drops"] == []
    assert [tier["tier"] for tier in told["tiers"]] == ["raw", "minute", "hour", "day"]
    assert {tier["retention"] for tier in told["tiers"]} == {"forever"}
    raw = told["tiers"][0]
    assert (raw["rows"], raw["oldest"], raw["newest"]) == (
        5,
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:04Z",
    )
    assert raw["bytes"] > 0
    assert 0 < told["bytes"] <= told["bytes_on_disk"]


async def test_what_is_dropped_is_told_to_who_asks_and_to_who_comes_back(serve: Serve) -> None:
    async with serve(retention_raw="1h", retention_minute="1y", disk_budget="1GB") as app:
        await post(app, [at(n) for n in range(5)])
        async with asyncio.timeout(10):
            while not (told := await ask(app))["drops"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert told["budget"] == 10**9
        assert [tier["retention"] for tier in told["tiers"]] == ["1h", "1y", "forever", "forever"]
        assert told["tiers"][0]["rows"] == 1
        drop = told["drops"][-1]
        assert (drop["why"], drop["tier"]) == ("age", "raw")
        assert drop["oldest"] == "2026-01-31T12:00:00Z"
        assert sum(drop["rows"] for drop in told["drops"]) == 4
        metrics = (await app.http.get("/metrics", headers=READ)).text
        assert 'sensorflow_dropped_rows_total{tier="raw"} 4.0' in metrics
    # What is remembered of the stream goes with the process.
    async with serve(retention_raw="1h") as app, app.watch(f"?api-key={READ_KEY}&since=2") as live:
        assert json.loads(await live.recv()) == {"gap": {"after": 2, "oldest": 5}}
        assert json.loads(await live.recv())["id"] == 5
        await post(app, [at(9)])
        assert json.loads(await live.recv())["id"] == 6


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("no-such-key", 401), (INGEST_KEY, 403)])
async def test_who_may_not_read_is_told_nothing(app: Running, key: str | None, status: int) -> None:
    headers = {} if key is None else {"X-API-Key": key}
    assert (await app.http.get("/api/storage", headers=headers)).status_code == status


async def test_a_database_that_is_away_is_told(
    app: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: SqliteDisk) -> None:
        raise StorageUnavailable("gone")

    monkeypatch.setattr(SqliteDisk, "fill", away)
    response = await app.http.get("/api/storage", headers=READ)
    assert response.status_code == 503
    assert response.json()["reason"] == "storage_unavailable"
    assert response.headers["Retry-After"]
