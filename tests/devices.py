"""What devices send."""

import asyncio
import json
import socket

from tests.servers import INGEST_KEY, Server, http, read_all

PICO_BODY = (
    '{"temperature":23.45, "humidity":"56.78", "pressure":"1013.25", '
    '"sensor_id":"E6614103E7452D2F"}'
)
PICO_REQUEST = (
    "POST /api/temperature_reading HTTP/1.1\r\nHost: 192.168.1.100\r\n"
    f"x-api-key: {INGEST_KEY}\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(PICO_BODY)}\r\nConnection: close\r\n\r\n{PICO_BODY}"
).encode()


def send_pico(server: Server) -> bytes:
    """As the original's firmware does, byte for byte; returns all that it would read."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as device:
        device.sendall(PICO_REQUEST)
        return read_all(device)


async def send_many(server: Server, readings: list[dict[str, object]]) -> None:
    """Many readings in one request, and all are stored."""
    body = json.dumps(readings).encode()
    headers = {"X-API-Key": INGEST_KEY, "Content-Length": str(len(body))}
    answer = await asyncio.to_thread(http, server.port, "POST /api/readings", body, headers)
    assert answer.startswith(b"HTTP/1.1 201 "), answer
    assert f'"stored":{len(readings)}'.encode() in answer


async def send(server: Server, sensor_id: str, temperature: float, **more: object) -> None:
    """One reading, and it is stored."""
    body = json.dumps(
        {"temperature": temperature, "humidity": 50, "pressure": 1000, "sensor_id": sensor_id}
        | more
    ).encode()
    headers = {"X-API-Key": INGEST_KEY, "Content-Length": str(len(body))}
    answer = await asyncio.to_thread(
        http, server.port, "POST /api/temperature_reading", body, headers
    )
    assert answer.startswith(b"HTTP/1.1 201 "), answer
