"""The real program with two workers: deaths, limits, ends, and every reading on every screen."""

import asyncio
import json
import os
import re
import signal
import subprocess
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import chain, zip_longest
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg
import pytest

from tests.helpers import eventually
from tests.postgres import Postgres
from tests.servers import PROGRAM, READ_KEY, Server
from tests.workers import (
    ENOUGH,
    SECONDS,
    Http,
    Serve,
    Watcher,
    Workers,
    lives,
    on_each,
    post_one,
    replaced,
    watch,
    watch_both,
)

pytestmark = pytest.mark.usefixtures("no_client_left")


@pytest.mark.parametrize("way", ["WORKERS=2", "--workers 2"])
async def test_connections_reach_both_workers(make: Serve, empty_database: str, way: str) -> None:
    server = make(empty_database, WORKERS="2" if way == "WORKERS=2" else "")
    if way == "--workers 2":
        server.arguments = way.split()
    server.start()
    workers = await server.both()
    connections = await asyncio.gather(*(Http.open(server) for _ in range(2 * ENOUGH)))
    owners = await server.owned([connection.port for connection in connections])
    shares = Counter(owners.values())
    assert shares.keys() == {worker.pid for worker in workers}
    assert min(shares.values()) >= ENOUGH / 4
    for connection in connections:
        assert (await connection.ask("GET /healthz"))[0] == 200
        connection.close()


@pytest.mark.parametrize("way", ["WORKERS=2", "--workers 2"])
def test_sqlite_refuses_two_workers_in_one_line(tmp_path: Path, way: str) -> None:
    server = Server(tmp_path, WORKERS="2" if way == "WORKERS=2" else "1")
    result = subprocess.run(
        [PROGRAM, "serve", *(way.split() if way == "--workers 2" else [])],
        cwd=tmp_path,
        env=server.environment(),
        capture_output=True,
        timeout=SECONDS,
    )
    assert result.returncode == 2
    assert result.stdout == b""
    assert result.stderr.count(b"\n") == 1
    assert re.match(rb"sensorflow: WORKERS: SQLite .* DATABASE_URL", result.stderr)
    assert not server.data_dir.exists()


async def test_made_keys_are_shown_once_and_work_on_every_worker(make: Serve) -> None:
    server = make(API_KEY="", API_KEY_WS="", ADMIN_KEY="")
    server.start()
    workers = await server.both()
    said = server.output.read_text()
    keys = dict(re.findall(r"^  (API_KEY|API_KEY_WS|ADMIN_KEY) +(sf_\S+)$", said, re.MULTILINE))
    assert len(set(keys.values())) == 3
    assert said.count("Keys made just now") == 1

    async def work_everywhere() -> None:
        sessions = []
        async with on_each(server, 2) as connections:
            for first, second in connections.values():
                status, receipt = await first.post("s", 1, keys["API_KEY"])
                assert status == 201, receipt
                head, read = "GET /metrics", {"X-API-Key": keys["API_KEY_WS"]}
                assert (await second.ask(head, headers=read))[0] == 200
                assert (await second.ask(head, headers={"X-API-Key": "wrong-key"}))[0] == 401
                assert (await first.ask("POST /api/session", headers=read))[0] == 204
                sessions += re.findall(r"(?i)set-cookie: ([^;]+)", first.headers)
            # A session that one has begun is good for all.
            assert len(sessions) == 2
            for first, _ in connections.values():
                for session in sessions:
                    cookie = {"Cookie": session}
                    assert (await first.ask("GET /api/session", headers=cookie))[0] == 204
        watchers = await watch(server, ENOUGH, keys["API_KEY_WS"])
        assert all(watcher.accepted for watcher in watchers)
        assert len(set((await server.owned([w.port for w in watchers])).values())) == 2
        for watcher in watchers:
            watcher.close()

    await work_everywhere()
    await replaced(server, workers[0])
    await work_everywhere()
    assert server.output.read_text() == said

    server.process.terminate()
    assert await server.end() == 0
    server.output.write_text("")
    server.start()
    await server.both()
    assert "sf_" not in server.output.read_text()
    await work_everywhere()
    log = server.log.read_text()
    assert not any(key in log for key in keys.values())


async def test_a_killed_worker_is_replaced_and_the_other_goes_on(server: Workers) -> None:
    await post_one(server)
    async with on_each(server) as connections:
        watchers = await watch_both(server)
        victim, survivor = await server.both()
        victim.kill()
        # Both shares of the port answer all the while, that of the dead one after its replacement.
        asking = [await Http.open(server) for _ in range(ENOUGH)]
        async with asyncio.timeout(SECONDS):
            answers = await asyncio.gather(*(one.ask("GET /healthz") for one in asking))
            await asyncio.gather(*(watcher.ended.wait() for watcher in watchers[victim.pid]))
        assert {status for status, _ in answers} == {200}
        replacement = next(w.pid for w in await server.both() if w != survivor)
        owners = await server.owned([one.port for one in asking])
        assert set(owners.values()) == {survivor.pid, replacement}

        with pytest.raises(ConnectionError):
            await connections[victim.pid][0].post("one", 1)
        status, receipt = await connections[survivor.pid][0].post("one", 2)
        assert status == 201
        last = receipt["id"]
        later = await watch_both(server)
        assert later.keys() == {survivor.pid, replacement}
        living = [*watchers[survivor.pid], *later[survivor.pid], *later[replacement]]
        await eventually(lambda: all(watcher.ids[-1] == last for watcher in living), SECONDS)
        last = await post_one(server)
        await eventually(lambda: all(watcher.ids[-1] == last for watcher in living), SECONDS)
        assert not any(watcher.ended.is_set() for watcher in living)
    (death,) = server.events("a worker has died and is replaced")
    assert (death["pid"], death["signal"]) == (victim.pid, "Killed")


async def test_the_limit_of_connections_holds_over_both_workers(make: Serve) -> None:
    limit = 12
    server = make(MAX_WS_CONNECTIONS_PER_KEY=str(limit))
    server.start()
    await server.both()
    await post_one(server)

    async def attempts() -> list[Watcher]:
        """Those who were accepted of many who tried at the same time."""
        watchers = await watch(server, 5 * limit)
        refused = [watcher for watcher in watchers if watcher.close_code is not None]
        assert {(w.close_code, w.reason) for w in refused} == {
            (1008, "too many connections with this key")
        }
        accepted = [watcher for watcher in watchers if watcher.accepted]
        assert len(accepted) + len(refused) == len(watchers)
        return accepted

    accepted = await attempts()
    assert len(accepted) == limit
    assert await attempts() == []
    for _ in range(2):
        owners = await server.owned([watcher.port for watcher in accepted])
        victim = next(w for w in await server.both() if w.pid == owners[accepted[0].port])
        lost = [watcher for watcher in accepted if owners[watcher.port] == victim.pid]
        await replaced(server, victim)
        await eventually(lambda lost=lost: all(w.ended.is_set() for w in lost))  # type: ignore[misc]
        accepted = [watcher for watcher in accepted if watcher not in lost]
        assert all(watcher.accepted for watcher in accepted)
        again = await attempts()
        assert len(again) == len(lost)
        accepted += again
    for watcher in accepted:
        watcher.close()
    # Whoever leaves makes room, as soon as the server has noticed.
    accepted = []
    async with asyncio.timeout(SECONDS):
        while len(accepted) < limit:
            accepted += await attempts()
    assert len(accepted) == limit
    assert await attempts() == []


@pytest.mark.parametrize("way", ["SIGTERM", "SIGINT", "Ctrl-C"])
async def test_the_end_ends_all(server: Workers, way: str) -> None:
    await post_one(server)
    watchers = [watcher for mine in (await watch_both(server)).values() for watcher in mine]
    if way == "Ctrl-C":
        server.ctrl_c()
    else:
        server.process.send_signal(signal.Signals[way])
    assert await server.end() == 0
    assert server.left() == []
    async with asyncio.timeout(SECONDS):
        for watcher in watchers:
            await watcher.ended.wait()
    assert {watcher.close_code for watcher in watchers} == {1012}
    assert len(server.events("worker stopped")) == 2
    assert len(server.events("stopped")) == 1
    assert {json.loads(line)["level"] for line in server.log.read_text().splitlines()} == {"info"}
    with pytest.raises(ConnectionRefusedError):
        await Http.open(server)


async def test_workers_end_with_a_killed_supervisor_and_leave_the_port(server: Workers) -> None:
    await post_one(server)
    watchers = [watcher for mine in (await watch_both(server)).values() for watcher in mine]
    # A replacement has inherited other files than the first ones.
    await replaced(server, (await server.both())[0])
    os.kill(server.process.pid, signal.SIGKILL)
    await eventually(lambda: not server.left(), SECONDS)
    assert await server.end() == -signal.SIGKILL
    async with asyncio.timeout(SECONDS):
        for watcher in watchers:
            await watcher.ended.wait()
    assert len(server.events("the supervisor is gone")) == 2
    server.start()
    await server.both()
    assert await post_one(server) == 2


class Load:
    """Subscribers and publishers at a server with two workers, all at once."""

    def __init__(self, postgres: Postgres, database: str, server: Workers) -> None:
        self.postgres = postgres
        self.database = database
        self.server = server
        self.watchers: list[Watcher] = []
        self.receipts: dict[tuple[str, int], tuple[int, int | None]] = {}
        """Of each reading that was answered: status and id."""
        self.unanswered: set[tuple[str, int]] = set()
        self.committed_unanswered = 0
        self._done = False
        self.seconds = 0.0

    async def run(
        self,
        subscribers: int,
        publishers: int,
        seconds: float,
        amid: Callable[["Load"], Awaitable[None]],
    ) -> None:
        """Have half of the time before `amid`, and half after it."""
        await post_one(self.server)
        self.watchers += await watch(self.server, subscribers)
        assert len(set((await self.server.owned([w.port for w in self.watchers])).values())) == 2
        async with on_each(self.server, publishers // 2) as connections:
            began = perf_counter()
            publishing = [
                asyncio.create_task(self._publish(f"p{number}", connection))
                for number, connection in enumerate(chain.from_iterable(connections.values()))
            ]
            await self._go_on(publishing, seconds / 2)
            await amid(self)
            await self._go_on(publishing, seconds / 2)
            self._done = True
            async with asyncio.timeout(SECONDS):
                await asyncio.gather(*publishing)
            self.seconds = perf_counter() - began
        await self._settle()

    async def _go_on(self, publishing: list[asyncio.Task[None]], seconds: float) -> None:
        ended, _ = await asyncio.wait(
            publishing, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for task in ended:
            task.result()

    async def _publish(self, sensor_id: str, connection: Http) -> None:
        n = 0
        while not self._done:
            n += 1
            try:
                status, receipt = await connection.post(sensor_id, n)
            except ConnectionError:
                # Nobody knows whether it was stored; a real device would send it again.
                self.unanswered.add((sensor_id, n))
                connection.close()
                connection = await Http.open(self.server)
                continue
            assert status in (201, 202), receipt
            self.receipts[sensor_id, n] = status, receipt["id"]
        connection.close()

    async def _settle(self) -> None:
        """Wait until every subscriber has what was stored, and one more of each worker."""
        async with asyncio.timeout(SECONDS):
            while self.receipts.keys() - {told for _, told in await self.stored()}:
                pass  # what was spooled is being drained
        async with on_each(self.server) as connections:
            for (connection,) in connections.values():
                last = (await self.stored())[-1][0]
                await eventually(lambda last=last: self._all_have(last), SECONDS)  # type: ignore[misc]
                status, receipt = await connection.post("last", 0)
                assert status == 201, receipt
                await eventually(lambda pk=receipt["id"]: self._all_have(pk), SECONDS)  # type: ignore[misc]

    def _all_have(self, pk: int) -> bool:
        return all(watcher.ids[-1] == pk for watcher in self.watchers if watcher.accepted)

    async def stored(self) -> list[tuple[int, tuple[str, int]]]:
        """Every reading in the database: its id, and what it was."""
        rows = await asyncio.to_thread(
            self.postgres.execute,
            "SELECT r.id, s.sensor_id, r.temperature::int"
            " FROM readings r JOIN sensors s ON s.id = r.sensor ORDER BY r.id",
            database=self.database,
        )
        return [(pk, (sensor_id, n)) for pk, sensor_id, n in rows]

    async def check(self) -> str:
        """Compare what was acknowledged, stored and shown; return the figures."""
        stored = await self.stored()
        sent = Counter(what for _, what in stored if what[0].startswith("p"))
        assert max(sent.values()) == 1
        assert sent.keys() <= self.receipts.keys() | self.unanswered
        ids = {what: pk for pk, what in stored}
        for what, (status, pk) in self.receipts.items():
            assert ids[what] == pk or status == 202, what
        order = array("q", [pk for pk, _ in stored])
        for watcher in self.watchers:
            assert_whole(watcher, order)
        self.committed_unanswered = len(self.unanswered & sent.keys())
        delivered = sum(len(watcher.ids) for watcher in self.watchers)
        answers = Counter(status for status, _ in self.receipts.values())
        return (
            f"{answers[201]} x 201 and {answers[202]} x 202 in {self.seconds:.1f} s,"
            f" {len(self.unanswered)} unanswered of which {self.committed_unanswered} stored,"
            f" {len(stored)} rows, {delivered} deliveries to {len(self.watchers)} connections,"
            " 0 lost, 0 twice, 0 out of order"
        )


def assert_whole(watcher: Watcher, order: "array[int]") -> None:
    """It has got everything from its greeting to its end, or to the end, once and in order."""
    begin = order.index(watcher.ids[0])
    end = begin + len(watcher.ids) if watcher.ended.is_set() else len(order)
    if watcher.ids != order[begin:end]:
        got, expected = watcher.ids, order[begin:end]
        at = next((n for n, (a, b) in enumerate(zip_longest(got, expected)) if a != b), -1)
        nearby = slice(max(0, at - 3), at + 8)
        pytest.fail(
            f"{len(got)} of {len(expected)} readings, {len(got) - len(set(got))} twice; at {at}:"
            f" {got[nearby].tolist()} instead of {expected[nearby].tolist()}"
        )


@asynccontextmanager
async def commits_under_way(database: str) -> AsyncIterator[None]:
    """Both workers have sent a commit, and PostgreSQL carries it out when this ends."""
    connection = await asyncpg.connect(database)
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT pg_advisory_xact_lock('readings'::regclass::oid::bigint)"
            )
            waiting = (
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            async with asyncio.timeout(SECONDS):
                while await connection.fetchval(waiting) < 2:
                    pass
            yield
    finally:
        connection.terminate()


async def kill_one(load: Load) -> None:
    """Kill a worker amid a commit, and have its subscribers come back."""
    server = load.server
    owners = server.owners()
    one = next(watcher for watcher in load.watchers if watcher.accepted)
    victim = next(w for w in await server.both() if w.pid == owners[one.port])
    async with commits_under_way(load.database):
        victim.kill()
        await eventually(lambda: not lives(victim), SECONDS)
    lost = [watcher for watcher in load.watchers if owners.get(watcher.port) == victim.pid]
    async with asyncio.timeout(SECONDS):
        for watcher in lost:
            await watcher.ended.wait()
    load.watchers += await watch(server, len(lost))
    await server.both()
    assert server.events("a worker has died and is replaced")[-1]["pid"] == victim.pid


LISTENING = "(query LIKE 'LISTEN%' OR query = 'SELECT 1')"
"""What a listening session has asked last, or asks now and then to know whether it is alive."""


async def sessions(load: Load, which: str, *, end: bool = False) -> set[int]:
    """The pids of these sessions of the server; `end` ends them."""
    rows = await asyncio.to_thread(
        load.postgres.execute,
        "WITH these AS MATERIALIZED (SELECT pid FROM pg_stat_activity"
        f" WHERE datname = current_database() AND pid <> pg_backend_pid() AND {which})"
        f" SELECT pid FROM these {'WHERE pg_terminate_backend(pid)' if end else ''}",
        database=load.database,
    )
    return {pid for (pid,) in rows}


async def end_listening(load: Load) -> None:
    """End every listening session, and wait for new ones; three times."""
    for _ in range(3):
        ended = await sessions(load, LISTENING, end=True)
        assert len(ended) >= 2
        async with asyncio.timeout(SECONDS):
            while len(await sessions(load, LISTENING) - ended) < 2:
                pass


async def end_all_sessions(load: Load) -> None:
    """End the listening, reading and writing sessions at once, and wait until all is well."""
    assert len(await sessions(load, "true", end=True)) >= 4
    async with on_each(load.server) as connections, asyncio.timeout(SECONDS):
        for (connection,) in connections.values():
            health: dict[str, Any] = {"status": "spooling"}
            while health["status"] != "ok" or not health["bus"]["listening"]:
                _, answer = await connection.ask("GET /readyz", headers={"X-API-Key": READ_KEY})
                health = json.loads(answer)


def assert_survived(load: Load, subscribers: int) -> None:
    ended = [watcher for watcher in load.watchers if watcher.ended.is_set()]
    assert 0 < len(ended) < subscribers
    assert len(load.watchers) == subscribers + len(ended)
    # What the dead worker had sent was committed after its death, and told by nobody but the bus.
    assert load.committed_unanswered > 0


async def test_a_kill_under_load_loses_nothing_on_any_screen(
    postgres: Postgres, database: str, server: Workers
) -> None:
    load = Load(postgres, database, server)
    async with asyncio.timeout(90):
        await load.run(subscribers=50, publishers=8, seconds=4, amid=kill_one)
        print(await load.check())
    assert_survived(load, 50)


async def test_listening_sessions_that_are_ended_lose_nothing_on_any_screen(
    postgres: Postgres, database: str, server: Workers
) -> None:
    load = Load(postgres, database, server)
    async with asyncio.timeout(90):
        await load.run(subscribers=20, publishers=8, seconds=2, amid=end_listening)
        print(await load.check())
    assert not any(watcher.ended.is_set() for watcher in load.watchers)
    assert not load.unanswered


async def test_all_sessions_ended_lose_nothing_on_any_screen(
    postgres: Postgres, database: str, server: Workers
) -> None:
    load = Load(postgres, database, server)
    async with asyncio.timeout(90):
        await load.run(subscribers=20, publishers=8, seconds=2, amid=end_all_sessions)
        print(await load.check())
    assert not any(watcher.ended.is_set() for watcher in load.watchers)
    assert not load.unanswered
    # Each reading that was spooled was shown by the worker that took it, and again with its id.
    owners = await server.owned([watcher.port for watcher in load.watchers])
    shown = {(owners[watcher.port], watcher.provisional) for watcher in load.watchers}
    spooled = sum(status == 202 for status, _ in load.receipts.values())
    assert len(shown) == 2
    assert sum(provisional for _, provisional in shown) == spooled > 0


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_kill_amid_200_subscribers_loses_nothing_on_any_screen(
    postgres: Postgres, database: str, server: Workers
) -> None:
    load = Load(postgres, database, server)
    async with asyncio.timeout(240):
        await load.run(subscribers=200, publishers=8, seconds=20, amid=kill_one)
        print(f"\none of two workers killed: {await load.check()}")
    assert_survived(load, 200)
