"""The same devices and screens, whatever the readings are stored in."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
import websockets

from tests.devices import send_pico
from tests.postgres import Postgres, shared
from tests.servers import INGEST_KEY, READ_KEY, Server, http, serving
from tests.system.conftest import Backend

LONGEST = {
    "temperature": -1.2345678901234567e-308,
    "humidity": -1.2345678901234567e-308,
    "pressure": -1.2345678901234567e-308,
    "sensor_id": "x" * 64,
}


def post(server: Server, body: object) -> bytes:
    data = json.dumps(body).encode()
    headers = {"X-API-Key": INGEST_KEY, "Content-Length": str(len(data))}
    return http(server.port, "POST /api/temperature_reading", data, headers)


async def test_the_pico_w_bytes_reach_the_disk_and_a_subscriber(backend: Backend) -> None:
    url = f"ws://127.0.0.1:{backend.server.port}/ws/sensor_updates?api-key={READ_KEY}"
    async with websockets.connect(url) as subscriber, asyncio.timeout(30):
        response = await asyncio.to_thread(send_pico, backend.server)
        frame = json.loads(await subscriber.recv())
    assert response.startswith(b"HTTP/1.1 201 ")
    assert len(response) <= 1023
    receipt = json.loads(response.partition(b"\r\n\r\n")[2])
    assert receipt.pop("status") == "stored"
    assert frame == receipt
    assert backend.rows("SELECT temperature, humidity, pressure FROM readings") == [
        (23.45, 56.78, 1013.25)
    ]


def test_the_longest_receipt_fits_and_what_was_said_before_is_told_apart(
    backend: Backend,
) -> None:
    response = post(backend.server, LONGEST)
    assert response.startswith(b"HTTP/1.1 201 ")
    assert len(response) < 1023  # the original device's buffer
    said = {**LONGEST, "temperature": 1, "recorded_at": "2026-01-31T12:00:00.123456+01:00"}
    answers = [
        post(backend.server, {**said, **other})
        for other in ({}, {}, {"temperature": 2}, {"co2": 400}, {"recorded_at": None})
    ]
    statuses = [answer.split(b" ")[1] for answer in answers]
    assert statuses == [b"201", b"200", b"409", b"201", b"422"]
    assert backend.rows("SELECT count(*) FROM readings") == [(1 + 2,)]


@pytest.mark.parametrize("form", ["json", "ndjson"])
async def test_a_large_request_of_readings_that_are_alike_is_on_every_screen(
    backend: Backend, form: str
) -> None:
    sent = [
        {
            "sensor_id": f"s{n % 3}",
            "recorded_at": 1_769_860_800_000 + n * 7,
            "temperature": n / 10,
            "pressure": 1000.0 - n,
        }
        for n in range(2_300)
    ]
    lines = [json.dumps(one) for one in sent]
    body = ("\n".join(lines) if form == "ndjson" else f"[{','.join(lines)}]").encode()
    kind = "application/x-ndjson" if form == "ndjson" else "application/json"
    headers = {
        "X-API-Key": INGEST_KEY,
        "Content-Type": kind,
        "Content-Length": str(len(body)),
    }
    port = backend.server.port
    url = f"ws://127.0.0.1:{port}/ws/sensor_updates?api-key={READ_KEY}"
    async with (
        asyncio.timeout(60),
        websockets.connect(f"{url}&since=0") as everything,
        websockets.connect(f"{url}&since=0&sensor_id=s1") as filtered,
    ):
        answer = await asyncio.to_thread(http, port, "POST /api/readings", body, headers)
        frames = [json.loads(await everything.recv()) for _ in sent]
        some = [json.loads(await filtered.recv()) for _ in sent[1::3]]
    async with asyncio.timeout(60), websockets.connect(f"{url}&since=0") as late:
        assert [json.loads(await late.recv()) for _ in sent] == frames
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["stored"] == len(sent)
    for frame, one in zip(frames, sent, strict=True):
        told = datetime.fromisoformat(frame["recorded_at"]).timestamp()
        assert {**frame, "recorded_at": round(told * 1_000)} == {**frame, **one}
        assert "humidity" not in frame
    assert [frame["id"] for frame in frames] == list(range(1, len(sent) + 1))
    assert some == frames[1::3]
    again = await asyncio.to_thread(http, port, "POST /api/readings", body, headers)
    assert again.startswith(b"HTTP/1.1 200 ")
    assert json.loads(again.partition(b"\r\n\r\n")[2])["duplicate"] == len(sent)
    assert backend.rows("SELECT count(*) FROM readings") == [(len(sent),)]


async def test_while_the_database_is_away_the_pico_w_gets_its_answer_and_is_seen(
    tmp_path: Path,
) -> None:
    with Postgres("15") as postgres, serving(tmp_path, DATABASE_URL=postgres.url()) as server:
        url = f"ws://127.0.0.1:{server.port}/ws/sensor_updates?api-key={READ_KEY}"
        async with websockets.connect(url) as subscriber, asyncio.timeout(60):
            await asyncio.to_thread(postgres.stop)
            response = await asyncio.to_thread(send_pico, server)
            assert response.startswith(b"HTTP/1.1 202 ")
            assert len(response) <= 1023
            receipt = json.loads(response.partition(b"\r\n\r\n")[2])
            assert (receipt["id"], receipt["status"]) == (None, "spooled")
            assert json.loads(await subscriber.recv()) == receipt
            await asyncio.to_thread(postgres.start)
            frame = json.loads(await subscriber.recv())
            del receipt["status"]
            assert frame == {**receipt, "id": 1}


@pytest.mark.parametrize("version", ["15", "18"])
def test_several_that_start_at_once_make_the_tables_once(tmp_path: Path, version: str) -> None:
    server = shared(version)
    url = server.create_database()
    programs = [Server(tmp_path / str(n), DATABASE_URL=url) for n in range(3)]
    try:
        for program in programs:
            program.folder.mkdir()
            program.launch()
        with ThreadPoolExecutor(len(programs)) as waiting:
            list(waiting.map(Server.wait_until_ready, programs))
        answers = [post(program, LONGEST) for program in programs]
        assert [answer.split(b" ")[1] for answer in answers] == [b"201"] * len(programs)
        assert server.execute("SELECT count(*) FROM alembic_version", database=url) == [(1,)]
        assert server.execute("SELECT id FROM readings ORDER BY id", database=url) == [
            (1,),
            (2,),
            (3,),
        ]
    finally:
        for program in programs:
            program.kill()
        server.drop_database(url)
