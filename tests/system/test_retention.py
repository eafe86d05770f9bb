"""RETENTION_… on the real program: each tier goes by its own age, and what is coarser is left."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.load import wait_until
from tests.servers import INGEST_KEY, READ_KEY, Server, http, serving
from tests.system.conftest import Kept

LIMITS = {"RETENTION_RAW": "1h", "RETENTION_MINUTE": "2h", "RETENTION_HOUR": "3h"}
OLD = datetime(2026, 1, 31, 12, tzinfo=UTC)
MIDNIGHT = "2026-01-31T00:00:00Z"
NEXT_MIDNIGHT = "2026-02-01T00:00:00Z"


def get(server: Server, path: str) -> Any:
    answer = http(server.port, f"GET {path}", headers={"X-API-Key": READ_KEY})
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), answer
    return json.loads(body)


def send(server: Server, times: list[datetime]) -> None:
    readings = [
        {"sensor_id": "a", "temperature": n, "recorded_at": time.isoformat()}
        for n, time in enumerate(times)
    ]
    body = json.dumps(readings).encode()
    headers = {"X-API-Key": INGEST_KEY, "Content-Length": str(len(body))}
    assert http(server.port, "POST /api/readings", body, headers).startswith(b"HTTP/1.1 201 ")


def counts(server: Server, bucket: str) -> list[int]:
    """Of the old day, bucket by bucket."""
    told = get(
        server,
        f"/api/series?sensor_id=a&measurement=temperature&bucket={bucket}"
        f"&start={MIDNIGHT}&end={NEXT_MIDNIGHT}",
    )
    (series,) = told["series"]
    found: list[int] = series["count"]
    return found


@pytest.mark.parametrize("kept", ["sqlite", "postgresql-15"], indirect=True)
def test_each_tier_goes_by_its_own_age(tmp_path: Path, kept: Kept) -> None:
    variables = {"DATABASE_URL": kept.url}

    def rows() -> list[int]:
        tables = ("readings", "rollups_minute", "rollups_hour", "rollups_day")
        return [int(kept.execute(f"SELECT count(*) FROM {table}")[0][0]) for table in tables]

    with serving(tmp_path, **variables) as server:
        send(server, [OLD + timedelta(minutes=10 * n) for n in range(20)])
        wait_until(lambda: rows() == [20, 20, 4, 1])
        assert counts(server, "1d") == [20]
        assert [count for count in counts(server, "1h") if count] == [6, 6, 6, 2]
        server.terminate()
    if kept.url:
        # A partition is left when its first reading was received long enough ago.
        kept.execute("UPDATE readings SET received_at = received_at - interval '1 day'")
    with serving(tmp_path, **variables, **LIMITS) as server:
        wait_until(lambda: len(get(server, "/api/storage")["drops"]) >= 2)
        send(server, [datetime.now(UTC)])
        wait_until(lambda: rows()[1:] == [1, 1, 2])
        server.terminate()
    # A look is taken at each start.
    with serving(tmp_path, **variables, **LIMITS) as server:
        wait_until(lambda: rows() == [1, 1, 1, 2])
        told = get(server, "/api/storage")
        assert [tier["retention"] for tier in told["tiers"]] == ["1h", "2h", "3h", "forever"]
        assert {(drop["tier"], drop["why"]) for drop in told["drops"]} == {
            (tier, "age") for tier in ("raw", "minute", "hour")
        }
        assert sum(drop["rows"] for drop in told["drops"] if drop["tier"] == "raw") == 20
        assert counts(server, "1d") == [20]
        # Hours are gone: the day is told as one.
        assert counts(server, "1h") == [20]
        assert get(server, "/api/readings?sensor_id=a")["readings"][0]["temperature"] == 0
        (sensor,) = get(server, "/api/sensors")["sensors"]
        assert sensor["counts"]["stored"] == 21
