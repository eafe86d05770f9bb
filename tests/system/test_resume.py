"""The real program, two workers, the database restarted: whoever comes back misses nothing."""

import asyncio
import random
import re
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.helpers import eventually
from tests.load import SPOOLED, STORED, Load, check, wait_until
from tests.postgres import Postgres
from tests.servers import READ_KEY, Server, serving

FOLLOWERS = 24
FILTERS: list[tuple[str, ...]] = [(), ("sensor-1",), (), ("sensor-0", "sensor-5")]
PATIENCE = 60.0

_FRAME = re.compile(rb'\{"id":(\d+|null),')


class Follower:
    """A subscriber that keeps the ids, loses its connection when told, and comes back."""

    def __init__(self, server: Server, number: int, since: int) -> None:
        self._server = server
        self.sensors = FILTERS[number % len(FILTERS)]
        self.kind = "sse" if number % 3 == 2 else "websocket"
        self.since = since
        self.ids = array("q")
        self.connections = 0
        self.faults: list[str] = []
        self._writer: asyncio.StreamWriter | None = None
        self._task = asyncio.create_task(self._follow())

    @property
    def cursor(self) -> int:
        return self.ids[-1] if self.ids else self.since

    def lose(self) -> None:
        """Have the connection break, as it is."""
        if self._writer is not None:
            self._writer.transport.abort()

    async def end(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _follow(self) -> None:
        while True:
            reader, self._writer = await asyncio.open_connection("127.0.0.1", self._server.port)
            self.connections += 1
            try:
                await self._read(reader, self._writer)
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                self._writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = [("api-key", READ_KEY), *(("sensor_id", name) for name in self.sensors)]
        fields = ["Host: x"]
        path = "/ws/sensor_updates"
        if self.kind == "sse":
            path = "/api/stream"
            fields.append(f"Last-Event-ID: {self.cursor}")
        else:
            query.append(("since", str(self.cursor)))
            fields += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
            fields.append("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        head = [f"GET {path}?{urlencode(query)} HTTP/1.1", *fields, "", ""]
        writer.write("\r\n".join(head).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith((b"HTTP/1.1 101 ", b"HTTP/1.1 200 ")):
            self.faults.append(answer.decode())
        rest = b""
        while data := await reader.read(2**18):
            rest += data
            # A whole reading ends with its client_ip; what comes after the last one is kept.
            whole = rest.rfind(b'"}') + 2
            for found in _FRAME.findall(rest, 0, whole):
                if found != b"null":
                    self.ids.append(int(found))
            rest = rest[whole:] if whole > 1 else rest


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Postgres, Server]]:
    with (
        Postgres("15") as postgres,
        serving(tmp_path, DATABASE_URL=postgres.url(), WORKERS="2") as server,
    ):
        yield postgres, server
        assert server.terminate() == 0


async def resume(postgres: Postgres, server: Server, losses: int, pause: float) -> str:
    """Lose `losses` connections, some `pause` seconds apart, under load and over a restart."""
    chance = random.Random(7)
    load = Load(server, pause=0.02)
    load.start()
    await asyncio.to_thread(load.wait_for, STORED)
    start = postgres.execute("SELECT max(id) FROM readings")[0][0]
    followers = [Follower(server, number, start) for number in range(FOLLOWERS)]
    try:
        for lost in range(losses):
            await asyncio.sleep(chance.uniform(0, 2 * pause))
            chance.choice(followers).lose()
            if lost == losses // 2:
                await asyncio.to_thread(postgres.stop)
                await asyncio.to_thread(load.wait_for, SPOOLED)
                await asyncio.to_thread(postgres.start)
                await asyncio.to_thread(load.wait_for, STORED)
        sent = await asyncio.to_thread(load.stop)
        counted = "SELECT count(*) FROM readings"
        await asyncio.to_thread(
            wait_until, lambda: postgres.execute(counted)[0][0] >= len(sent.acknowledged)
        )
        check(postgres, sent)
        rows = postgres.execute(
            "SELECT r.id, s.sensor_id FROM readings r JOIN sensors s ON s.id = r.sensor"
            " WHERE r.id > $1 ORDER BY r.id",
            start,
        )
        for follower in followers:
            wanted = [pk for pk, name in rows if not follower.sensors or name in follower.sensors]
            with suppress(TimeoutError):
                await eventually(lambda f=follower, w=wanted: len(f.ids) >= len(w), PATIENCE)  # type: ignore[misc]
            assert not follower.faults
            assert follower.ids.tolist() == wanted, (follower.kind, follower.sensors)
    finally:
        load.stop()
        for follower in followers:
            await follower.end()
    resumed = sum(follower.connections for follower in followers) - FOLLOWERS
    assert resumed >= losses * 0.9
    delivered = sum(len(follower.ids) for follower in followers)
    return (
        f"{len(rows)} readings, {resumed} resumes, {delivered} deliveries, each once and in order"
    )


async def test_sixty_lost_connections_miss_nothing(server: tuple[Postgres, Server]) -> None:
    await resume(*server, losses=60, pause=0.05)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_thousand_lost_connections_miss_nothing(server: tuple[Postgres, Server]) -> None:
    print(
        f"\n1,000 lost connections, two workers: {await resume(*server, losses=1000, pause=0.05)}"
    )
