"""What real devices send, byte for byte."""

import socket

from tests.servers import INGEST_KEY, Server, read_all

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
    """As the original's firmware does; returns all that it would read."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as device:
        device.sendall(PICO_REQUEST)
        return read_all(device)
