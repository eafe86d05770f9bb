"""`POST /api/temperature_reading` over HTTP: receipts and refusals, and what each leaves behind."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator

import pytest
import structlog

from sensorflow.errors import StorageUnavailable
from sensorflow.ingest.writer import Writer
from sensorflow.storage.sqlite import SqliteStorage
from tests.integration.conftest import GOOD, Running, Serve
from tests.servers import ADMIN_KEY, INGEST_KEY, READ_KEY


async def test_a_receipt_tells_what_was_stored(app: Running) -> None:
    response = await app.post({**GOOD, "co2": 417, "firmware": "v1.2"})
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    receipt = response.json()
    assert set(receipt) == {
        *(*GOOD, "id", "co2", "recorded_at", "received_at"),
        *("date_recorded", "time_recorded", "client_ip", "status"),
    }
    assert receipt["id"] == 1
    assert receipt["co2"] == 417
    assert receipt["recorded_at"] == receipt["received_at"]
    assert receipt["client_ip"] == "127.0.0.1"
    assert receipt["status"] == "stored"


async def test_a_retry_with_the_devices_time_is_a_duplicate(app: Running) -> None:
    timed = {**GOOD, "recorded_at": "2026-01-31T12:00:00.5Z"}
    first, second = await app.post(timed), await app.post(timed)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == {**first.json(), "status": "duplicate"}


async def test_a_retry_without_it_is_a_new_reading(app: Running) -> None:
    first, second = await app.post(), await app.post()
    assert (first.json()["id"], second.json()["id"]) == (1, 2)


async def test_another_value_for_the_same_moment_is_a_conflict(app: Running) -> None:
    timed = {**GOOD, "recorded_at": "2026-01-31T12:00:00Z"}
    await app.post(timed)
    response = await app.post({**timed, "temperature": 26})
    assert response.status_code == 409
    assert "temperature" in response.json()["detail"]
    assert "25.5" in response.json()["detail"]


async def test_dates_are_in_the_timezone(serve: Serve) -> None:
    async with serve(timezone="America/Sao_Paulo") as app:
        receipt = (await app.post({**GOOD, "recorded_at": "2026-01-31T01:00:00Z"})).json()
        assert (receipt["date_recorded"], receipt["time_recorded"]) == ("2026-01-30", "22:00:00")


REFUSED = [
    (b"", 400, "not_json"),
    (b"not json", 400, "not_json"),
    (b'{"temperature": NaN}', 400, "not_json"),
    (b'{"temperature": Infinity}', 400, "not_json"),
    (b"[" * 60_000, 400, "not_json"),
    (b'{"sensor_id": "\xc3\x28"}', 400, "not_json"),
    (b"[]", 422, "wrong_shape"),
    (b"null", 422, "wrong_shape"),
    (b"{}", 422, "missing_field"),
    (json.dumps({**GOOD, "temperature": "NaN"}).encode(), 422, "not_a_number"),
    (json.dumps({**GOOD, "humidity": "inf"}).encode(), 422, "not_a_number"),
    (json.dumps({**GOOD, "pressure": True}).encode(), 422, "not_a_number"),
    (json.dumps({**GOOD, "pressure": None}).encode(), 422, "not_a_number"),
    (b'{"temperature": 1e400}', 422, "out_of_range"),
    (json.dumps({**GOOD, "temperature": "1e400"}).encode(), 422, "out_of_range"),
    (json.dumps({**GOOD, "sensor_id": ""}).encode(), 422, "bad_sensor_id"),
    (json.dumps({**GOOD, "sensor_id": "x" * 129}).encode(), 422, "bad_sensor_id"),
    (json.dumps({**GOOD, "sensor_id": "a\u0000b"}).encode(), 422, "bad_sensor_id"),
    (json.dumps({**GOOD, "recorded_at": "2026-01-31T12:00:00"}).encode(), 422, "bad_recorded_at"),
    (json.dumps({**GOOD, "recorded_at": "1970-01-01T00:00:00Z"}).encode(), 422, "clock_not_set"),
    (json.dumps({**GOOD, "recorded_at": "2999-01-01T00:00:00Z"}).encode(), 422, "clock_ahead"),
    (b" " * 65_537, 413, "body_too_large"),
]


async def test_each_bad_body_gets_its_name_and_the_next_good_one_works(app: Running) -> None:
    for body, status, reason in REFUSED:
        before = app.refusals(reason)
        response = await app.post(body)
        problem = response.json()
        assert (response.status_code, problem["reason"]) == (status, reason), body[:60]
        assert response.headers["content-type"] == "application/problem+json"
        assert problem["status"] == status
        assert problem["detail"].endswith(".")
        assert app.refusals(reason) == before + 1
    assert (await app.post()).json()["id"] == 1


async def test_an_oversize_body_without_a_length_is_refused(app: Running) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 10_000

    response = await app.http.post(
        "/api/temperature_reading",
        content=endless(),
        headers={"X-API-Key": INGEST_KEY, "Content-Type": "application/json"},
    )
    assert (response.status_code, response.json()["reason"]) == (413, "body_too_large")
    assert (await app.post()).status_code == 201


async def test_a_chunked_body_is_taken(app: Running) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for byte in json.dumps(GOOD).encode():
            yield bytes([byte])

    response = await app.http.post(
        "/api/temperature_reading",
        content=pieces(),
        headers={"X-API-Key": INGEST_KEY, "Content-Type": "application/json"},
    )
    assert response.status_code == 201


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
        ("Application/JSON", 201),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonish", 415),
    ],
)
async def test_content_types(app: Running, content_type: str, status: int) -> None:
    response = await app.post(headers={"Content-Type": content_type})
    assert response.status_code == status


async def test_a_compressed_body_is_refused_by_name(app: Running) -> None:
    response = await app.post(headers={"Content-Encoding": "gzip"})
    assert (response.status_code, response.json()["reason"]) == (415, "wrong_content_encoding")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_told_to_post(app: Running, method: str) -> None:
    response = await app.http.request(method, "/api/temperature_reading")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("headers", "query", "status", "reason"),
    [
        ({"X-API-Key": INGEST_KEY}, "", 201, None),
        ({"Authorization": f"Bearer {INGEST_KEY}"}, "", 201, None),
        ({"Authorization": f"bearer {INGEST_KEY}"}, "", 201, None),
        ({}, f"?api-key={INGEST_KEY}", 201, None),
        ({}, "", 401, "key_missing"),
        ({"X-API-Key": ""}, "", 401, "key_missing"),
        ({"Authorization": f"Basic {INGEST_KEY}"}, "", 401, "key_missing"),
        ({"X-API-Key": "wrong"}, "", 401, "key_unknown"),
        ({"X-API-Key": INGEST_KEY[:-1]}, "", 401, "key_unknown"),
        ({}, "?api-key=wrong", 401, "key_unknown"),
        ({"X-API-Key": READ_KEY}, "", 403, "key_not_allowed"),
        ({"X-API-Key": ADMIN_KEY}, "", 403, "key_not_allowed"),
    ],
)
async def test_keys(
    app: Running, headers: dict[str, str], query: str, status: int, reason: str | None
) -> None:
    response = await app.http.post(
        f"/api/temperature_reading{query}", content=json.dumps(GOOD).encode(), headers=headers
    )
    assert response.status_code == status
    assert response.json().get("reason") == reason
    if status == 401:
        assert response.headers["www-authenticate"].startswith("Bearer")


async def test_guessing_keys_is_slowed_without_harming_a_proven_device(app: Running) -> None:
    assert (await app.post()).status_code == 201
    statuses = [
        (await app.post(headers={"X-API-Key": f"guess-{n}"})).status_code for n in range(25)
    ]
    assert statuses == [401] * 20 + [429] * 5
    refused = await app.post(headers={"X-API-Key": "one more guess"})
    assert int(refused.headers["retry-after"]) >= 1
    assert (await app.post()).status_code == 201


async def test_a_key_is_never_taken_on_trust_after_too_many_guesses(app: Running) -> None:
    for n in range(20):
        await app.post(headers={"X-API-Key": f"guess-{n}"})
    assert (await app.post()).status_code == 429


async def test_many_at_once_are_all_stored_once(app: Running) -> None:
    responses = await asyncio.gather(
        *(app.post({**GOOD, "sensor_id": f"s{n}"}) for n in range(100))
    )
    assert {response.status_code for response in responses} == {201}
    assert sorted(response.json()["id"] for response in responses) == list(range(1, 101))


async def test_pipelined_requests_are_answered_in_order(app: Running) -> None:
    bodies = [json.dumps({**GOOD, "sensor_id": f"s{n}"}).encode() for n in range(3)]
    bodies.insert(1, b"not json")
    requests = [
        b"POST /api/temperature_reading HTTP/1.1\r\nHost: x\r\nX-API-Key: %b\r\n"
        b"Content-Length: %d\r\n%b\r\n%b"
        % (
            INGEST_KEY.encode(),
            len(body),
            b"Connection: close\r\n" if body is bodies[-1] else b"",
            body,
        )
        for body in bodies
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    writer.write(b"".join(requests))
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    statuses = [part.split(b" ")[0] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"201", b"400", b"201", b"201"]
    assert [answer.index(b'"s%d"' % n) for n in range(3)] == sorted(
        answer.index(b'"s%d"' % n) for n in range(3)
    )


async def raw(app: Running, *pieces: bytes) -> bytes:
    """What comes back until the server closes; the pieces are sent one after another."""
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


HEAD = b"POST /api/temperature_reading HTTP/%b\r\nHost: x\r\nX-API-Key: " + INGEST_KEY.encode()
BODY = json.dumps(GOOD).encode()
LENGTH = b"\r\nContent-Length: %d" % len(BODY)
HANDSHAKE = (
    b"GET /ws/sensor_updates?api-key=%b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
) % READ_KEY.encode()


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (LENGTH, BODY),
        (LENGTH + b"\r\nExpect: 100-continue", BODY),
        (b"\r\nTransfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    ],
    ids=["plain", "expecting", "chunked"],
)
async def test_however_a_request_comes_it_is_answered_alike(
    app: Running, version: bytes, fields: bytes, body: bytes
) -> None:
    connection = b"\r\nConnection: " + (b"keep-alive" if version == b"1.0" else b"close")
    request = HEAD % version + connection + fields + b"\r\n\r\n" + body
    whole = await raw(app, request)
    byte_by_byte = await raw(app, *(request[n : n + 1] for n in range(len(request))))
    for number, answer in enumerate((whole, byte_by_byte), 1):
        head, _, told = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201 ")
        assert b"\r\nconnection: close" in head.lower()
        assert json.loads(told)["id"] == number


async def test_requests_follow_each_other_on_one_connection(app: Running) -> None:
    last = HEAD % b"1.1" + b"\r\nConnection: close" + LENGTH + b"\r\n\r\n" + BODY
    wrong_key = last.replace(INGEST_KEY.encode(), b"wrong").replace(b"Connection: close\r\n", b"")
    other = last.replace(b"temperature_reading", b"readings").replace(b"Connection: close\r\n", b"")
    good = last.replace(b"Connection: close\r\n", b"")
    answer = await raw(app, good, wrong_key, good, other, b"\r\n", last)
    statuses = [part.split(b" ")[0] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"201", b"401", b"201", b"201", b"201"]


async def test_a_handshake_behind_a_reading_does_not_store_it_twice(app: Running) -> None:
    if app.stock:
        pytest.skip("uvicorn's own protocol upgrades in the midst of the response")
    good = HEAD % b"1.1" + LENGTH + b"\r\n\r\n" + BODY
    answer = await raw(app, good + HANDSHAKE)
    statuses = [part.split(b" ")[0] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"201", b"426"]
    assert (await app.post()).json()["id"] == 2


async def test_a_screen_on_a_devices_connection_does_not_store_its_reading_again(
    app: Running,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    writer.write(HEAD % b"1.1" + LENGTH + b"\r\n\r\n" + BODY)
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = re.findall(rb"content-length: (\d+)", head)
        assert json.loads(await reader.readexactly(int(length)))["id"] == 1
        writer.write(HANDSHAKE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    assert (await app.post()).json()["id"] == 2
    writer.close()
    await writer.wait_closed()


async def test_a_fault_that_nobody_foresaw_is_answered_and_logged(
    app: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("unforeseen")

    with monkeypatch.context() as broken, structlog.testing.capture_logs() as logged:
        broken.setattr(Writer, "submit", fail)
        response = await app.post()
    assert response.status_code == 500
    if not app.stock:
        assert response.json()["reason"] == "internal_error"
        assert app.refusals("internal_error") == 1
        assert [str(line["exc_info"]) for line in logged] == ["unforeseen"]
    else:
        assert "unforeseen" in caplog.text
    assert (await app.post()).status_code == 201


async def test_what_a_client_left_behind_is_stored(app: Running) -> None:
    request = HEAD % b"1.1" + LENGTH + b"\r\n\r\n" + BODY
    async with app.watch() as screen:
        _, writer = await asyncio.open_connection("127.0.0.1", app.port)
        writer.write(request)
        await writer.drain()
        writer.transport.abort()
        async with asyncio.timeout(10):
            assert json.loads(await screen.recv())["sensor_id"] == GOOD["sensor_id"]
    assert (await app.post()).json()["id"] == 2


async def test_a_storage_that_is_away_is_told_with_retry_after(
    app: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StorageUnavailable("the disk is full")

    with monkeypatch.context() as away:
        away.setattr(SqliteStorage, "append", fail)

        response = await app.post()
        assert (response.status_code, response.json()["reason"]) == (503, "storage_unavailable")
        assert int(response.headers["retry-after"]) >= 1
        assert (await app.http.get("/healthz")).status_code == 200
    assert (await app.post()).status_code == 201


async def test_readyz_tells_that_readings_cannot_be_stored(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StorageUnavailable("the disk is full")

    monkeypatch.setattr(SqliteStorage, "ping", fail)
    async with serve() as app:
        ready = await app.http.get("/readyz")
        assert ready.status_code == 503
        assert "disk" not in ready.text
