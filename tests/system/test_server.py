"""The real program: from the device's exact bytes to disk and screens; its start and its end."""

import asyncio
import json
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets

from tests.devices import PICO_BODY, send_pico
from tests.helpers import promised
from tests.ports import free_port
from tests.requirements import require
from tests.servers import ADMIN_KEY, INGEST_KEY, PROGRAM, READ_KEY, Server, http, read_all, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for the tests that leave it as it is."""
    with serving(tmp_path_factory.mktemp("steady")) as server:
        yield server


def post(server: Server, body: object) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"X-API-Key": INGEST_KEY, "Content-Length": str(len(data))}
    return http(server.port, "POST /api/temperature_reading", data, headers)


def reading(n: int) -> dict[str, object]:
    return {"temperature": n, "humidity": 50, "pressure": 1000, "sensor_id": "s"}


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
        (b"GARBAGE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000, b"431"),
        (b"POST /api/temperature_reading HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", b"400"),
    ],
)
def test_garbage_on_the_wire_harms_nobody(
    steady: Server, request_bytes: bytes, status: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", steady.port), timeout=60) as connection:
        connection.sendall(request_bytes)
        assert read_all(connection).split(b" ")[1] == status
    assert send_pico(steady).startswith(b"HTTP/1.1 201 ")


def test_a_request_that_never_ends_is_answered_and_closed(steady: Server) -> None:
    started = time.monotonic()
    head = f"POST /api/temperature_reading HTTP/1.1\r\nHost: x\r\nX-API-Key: {INGEST_KEY}\r\n"
    answers = []
    connections = [
        socket.create_connection(("127.0.0.1", steady.port), timeout=60) for _ in range(3)
    ]
    connections[0].sendall(head.encode() + b'Content-Length: 100\r\n\r\n{"temp')
    connections[1].sendall(head.encode())
    for connection in connections:
        answers.append(read_all(connection).split(b"\r\n")[0])
        connection.close()
    assert answers == [b"HTTP/1.1 408 Request Timeout"] * 2 + [b""]
    assert 15 < time.monotonic() - started < promised(40)
    assert send_pico(steady).startswith(b"HTTP/1.1 201 ")


def test_sigterm_under_load_answers_every_request_that_was_read(server: Server) -> None:
    acknowledged: list[int] = []
    unanswered: list[int] = []
    stop = threading.Event()

    def device(number: int) -> None:
        n = number
        while not stop.is_set():
            n += 8
            try:
                response = post(server, reading(n))
            except OSError:
                return  # the listener is gone, or the connection was never accepted
            if response.startswith(b"HTTP/1.1 201 "):
                acknowledged.append(n)
            elif response == b"":
                unanswered.append(n)
                return

    devices = [threading.Thread(target=device, args=(number,)) for number in range(8)]
    for thread in devices:
        thread.start()
    while len(acknowledged) < 200:
        time.sleep(0.01)
    assert server.terminate() == 0
    stop.set()
    for thread in devices:
        thread.join(60)
    stored = [row[0] for row in server.rows("SELECT temperature FROM readings")]
    assert len(stored) == len(set(stored))
    # What was stored was read; every request that was read got its receipt.
    assert set(stored) == {float(n) for n in acknowledged}
    assert len(unanswered) <= len(devices)


def test_ctrl_c_stops_with_exit_code_0_and_closes_subscribers_with_1012(server: Server) -> None:
    async def watch() -> int | None:
        url = f"ws://127.0.0.1:{server.port}/ws/sensor_updates?api-key={READ_KEY}"
        async with asyncio.timeout(60), websockets.connect(url) as subscriber:
            server.process.send_signal(2)
            await subscriber.wait_closed()
            return subscriber.close_code

    assert asyncio.run(watch()) == 1012
    assert server.process.wait(60) == 0


def test_a_subscriber_that_takes_nothing_does_not_hold_up_the_end(server: Server) -> None:
    stuck = socket.create_connection(("127.0.0.1", server.port))
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.sendall(
        f"GET /ws/sensor_updates?api-key={READ_KEY} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert stuck.recv(12) == b"HTTP/1.1 101"
    wide = {**reading(1), **{f"measurement-{n}": n for n in range(60)}}
    for _ in range(1500):
        assert post(server, wide).startswith(b"HTTP/1.1 201 ")
    started = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - started < promised(15)
    stuck.close()


def test_a_second_server_on_the_same_data_is_refused_in_one_line(steady: Server) -> None:
    environment = {**steady.environment(), "PORT": str(free_port())}
    second = subprocess.run(
        [PROGRAM, "serve"], cwd=steady.folder, env=environment, capture_output=True, timeout=60
    )
    assert second.returncode == 2
    assert second.stderr.count(b"\n") == 1
    assert b"DATA_DIR" in second.stderr
    assert send_pico(steady).startswith(b"HTTP/1.1 201 ")


def test_a_port_in_use_is_refused_in_one_line(steady: Server, tmp_path: Path) -> None:
    environment = {**steady.environment(), "DATA_DIR": str(tmp_path / "other")}
    second = subprocess.run(
        [PROGRAM, "serve"], cwd=steady.folder, env=environment, capture_output=True, timeout=60
    )
    assert second.returncode == 2
    assert second.stderr.count(b"\n") == 1
    assert b"PORT" in second.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "abc"),
        ("MAX_WS_CONNECTIONS_PER_KEY", "-1"),
        ("DATABASE_URL", "oracle://db"),
        ("TIMEZONE", "Mars/Olympus"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line(
    tmp_path: Path, variable: str, value: str
) -> None:
    server = Server(tmp_path)
    result = subprocess.run(
        [PROGRAM, "serve"],
        cwd=tmp_path,
        env={**server.environment(), variable: value},
        capture_output=True,
        timeout=60,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"sensorflow: {variable}: ".encode())
    assert result.stderr.count(b"\n") == 1


def test_keys_are_shown_once_and_the_printed_curl_works_when_pasted(tmp_path: Path) -> None:
    with serving(tmp_path, API_KEY="", API_KEY_WS="", ADMIN_KEY="") as server:
        greeting = server.output.read_text()
        curl = re.search(r"(curl http\S+ .*)", greeting)
        assert curl is not None
        sent = subprocess.run(
            ["bash", "-c", curl[1]], capture_output=True, timeout=60, check=True
        ).stdout
        assert json.loads(sent)["status"] == "stored"
        assert re.search(rf"{server.base}/#key=sf_\S+", greeting)
        keys = re.findall(r"sf_[\w-]{20,}", greeting)
        assert len(set(keys)) == 3
        assert "keys" not in server.log.read_text()

        server.kill()
        server.output.write_text("")
        server.start()
        assert "sf_" not in server.output.read_text()
        # The keys shown once are still in force.
        again = subprocess.run(
            shlex.split(curl[1]), capture_output=True, timeout=60, check=True
        ).stdout
        assert json.loads(again)["id"] == 2


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_key_reaches_any_log(tmp_path: Path, log_format: str) -> None:
    with serving(tmp_path, LOG_LEVEL="debug", LOG_FORMAT=log_format) as server:
        # A fault nobody foresaw is logged with its trace: the table is gone from under the server.
        connection = sqlite3.connect(server.data_dir / "sensorflow.db", timeout=60)
        connection.execute("DROP TABLE readings")
        connection.commit()
        connection.close()
        assert post(server, reading(1)).startswith(b"HTTP/1.1 503 ")
        for key in (INGEST_KEY, "wrong-key-in-the-address"):
            http(server.port, f"POST /api/temperature_reading?api-key={key}")
            http(server.port, f"GET /nowhere?api-key={key}")
            http(server.port, "GET /metrics", headers={"Authorization": f"Bearer {key}"})

        async def watch() -> None:
            for key in (READ_KEY, "wrong-key-in-the-address"):
                url = f"ws://127.0.0.1:{server.port}/ws/sensor_updates?api-key={key}"
                async with websockets.connect(url):
                    pass

        asyncio.run(watch())
        server.terminate()
        said = server.log.read_text() + server.output.read_text()
        for key in (INGEST_KEY, READ_KEY, ADMIN_KEY, "wrong-key-in-the-address"):
            assert key not in said


def test_nothing_is_logged_per_reading(steady: Server) -> None:
    post(steady, reading(0))
    before = steady.log.read_text()
    for n in range(20):
        post(steady, reading(n))
        post(steady, b"not json")
    assert steady.log.read_text() == before


def test_db_upgrade_by_hand_does_what_serve_does(tmp_path: Path) -> None:
    server = Server(tmp_path)
    result = subprocess.run(
        [PROGRAM, "db", "upgrade"],
        cwd=tmp_path,
        env=server.environment(),
        capture_output=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    by_hand = server.rows("SELECT name, sql FROM sqlite_master ORDER BY name")
    other = tmp_path / "other"
    with serving(other) as started:
        assert started.rows("SELECT name, sql FROM sqlite_master ORDER BY name") == by_hand


def test_a_data_dir_that_cannot_be_used_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server = Server(tmp_path)
    result = subprocess.run(
        [PROGRAM, "serve"],
        cwd=tmp_path,
        env={**server.environment(), "DATA_DIR": str(tmp_path / "file" / "data")},
        capture_output=True,
        timeout=60,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(b"sensorflow: DATA_DIR: ")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("damage", ["not a database", "a newer schema"])
def test_a_database_that_cannot_be_used_stops_the_start_with_one_line(
    tmp_path: Path, damage: str
) -> None:
    server = Server(tmp_path)
    if damage == "not a database":
        server.data_dir.mkdir()
        (server.data_dir / "sensorflow.db").write_bytes(b"something else " * 100)
    else:
        with server:
            server.terminate()
        connection = sqlite3.connect(server.data_dir / "sensorflow.db")
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        connection.close()
        server.log.unlink()
    server.launch()
    assert server.process.wait(60) != 0
    lines = server.log.read_text().splitlines()
    assert len(lines) == 1, lines
    assert "the database cannot be used" in lines[0]


def test_what_anybody_may_send_fills_no_log(steady: Server) -> None:
    before = steady.log.read_text()
    http(steady.port, "GARBAGE")
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    assert http(steady.port, "GET /ws/nowhere", headers=upgrade).startswith(b"HTTP/1.1 404 ")
    assert steady.log.read_text() == before


def stalled(server: Server, start: bytes) -> socket.socket:
    """A connection that has sent `start` and will say no more; the server has read it."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(start)
    # Answered after it, on the same loop: by then the bytes above have been read.
    http(server.port, "GET /healthz")
    return connection


HEAD = f"POST /api/temperature_reading HTTP/1.1\r\nHost: x\r\nX-API-Key: {INGEST_KEY}\r\n".encode()


def test_an_unfinished_request_does_not_hold_up_the_end(server: Server) -> None:
    connection = stalled(server, HEAD + b"Content-Length: 100\r\n\r\n{")
    started = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - started < promised(5)
    answer = read_all(connection)
    connection.close()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after" in answer


def test_an_upgrade_that_is_no_handshake_is_not_kept_and_harms_no_shutdown(server: Server) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    requests = [
        HEAD + upgrade + b"Content-Length: 2\r\n\r\n{}",
        b"GET /ws/sensor_updates HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + upgrade + b"Content-Length: 2\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n",
    ]
    connections = [stalled(server, request) for request in requests]
    assert post(server, reading(1)).startswith(b"HTTP/1.1 201 ")
    assert server.terminate() == 0
    for connection in connections:
        connection.close()
    assert "Traceback" not in server.log.read_text()


def test_who_posts_a_reading_and_offers_a_websocket_has_it_stored(steady: Server) -> None:
    offer = {"Connection": "close, Upgrade", "Upgrade": "websocket", "X-API-Key": INGEST_KEY}
    body = json.dumps(reading(1)).encode()
    kind = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    answer = http(steady.port, "POST /api/temperature_reading", body, {**offer, **kind})
    assert answer.startswith(b"HTTP/1.1 201 ")


def test_who_takes_it_for_a_proxy_is_refused(steady: Server) -> None:
    before = steady.log.read_text()
    answer = http(steady.port, "CONNECT elsewhere.example:443", b"\x16\x03\x01")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"reason":"bad_request"' in answer
    assert steady.log.read_text() == before


OFFER = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
)


@pytest.mark.parametrize("step", [1, 50, 10_000])
def test_an_offer_of_http_2_is_declined_and_the_body_read(steady: Server, step: int) -> None:
    body = json.dumps(reading(1)).encode()
    post_one = HEAD + OFFER + b"Content-Type: application/json\r\n"
    sent = b"".join(
        (
            post_one + b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
            post_one
            + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
            b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + OFFER + b"\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
    )
    with socket.create_connection(("127.0.0.1", steady.port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), step):
            connection.sendall(sent[start : start + step])
        answers = read_all(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"201", b"201", b"200", b"200"]
    assert steady.log.read_text().count("upgrade") == 0


def test_curl_that_would_rather_speak_http_2_is_answered(steady: Server) -> None:
    command = [require("curl", "curl"), "--silent", "--http2", "--data", json.dumps(reading(1))]
    command += ["-H", f"X-API-Key: {INGEST_KEY}", "-H", "Content-Type: application/json"]
    command += ["-w", "%{http_code} %{http_version}", f"{steady.base}/api/temperature_reading"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert told.endswith("}201 1.1")


@pytest.mark.parametrize("field", [b"x: y\r\n", b"x: " + b"y" * 60_000 + b"\r\n", b"y" * 60_000])
def test_endless_trailers_are_cut_off(steady: Server, field: bytes) -> None:
    with socket.create_connection(("127.0.0.1", steady.port), timeout=60) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
        sent = 0
        try:
            while sent < 200_000_000:
                sent += connection.send(field * max(1, 60_000 // len(field)))
        except OSError:
            pass
    # Our bound of 11 MiB, and what the kernel's buffers took beyond it: up to 32 MiB and 4.
    assert sent < 50_000_000
    assert send_pico(steady).startswith(b"HTTP/1.1 201 ")


def test_rubbish_after_a_whole_request_does_not_take_its_receipt(steady: Server) -> None:
    body = PICO_BODY.encode()
    with socket.create_connection(("127.0.0.1", steady.port), timeout=60) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n%b\x00\x01" % (len(body), body))
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    receipt = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert steady.rows("SELECT max(id) FROM readings") == [(receipt["id"],)]


def test_malformed_requests_are_told_as_problems_and_counted(server: Server) -> None:
    answer = http(server.port, "GARBAGE")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    metrics = http(server.port, "GET /metrics", headers={"X-API-Key": READ_KEY})
    assert b'sensorflow_refusals_total{reason="bad_request"} 1.0' in metrics


def test_of_two_servers_on_one_port_one_refuses_to_start(tmp_path: Path) -> None:
    first, second = Server(tmp_path), Server(tmp_path, DATA_DIR=str(tmp_path / "other"))
    second.port = first.port
    second.log = tmp_path / "second.txt"
    try:
        first.launch()
        second.launch()
        deadline = time.monotonic() + 20
        while first.process.poll() is None and second.process.poll() is None:
            assert time.monotonic() < deadline, "both are running"
            time.sleep(0.05)
        loser = first if first.process.poll() is not None else second
        assert loser.process.returncode == 2
        assert "PORT: " in loser.log.read_text()
    finally:
        first.kill()
        second.kill()


def test_a_start_that_fails_keeps_no_key_that_nobody_has_seen(tmp_path: Path) -> None:
    server = Server(tmp_path, API_KEY="", API_KEY_WS="", ADMIN_KEY="")
    server.data_dir.mkdir()
    (server.data_dir / "sensorflow.db").write_bytes(b"something else " * 100)
    server.launch()
    assert server.process.wait(60) != 0
    (server.data_dir / "sensorflow.db").unlink()
    with server:
        assert len(set(re.findall(r"sf_[\w-]{20,}", server.output.read_text()))) == 3


def test_readyz_knows_a_database_that_cannot_be_written(server: Server) -> None:
    connection = sqlite3.connect(server.data_dir / "sensorflow.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    assert post(server, reading(1)).startswith(b"HTTP/1.1 503 ")
    assert time.monotonic() - started < promised(3)
    assert http(server.port, "GET /readyz").startswith(b"HTTP/1.1 503 ")
    connection.execute("ROLLBACK")
    connection.close()
    assert http(server.port, "GET /readyz").startswith(b"HTTP/1.1 200 ")
    assert post(server, reading(1)).startswith(b"HTTP/1.1 201 ")


def test_cookies_of_other_programs_do_not_end_the_session(steady: Server) -> None:
    signed_in = http(steady.port, "POST /api/session", headers={"X-API-Key": READ_KEY})
    token = re.search(rb"sensorflow_session=([^;]+)", signed_in)
    assert token is not None
    ours = f"sensorflow_session={token[1].decode()}"
    for other in ('prefs={"a": 1}', "a[b]=1", "flag", "t=a b", ""):
        answer = http(steady.port, "GET /api/session", headers={"Cookie": f"{other}; {ours}"})
        assert answer.startswith(b"HTTP/1.1 204 "), other


def test_a_whole_request_keeps_its_receipt_whatever_follows_it_at_the_end(server: Server) -> None:
    other = sqlite3.connect(server.data_dir / "sensorflow.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    body = PICO_BODY.encode()
    whole = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    connection = stalled(server, whole + HEAD)
    connection.sendall(b"X-Part: of a second request\r\n")
    http(server.port, "GET /healthz")
    server.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            break  # the shutdown has begun
    other.execute("ROLLBACK")
    other.close()
    answer = read_all(connection)
    connection.close()
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert server.process.wait(60) == 0
    assert server.rows() == [(1,)]
