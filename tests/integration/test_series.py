"""`GET /api/series`: who may, what is refused, and what may be kept."""

from typing import Any

import pytest

from sensorflow.errors import StorageUnavailable
from sensorflow.storage.sqlite import SqliteStorage
from sensorflow.web.series import SeriesAnswer
from tests.integration.conftest import Running, Serve
from tests.integration.test_readings import post
from tests.servers import INGEST_KEY, READ_KEY

READ = {"X-API-Key": READ_KEY}
DAY = "start=2026-01-01T00:00:00Z&end=2026-01-02T00:00:00Z"
READINGS = [
    {"sensor_id": "a", "recorded_at": "2026-01-01T00:00:01Z", "temperature": 20, "co2": 400},
    {"sensor_id": "a", "recorded_at": "2026-01-01T00:00:59Z", "temperature": 22},
    {"sensor_id": "b/1", "recorded_at": "2026-01-01T12:00:00Z", "temperature": -5.5},
]


async def ask(app: Running, query: str, **headers: str) -> Any:
    return await app.http.get(f"/api/series?{query}", headers=READ | headers)


async def told(app: Running, query: str) -> dict[str, Any]:
    response = await ask(app, query)
    assert response.status_code == 200, response.text
    SeriesAnswer.model_validate_json(response.content)
    found: dict[str, Any] = response.json()
    return found


async def test_series_of_several_sensors_share_their_buckets(app: Running) -> None:
    await post(app, READINGS)
    answer = await told(app, f"sensor_id=b/1&sensor_id=a&sensor_id=none&{DAY}&bucket=12h")
    assert answer == {
        "start": "2026-01-01T00:00:00Z",
        "end": "2026-01-02T00:00:00Z",
        "bucket": "12h",
        "timezone": "UTC",
        "tier": "hour",
        "at": [1767225600000, 1767268800000],
        "series": [
            {
                "sensor_id": "b/1",
                "measurement": "temperature",
                "average": [None, -5.5],
                "minimum": [None, -5.5],
                "maximum": [None, -5.5],
                "count": [0, 1],
            },
            {
                "sensor_id": "a",
                "measurement": "co2",
                "average": [400.0, None],
                "minimum": [400.0, None],
                "maximum": [400.0, None],
                "count": [1, 0],
            },
            {
                "sensor_id": "a",
                "measurement": "temperature",
                "average": [21.0, None],
                "minimum": [20.0, None],
                "maximum": [22.0, None],
                "count": [2, 0],
            },
        ],
    }


async def test_the_server_picks_a_round_bucket(app: Running) -> None:
    await post(app, READINGS)
    answer = await told(app, f"sensor_id=a&measurement=temperature&{DAY}&points=100")
    assert (answer["bucket"], answer["tier"], len(answer["at"])) == ("15m", "minute", 96)
    assert answer["series"][0]["count"][:2] == [2, 0]
    assert (await told(app, f"sensor_id=a&{DAY}"))["bucket"] == "5m"
    recent = await told(app, "sensor_id=a&start=-1h")
    assert (recent["bucket"], recent["tier"]) == ("10s", "raw")
    assert (await told(app, "sensor_id=a"))["bucket"] == "5m"


async def test_days_are_those_of_the_zone(serve: Serve) -> None:
    async with serve(timezone="America/Sao_Paulo") as app:
        await post(app, READINGS)
        answer = await told(app, f"sensor_id=a&measurement=co2&{DAY}&bucket=1d")
        assert (answer["timezone"], answer["start"]) == (
            "America/Sao_Paulo",
            "2025-12-31T03:00:00Z",
        )
        assert answer["series"][0]["count"] == [1, 0]


async def test_a_range_that_is_over_is_sent_again_only_if_it_changed(app: Running) -> None:
    await post(app, READINGS)
    query = f"sensor_id=a&{DAY}&bucket=1h"
    first = await ask(app, query)
    assert first.headers["cache-control"] == "private, no-cache"
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await ask(app, query, **{"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    # One that comes late.
    await post(app, [READINGS[0] | {"recorded_at": "2026-01-01T05:00:00Z"}])
    changed = await ask(app, query, **{"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag
    open_range = await ask(app, "sensor_id=a&start=-1h")
    assert open_range.headers["cache-control"] == "no-store"
    assert "etag" not in open_range.headers


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("", 400, "bad_request"),
        ("sensor_id=", 422, "bad_sensor_id"),
        ("sensor_id=a&bucket=5", 422, "bad_bucket"),
        ("sensor_id=a&bucket=5m&points=100", 422, "bad_bucket"),
        ("sensor_id=a&points=9", 400, "bad_request"),
        ("sensor_id=a&points=5001", 400, "bad_request"),
        ("sensor_id=a&start=-1y&bucket=1s", 422, "too_many_points"),
        ("&".join(f"sensor_id={n}" for n in range(100)) + "&points=1000", 422, "too_many_points"),
        ("&".join(f"sensor_id={n}" for n in range(101)), 400, "bad_request"),
        ("sensor_id=a&start=soon", 422, "bad_range"),
        ("sensor_id=a&start=now&end=-1h", 422, "bad_range"),
        ("sensor_id=a&measurement=", 422, "bad_measurement_name"),
        ("sensor_id=a&measurement=%00", 422, "bad_measurement_name"),
    ],
)
async def test_what_cannot_be_answered_is_refused_by_name(
    app: Running, query: str, status: int, reason: str
) -> None:
    response = await ask(app, query)
    assert response.status_code == status, response.text
    assert response.json()["reason"] == reason


async def test_only_readers_are_told(app: Running) -> None:
    assert (await app.http.get("/api/series?sensor_id=a")).status_code == 401
    headers = {"X-API-Key": INGEST_KEY}
    assert (await app.http.get("/api/series?sensor_id=a", headers=headers)).status_code == 403


async def test_a_database_that_is_away_is_told(
    app: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise StorageUnavailable("away")

    monkeypatch.setattr(SqliteStorage, "complete_from", away)
    response = await ask(app, "sensor_id=a")
    assert (response.status_code, response.json()["reason"]) == (503, "storage_unavailable")
    assert response.headers["retry-after"] == "5"
