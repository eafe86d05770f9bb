"""The way to a server, which a test opens and shuts: as a proxy that outlives its server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Door:
    """Passes connections on to `behind` until it is shut."""

    def __init__(self, behind: int) -> None:
        self.port = 0
        self.turned_away = asyncio.Event()
        """Somebody came while it was shut."""
        self._behind = behind
        self._answer: bytes | None = None
        self._passing: set[asyncio.Task[None]] = set()

    def shut(self, *, politely: bool) -> None:
        """Let nobody in any more; politely: with an answer. Who is inside stays."""
        self._answer = _BAD_GATEWAY if politely else b""
        self.turned_away.clear()

    def open(self) -> None:
        """Let everybody in again."""
        self._answer = None

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if self._answer is not None:
            writer.write(self._answer)
            await writer.drain()
            self.turned_away.set()
            return
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._behind)
        to_server.write(head)
        up = asyncio.create_task(_copy(reader, to_server))
        try:
            await _copy(from_server, writer)
        finally:
            up.cancel()
            to_server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._pass(reader, writer)
        finally:
            self._passing.discard(task)
            writer.close()

    async def end(self) -> None:
        """Cut everybody off."""
        for task in list(self._passing):
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)


@asynccontextmanager
async def door_to(port: int) -> AsyncIterator[Door]:
    door = Door(port)
    server = await asyncio.start_server(door._serve, "127.0.0.1", 0)
    door.port = server.sockets[0].getsockname()[1]
    try:
        yield door
    finally:
        server.close()
        await door.end()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
