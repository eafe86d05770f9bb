"""The real program with two workers, and clients that do as little as possible."""

import asyncio
import json
import re
from array import array
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import psutil

from tests.helpers import eventually
from tests.servers import INGEST_KEY, READ_KEY, Server

SECONDS = 60.0
"""For whatever is waited for; on an idle machine it takes far less."""

ENOUGH = 40
"""Connections of which both workers surely get some: the kernel spreads them at random."""


class Workers(Server):
    """`sensorflow serve` with two workers, and the processes it is made of."""

    def __init__(self, folder: Path, database: str, **variables: str) -> None:
        super().__init__(folder, DATABASE_URL=database, **variables)
        self._known: set[psutil.Process] = set()

    def workers(self) -> list[psutil.Process]:
        """Those that live."""
        with suppress(psutil.NoSuchProcess):
            self._known.update(psutil.Process(self.process.pid).children())
        return self.left()

    def events(self, event: str) -> list[dict[str, Any]]:
        """What the log says of one kind of event."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if entry["event"] == event]

    async def both(self) -> list[psutil.Process]:
        """The two workers, as soon as they serve."""

        def serve() -> bool:
            started = {entry["pid"] for entry in self.events("worker started")}
            # The log first: to find a process's children, all that there are are looked at.
            if len(started) < 2:
                return False
            workers = {worker.pid for worker in self.workers()}
            return len(workers) == 2 and workers <= started

        await eventually(serve, SECONDS)
        return self.workers()

    def owners(self) -> dict[int, int]:
        """Which worker has accepted which connection: the client's port, and the pid."""
        owners = {}
        for worker in self.workers():
            with suppress(psutil.NoSuchProcess):
                for connection in worker.net_connections("tcp4"):
                    if connection.raddr and connection.laddr.port == self.port:
                        owners[connection.raddr.port] = worker.pid
        return owners

    async def owned(self, ports: Collection[int]) -> dict[int, int]:
        """The owner of each of these, once all are accepted."""
        await eventually(lambda: self.owners().keys() >= set(ports), SECONDS)
        owners = self.owners()
        return {port: owners[port] for port in ports}

    def left(self) -> list[psutil.Process]:
        """Workers, ever seen, that have not ended."""
        return [worker for worker in self._known if lives(worker)]

    async def end(self) -> int:
        """The exit code, as soon as the supervisor has ended."""
        return await asyncio.to_thread(self.process.wait, SECONDS)

    def kill(self) -> None:
        if self._process is not None:
            self.workers()
            super().kill()
            for worker in self.left():
                with suppress(psutil.NoSuchProcess):
                    worker.kill()


def lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


clients: "set[Http | Watcher]" = set()
"""All that the running test has opened."""


class Http:
    """A connection that is kept alive."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.add(self)
        self._reader = reader
        self._writer = writer
        self.port: int = writer.get_extra_info("sockname")[1]

    @classmethod
    async def open(cls, server: Server) -> "Http":
        return cls(*await asyncio.open_connection("127.0.0.1", server.port))

    async def ask(
        self, head: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body. Raises `ConnectionError` where the connection ends instead."""
        fields = {"Host": "x", "Content-Length": str(len(body)), **(headers or {})}
        lines = [f"{head} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        try:
            answer = await self._reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", answer)
            content = await self._reader.readexactly(int(length[1]) if length else 0)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("ended") from error
        self.headers = answer.decode()
        return int(answer[9:12]), content

    async def post(self, sensor_id: str, n: float, key: str = INGEST_KEY) -> tuple[int, Any]:
        body = {"temperature": n, "humidity": 50, "pressure": 1000, "sensor_id": sensor_id}
        status, receipt = await self.ask(
            "POST /api/temperature_reading", json.dumps(body).encode(), {"X-API-Key": key}
        )
        return status, json.loads(receipt)

    async def rest(self) -> bytes:
        """What comes until the server closes the connection."""
        return await self._reader.read()

    def close(self) -> None:
        self._writer.close()

    async def wait_closed(self) -> None:
        with suppress(OSError):
            await self._writer.wait_closed()


class Watcher(asyncio.Protocol):
    """A subscriber that does as little as possible: it keeps the ids."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._rest = b""
        self._shaken = False
        self.ids = array("q")
        self.provisional = 0
        self.close_code: int | None = None
        self.reason = ""
        self.settled = asyncio.Event()
        """Whether it has been greeted, or turned away."""
        self.ended = asyncio.Event()

    @classmethod
    async def open(cls, server: Server, key: str = READ_KEY) -> "Watcher":
        loop = asyncio.get_running_loop()
        _, watcher = await loop.create_connection(lambda: cls(key), "127.0.0.1", server.port)
        return watcher

    @property
    def accepted(self) -> bool:
        return self.settled.is_set() and not self.ended.is_set() and self.close_code is None

    def close(self) -> None:
        self._transport.abort()

    async def wait_closed(self) -> None:
        await self.ended.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        clients.add(self)
        self._transport = cast("asyncio.Transport", transport)
        self.port: int = transport.get_extra_info("sockname")[1]
        self._transport.write(
            f"GET /ws/sensor_updates?api-key={self._key} HTTP/1.1\r\nHost: x\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        self.settled.set()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        start = 0
        if not self._shaken:
            start = data.find(b"\r\n\r\n") + 4
            if start < 4:
                self._rest = data
                return
            assert data.startswith(b"HTTP/1.1 101 "), data
            self._shaken = True
        end = len(data)
        while end - start >= 2:
            kind, length, begin = data[start], data[start + 1], start + 2
            if length == 126:
                length, begin = int.from_bytes(data[start + 2 : start + 4], "big"), start + 4
            if end < begin + length or end < begin:
                break
            start = begin + length
            if kind == 0x81:
                self._take(data, begin)
            else:
                self._control(kind, data[begin:start])
        self._rest = data[start:]

    def _take(self, data: bytes, begin: int) -> None:
        assert data.startswith(b'{"id":', begin), data[begin : begin + 100]
        pk = data[begin + 6 : data.index(b",", begin)]
        if pk == b"null":
            self.provisional += 1
        else:
            self.ids.append(int(pk))
            self.settled.set()

    def _control(self, kind: int, payload: bytes) -> None:
        if kind == 0x89:
            self._transport.write(bytes((0x8A, 0x80 | len(payload), 0, 0, 0, 0)) + payload)
            return
        assert kind == 0x88, kind
        self.close_code = int.from_bytes(payload[:2], "big")
        self.reason = payload[2:].decode()
        self.settled.set()
        self._transport.close()


Serve = Callable[..., Workers]


@asynccontextmanager
async def on_each(server: Workers, count: int = 1) -> AsyncIterator[dict[int, list[Http]]]:
    """So many connections to each worker, by its pid."""
    opened = [await Http.open(server) for _ in range(ENOUGH)]
    try:
        owners = await server.owned([connection.port for connection in opened])
        by_worker: dict[int, list[Http]] = {worker.pid: [] for worker in await server.both()}
        for connection in opened:
            mine = by_worker[owners[connection.port]]
            if len(mine) < count:
                mine.append(connection)
            else:
                connection.close()
        assert all(len(mine) == count for mine in by_worker.values()), owners
        yield by_worker
    finally:
        for connection in opened:
            connection.close()


async def watch(server: Workers, count: int, key: str = READ_KEY) -> list[Watcher]:
    """So many subscribers at once, greeted or turned away. Needs a reading in the database."""
    watchers = await asyncio.gather(*(Watcher.open(server, key) for _ in range(count)))
    async with asyncio.timeout(SECONDS):
        for watcher in watchers:
            await watcher.settled.wait()
    return list(watchers)


async def watch_both(server: Workers) -> dict[int, list[Watcher]]:
    """Subscribers of each worker, by its pid."""
    watchers = await watch(server, ENOUGH)
    owners = await server.owned([watcher.port for watcher in watchers])
    by_worker: dict[int, list[Watcher]] = {worker.pid: [] for worker in await server.both()}
    for watcher in watchers:
        by_worker[owners[watcher.port]].append(watcher)
    assert all(by_worker.values())
    return by_worker


async def post_one(server: Server, n: float = 0) -> int:
    connection = await Http.open(server)
    status, receipt = await connection.post("one", n)
    connection.close()
    assert status == 201, receipt
    return int(receipt["id"])


async def replaced(server: Workers, worker: psutil.Process) -> int:
    """Kill -9; return the replacement's pid as soon as it serves."""
    before = {other.pid for other in server.workers()}
    worker.kill()
    await eventually(lambda: not lives(worker), SECONDS)
    (replacement,) = {new.pid for new in await server.both()} - before
    return replacement
