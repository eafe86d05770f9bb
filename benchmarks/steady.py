"""Readings at a steady rate: each by itself, over connections that are kept."""

import asyncio
import json
import time
from typing import Final

from benchmarks.server import API_KEY, HOST, BenchmarkError

CONNECTIONS: Final = 64
SENSORS: Final = 10
ANSWER_TIMEOUT: Final = 10.0


async def send(port: int, rate: int, seconds: float, times: list[float] | None = None) -> int:
    """Send `rate` readings a second for so long; return how many were answered with 201.

    The milliseconds that each took are added to `times`.

    Every answer is waited for. A reading that is late is sent at once, so that the rate holds as
    long as the server keeps up. Raises `BenchmarkError` for any other answer.
    """
    if not rate:
        await asyncio.sleep(seconds)
        return 0
    total = int(rate * seconds)
    began = time.perf_counter()
    waiting = iter(range(total))

    async def work() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            for n in waiting:
                await asyncio.sleep(began + n / rate - time.perf_counter())
                sent_at = time.perf_counter()
                writer.write(_request(n))
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                    await reader.readexactly(length)
                if not head.startswith(b"HTTP/1.1 201 "):
                    raise BenchmarkError(f"a reading was answered with {head[:100]!r}")
                if times is not None:
                    times.append((time.perf_counter() - sent_at) * 1e3)
        finally:
            writer.close()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(CONNECTIONS, total)):
                group.create_task(work())
    except* (OSError, EOFError, TimeoutError, BenchmarkError) as errors:
        raise BenchmarkError(f"sending failed: {errors.exceptions[0]}") from None
    return total


def _request(n: int) -> bytes:
    values = {
        "temperature": 20 + n % 100 / 10,
        "humidity": 50 + n % 77 / 10,
        "pressure": 1013.25,
        "sensor_id": f"sensor-{n % SENSORS:02}",
    }
    body = json.dumps(values).encode()
    head = (
        f"POST /api/temperature_reading HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {API_KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
