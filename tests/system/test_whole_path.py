"""Real readings through the whole path: receipts, rows, frames and the page agree."""

import asyncio
import gzip
import itertools
import json
import subprocess
from pathlib import Path

import pytest
import websockets

from tests.helpers import eventually
from tests.servers import INGEST_KEY, PROGRAM, READ_KEY, Server, serving

WEATHER = Path(__file__).parent.parent / "data" / "nyc-weather-2013.csv.gz"


async def watch(server: Server, frames: list[dict[str, object]], ready: asyncio.Event) -> None:
    url = f"ws://127.0.0.1:{server.port}/ws/sensor_updates?api-key={READ_KEY}"
    async with websockets.connect(url, max_queue=None) as subscriber:
        ready.set()
        async for frame in subscriber:
            frames.append(json.loads(frame))  # noqa: PERF401 - others look at the list meanwhile


def replay(server: Server, file: Path) -> str:
    result = subprocess.run(
        [PROGRAM, "replay", file, "--url", server.base, "--api-key", INGEST_KEY],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


async def replay_twice(folder: Path, file: Path, count: int) -> None:
    with serving(folder) as server:
        frames: list[dict[str, object]] = []
        ready = asyncio.Event()
        watching = asyncio.create_task(watch(server, frames, ready))
        async with asyncio.timeout(300):
            await ready.wait()
            await asyncio.to_thread(replay, server, file)
            await eventually(lambda: len(frames) == count, seconds=60)
        assert [frame["id"] for frame in frames] == list(range(1, count + 1))
        assert server.rows() == [(count,)]
        await asyncio.to_thread(replay, server, file)
        assert server.rows() == [(count,)]
        assert len(frames) == count
        watching.cancel()
        with gzip.open(file, "rt") as rows:
            sent = sorted(
                (row[1], row[0], *map(float, row[2:]))
                for row in (line.strip().split(",") for line in itertools.islice(rows, 1, None))
            )
        kept = sorted(
            tuple(row)
            for row in server.rows(
                "SELECT s.sensor_id, strftime('%Y-%m-%dT%H:%M:%SZ', recorded_at / 1000000,"
                " 'unixepoch'), temperature, humidity, pressure"
                " FROM readings r JOIN sensors s ON s.id = r.sensor"
            )
        )
        assert kept == sent


async def test_a_part_of_the_year_arrives_once_everywhere(tmp_path: Path) -> None:
    part = tmp_path / "part.csv.gz"
    with gzip.open(WEATHER, "rt") as whole, gzip.open(part, "wt") as file:
        file.writelines(itertools.islice(whole, 1501))
    await replay_twice(tmp_path, part, 1500)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_whole_year_arrives_once_everywhere(tmp_path: Path) -> None:
    await replay_twice(tmp_path, WEATHER, 23_386)
    print("\nreplay of 23,386 readings: as many 201, rows and frames; again: no new row")
