"""`sensorflow db rebuild-rollups`: what was changed by hand is found, told and made right."""

import json
from pathlib import Path

import pytest

from tests.load import loaded, wait_until
from tests.servers import INGEST_KEY, Server, http, serving
from tests.system.conftest import Kept

ALL = "SELECT sensor, measurement, bucket, count, minimum, maximum FROM rollups_{} ORDER BY 1, 2, 3"
TIERS = ("minute", "hour", "day")


def send(server: Server) -> None:
    readings = [
        {"sensor_id": "a", "temperature": n, "recorded_at": f"2026-01-31T{n:02}:30:00Z"}
        for n in range(12)
    ]
    body = json.dumps(readings).encode()
    headers = {"X-API-Key": INGEST_KEY, "Content-Length": str(len(body))}
    assert http(server.port, "POST /api/readings", body, headers).startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize("kept", ["sqlite", "postgresql-15"], indirect=True)
def test_what_was_changed_by_hand_is_made_right(tmp_path: Path, kept: Kept) -> None:
    execute = kept.execute

    def rollups() -> list[list[object]]:
        return [list(map(tuple, execute(ALL.format(tier)))) for tier in TIERS]

    with serving(tmp_path, DATABASE_URL=kept.url) as server:
        send(server)
        wait_until(lambda: [len(rows) for rows in rollups()] == [12, 12, 1])
        right = rollups()
        if not kept.url:
            refused = server.run("db", "rebuild-rollups")
            assert refused.returncode != 0
            assert "is using DATA_DIR" in refused.stderr
            assert server.terminate() == 0
        execute("DELETE FROM rollups_hour WHERE count = 1 AND minimum < 3")
        execute("UPDATE rollups_day SET maximum = 99")
        done = server.run("db", "rebuild-rollups")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == (
            "25 rollups: 3 were missing, 0 too many, 1 different. All are right now."
        )
        assert "sensor 1, 2026-01-31: 3 missing, 0 too many, 1 different" in done.stdout
        assert rollups() == right
        again = server.run("db", "rebuild-rollups")
        assert again.stdout == "25 rollups: all are right.\n"


@pytest.mark.parametrize("kept", ["postgresql-15"], indirect=True)
def test_with_postgresql_readings_come_meanwhile(tmp_path: Path, kept: Kept) -> None:
    with serving(tmp_path, DATABASE_URL=kept.url) as server, loaded(server):
        for _ in range(3):
            done = server.run("db", "rebuild-rollups")
            assert done.returncode == 0, done.stderr
            assert done.stdout.endswith(" rollups: all are right.\n")
