"""Subscribers as they are in the field: slow, silent, half gone, or talking nonsense."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from tests.helpers import eventually
from tests.integration.conftest import GOOD, Running, Serve
from tests.servers import READ_KEY

LARGE = {**GOOD, **{f"{n:02}".rjust(64, "m"): 1.5 for n in range(61)}}
"""A reading of some 5 KB."""


class Peer:
    """A WebSocket client of which every byte is the test's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def frame(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload."""
        async with asyncio.timeout(60):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2), "big")
            return first & 15, await self.reader.readexactly(length)

    async def reading(self) -> int:
        """The id of the next reading; pings are answered."""
        while True:
            opcode, payload = await self.frame()
            if opcode == 1:
                return int(json.loads(payload)["id"])
            assert opcode == 9, (opcode, payload)
            self.writer.write(bytes((0x8A, 0x80 | len(payload), 0, 0, 0, 0)) + payload)

    async def close_code(self) -> int | None:
        """Of the close frame; None where the connection ends without one."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                opcode, payload = await self.frame()
                if opcode == 8:
                    return int.from_bytes(payload[:2], "big")
        return None


@asynccontextmanager
async def joined(app: Running, receive_buffer: int = 0) -> AsyncIterator[Peer]:
    """A subscriber, through the handshake."""
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", app.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=2**12)
    try:
        writer.write(
            f"GET /ws/sensor_updates?api-key={READ_KEY} HTTP/1.1\r\nHost: x\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        yield Peer(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def gauge(app: Running, name: str) -> float | None:
    return app.application.metrics.registry.get_sample_value(name)


async def post_large(app: Running, count: int) -> None:
    for _ in range(0, count, 50):
        answers = await asyncio.gather(*(app.post(LARGE) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {201}


async def test_who_does_not_read_for_a_while_misses_nothing(serve: Serve) -> None:
    async with serve(subscriber_buffer_kb=16) as app, joined(app, receive_buffer=4096) as slow:
        async with app.watch() as brisk:
            await post_large(app, 400)
            for expected in range(1, 401):
                assert json.loads(await brisk.recv())["id"] == expected
        if not app.stock:  # whose kernel buffers grow
            assert gauge(app, "sensorflow_catching_up_subscribers") == 1
        assert (gauge(app, "sensorflow_buffered_bytes") or 0) < 2 * 65_536 + 50 * 6_000
        assert [await slow.reading() for _ in range(400)] == list(range(1, 401))
        await eventually(lambda: gauge(app, "sensorflow_catching_up_subscribers") == 0)
        await app.post()
        assert await slow.reading() == 401


async def test_who_is_half_gone_is_found_by_the_ping(serve: Serve) -> None:
    async with serve(ping=0.2) as app, joined(app) as silent, app.watch() as answers:
        assert await silent.close_code() == 1011
        await eventually(lambda: gauge(app, "sensorflow_subscribers") == 1)
        await app.post()
        assert json.loads(await answers.recv())["id"] == 1


async def test_who_still_takes_its_frames_is_not_given_up(serve: Serve) -> None:
    async with serve(ping=2.0, subscriber_buffer_kb=16_384) as app:
        if app.stock:
            pytest.skip("the stock protocol counts pongs only")
        async with joined(app, receive_buffer=4096) as busy:
            posting = asyncio.create_task(post_large(app, 800))
            # Slower than they come: a ping soon waits for longer than its answer is waited for.
            for expected in range(1, 801):
                assert await busy.reading() == expected
                await asyncio.sleep(0.005)
            await posting


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x81\x05hello", 1002),  # not masked
        (b"\xf1\x80\0\0\0\0", 1002),  # reserved bits
        (b"\x83\x80\0\0\0\0", 1002),  # an opcode that is none
        (b"\x89\xfe\x00\x80\0\0\0\0" + bytes(128), 1002),  # a ping that is too long
        (b"\x81\xfe\x10\x01\0\0\0\0" + bytes(4097), 1009),
        (b"\x81\xff" + b"\xff" * 8 + b"\0\0\0\0", 1009),
        (b"\x88\x82\0\0\0\0\x03\xe8", 1000),
    ],
    ids=["unmasked", "reserved", "opcode", "ping", "oversize", "absurd", "close"],
)
async def test_nonsense_ends_the_connection_it_comes_on(
    app: Running, sent: bytes, code: int
) -> None:
    async with app.watch() as other, joined(app) as peer:
        peer.writer.write(sent)
        assert await peer.close_code() == code
        await eventually(lambda: gauge(app, "sensorflow_subscribers") == 1)
        await app.post()
        assert json.loads(await other.recv())["id"] == 1


async def test_many_handshakes_at_once_are_all_taken(app: Running) -> None:
    await app.post()
    async with AsyncExitStack() as stack:
        peers = await asyncio.gather(*(stack.enter_async_context(joined(app)) for _ in range(200)))
        assert [await peer.reading() for peer in peers] == [1] * 200
    await eventually(lambda: gauge(app, "sensorflow_subscribers") == 0)


async def test_who_leaves_before_its_handshake_has_its_turn_is_forgotten(app: Running) -> None:
    async def leave_early() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", app.port)
        writer.write(
            f"GET /ws/sensor_updates?api-key={READ_KEY} HTTP/1.1\r\nHost: x\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        await writer.drain()
        writer.transport.abort()

    async with app.watch() as other:
        await asyncio.gather(*(leave_early() for _ in range(100)))
        await app.post()
        assert json.loads(await other.recv())["id"] == 1
        await eventually(lambda: gauge(app, "sensorflow_subscribers") == 1)
