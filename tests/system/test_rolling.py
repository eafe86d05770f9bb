"""Rolling restarts of the real program with two workers, while readings are sent to it."""

import asyncio
import fcntl
import json
import os
import signal
import termios
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.helpers import eventually
from tests.postgres import Postgres
from tests.servers import INGEST_KEY, PROGRAM, Server
from tests.workers import SECONDS, Http, Serve, Workers, lives, on_each, post_one, watch_both

pytestmark = pytest.mark.usefixtures("no_client_left")

LONGEST = 60.0
"""Seconds for one rolling restart of a busy machine."""


class Sender:
    """Sends one reading after another, and counts what becomes of them."""

    def __init__(self, server: Workers, name: str, pause: float, *, keep_alive: bool) -> None:
        self._server = server
        self.name = name
        self._pause = pause
        self._keep_alive = keep_alive
        self.answers: Counter[int] = Counter()
        self.acknowledged: set[int] = set()
        self.unanswered: list[int] = []
        self.connections = 0
        self.done = False

    async def run(self) -> None:
        n = 0
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self.done:
            n += 1
            if connection is None:
                connection = await asyncio.open_connection("127.0.0.1", self._server.port)
                self.connections += 1
            reader, writer = connection
            try:
                writer.write(self._request(n))
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.unanswered.append(n)
                writer.close()
                connection = None
                continue
            status = int(head[9:12])
            self.answers[status] += 1
            if status in (201, 202):
                self.acknowledged.add(n)
            if b"connection: close" in head:
                assert await reader.read() == b""
                writer.close()
                connection = None
            await asyncio.sleep(self._pause)
        if connection is not None:
            connection[1].close()

    def _request(self, n: int) -> bytes:
        values = {"temperature": n, "humidity": 50, "pressure": 1000, "sensor_id": self.name}
        body = json.dumps(values).encode()
        lines = [
            "POST /api/temperature_reading HTTP/1.1",
            "Host: x",
            f"X-API-Key: {INGEST_KEY}",
            f"Content-Length: {len(body)}",
            *([] if self._keep_alive else ["Connection: close"]),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def sending(server: Workers) -> AsyncIterator[list[Sender]]:
    """Eight connections that are kept and eight that are not, flat out and with pauses."""
    senders = [
        Sender(
            server, f"{'kept' if keep_alive else 'new'}-{pause}-{n}", pause, keep_alive=keep_alive
        )
        for keep_alive in (True, False)
        for pause in (0.0, 0.02, 0.3, 1.0)
        for n in range(2)
    ]
    async with asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(sender.run())
        try:
            yield senders
        finally:
            for sender in senders:
                sender.done = True


async def roll(server: Workers) -> None:
    """SIGHUP; returns when both workers are others than before, and the old ones have ended."""
    before = await server.both()
    done = len(server.events("rolling restart done"))
    server.process.send_signal(signal.SIGHUP)
    await eventually(lambda: len(server.events("rolling restart done")) > done, LONGEST)
    assert not any(lives(worker) for worker in before)
    assert {w.pid for w in await server.both()}.isdisjoint({w.pid for w in before})


async def test_rolling_restarts_leave_no_reading_unanswered_lose_none_and_store_none_twice(
    postgres: Postgres, database: str, server: Workers
) -> None:
    await post_one(server)
    fewest = 2

    async def count() -> None:
        nonlocal fewest
        while True:
            fewest = min(fewest, len(server.workers()))
            await asyncio.sleep(0.05)

    counting = asyncio.create_task(count())
    async with sending(server) as senders:
        for _ in range(3):
            watchers = [watcher for mine in (await watch_both(server)).values() for watcher in mine]
            await roll(server)
            async with asyncio.timeout(SECONDS):
                for watcher in watchers:
                    await watcher.ended.wait()
            assert {watcher.close_code for watcher in watchers} == {1012}
    counting.cancel()
    assert fewest == 2
    answers = sum((sender.answers for sender in senders), Counter[int]())
    print(answers, "connections", sum(sender.connections for sender in senders))
    assert [sender.unanswered for sender in senders if sender.unanswered] == []
    assert answers.keys() <= {201, 202}

    def stored() -> Counter[tuple[str, int]]:
        rows = postgres.execute(
            "SELECT s.sensor_id, r.temperature::int FROM readings r"
            " JOIN sensors s ON s.id = r.sensor",
            database=database,
        )
        return Counter((sensor_id, n) for sensor_id, n in rows)

    for sender in senders:
        expected = {(sender.name, n) for n in sender.acknowledged}
        await eventually(lambda expected=expected: expected <= stored().keys(), SECONDS)  # type: ignore[misc]
    assert max(stored().values()) == 1
    assert not server.events("a worker has died and is replaced")
    assert not server.events("a worker takes too long and is killed")


async def test_an_idle_connection_is_closed_in_order_and_a_late_request_on_it_is_answered(
    server: Workers,
) -> None:
    async with on_each(server) as connections:
        (idle,), (late,) = connections.values()
        first = next(iter(connections))
        server.process.send_signal(signal.SIGHUP)
        await eventually(lambda: len(server.events("worker started")) == 3, SECONDS)
        # The first worker is about to leave; whoever asks it then is told that this was the last.
        one = idle if server.events("worker started")[0]["pid"] == first else late
        one.headers = ""
        while "connection: close" not in one.headers:
            status, _ = await one.post("late", 1)
            assert status == 201
        assert await one.rest() == b""
        other = late if one is idle else idle
        # Nothing is asked on this one: it ends with its worker, without a reset.
        async with asyncio.timeout(LONGEST):
            assert await other.rest() == b""
    await eventually(lambda: bool(server.events("rolling restart done")), LONGEST)


async def test_renewed_keys_and_changed_settings_are_in_force_afterwards(make: Serve) -> None:
    server = make(API_KEY="", MAX_WS_CONNECTIONS_PER_KEY="")
    server.start()
    await server.both()
    renewed = await _keys_renew(server)
    assert (await _status(server, renewed)) == 401
    (server.folder / ".env").write_text("TIMEZONE=America/Sao_Paulo\n")
    await roll(server)
    connection = await Http.open(server)
    status, receipt = await connection.post("renewed", 1, renewed)
    assert status == 201
    assert receipt["received_at"][11:13] != receipt["time_recorded"][:2]
    connection.close()


async def _keys_renew(server: Workers) -> str:
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "keys",
        "renew",
        "API_KEY",
        cwd=server.folder,
        env={name: value for name, value in server.environment().items() if value},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    first, *rest = output.decode().splitlines()
    assert "SIGHUP" in rest[-1]
    return first.removeprefix("API_KEY=")


async def _status(server: Workers, key: str) -> int:
    connection = await Http.open(server)
    status, _ = await connection.post("one", 1, key)
    connection.close()
    return status


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("TIMEZONE=Nowhere", "TIMEZONE: there is no timezone"),
        ("SPOOL_MAX_MB=many", "SPOOL_MAX_MB: "),
        ("LOG_LEVEL=error", "LOG_LEVEL: it has changed"),
    ],
)
async def test_settings_that_cannot_be_taken_over_change_nothing(
    server: Workers, line: str, reason: str
) -> None:
    before = await server.both()
    (server.folder / ".env").write_text(f"{line}\n")
    server.process.send_signal(signal.SIGHUP)
    await eventually(lambda: bool(server.events("no rolling restart")), SECONDS)
    (event,) = server.events("no rolling restart")
    assert event["reason"].startswith(reason)
    assert await server.both() == before
    await post_one(server)


async def test_a_worker_that_cannot_start_stops_the_rolling_restart(server: Workers) -> None:
    before = {worker.pid for worker in await server.both()}
    (server.folder / ".env").write_text("MAX_WS_CONNECTIONS_PER_KEY=5\n")
    server.data_dir.mkdir()
    (server.data_dir / "connections").write_text("in the place of a folder")
    server.process.send_signal(signal.SIGHUP)
    given_up = "the rolling restart is given up: a new worker did not start; the others stay"
    await eventually(lambda: bool(server.events(given_up)), SECONDS)
    (event,) = server.events(given_up)
    assert (event["worker"], event["exit_code"]) == (0, 2)
    assert {worker.pid for worker in await server.both()} == before
    await post_one(server)


async def test_sighup_to_a_single_worker_is_ignored_with_a_line_in_the_log(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.process.send_signal(signal.SIGHUP)
        await eventually(lambda: "SIGHUP is ignored" in server.log.read_text(), SECONDS)
        assert server.is_ready()
        assert server.terminate() == 0


async def test_a_terminal_that_is_closed_stops_a_single_worker_in_order(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    server = Server(tmp_path)
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "serve",
        cwd=tmp_path,
        env={name: value for name, value in server.environment().items() if value},
        stdin=theirs,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    try:
        os.close(theirs)
        await eventually(server.is_ready, SECONDS)
        os.close(ours)
        _, log = await asyncio.wait_for(process.communicate(), SECONDS)
        assert process.returncode == 0
        assert json.loads(log.splitlines()[-1])["event"] == "stopped"
    finally:
        if process.returncode is None:
            process.kill()
