"""The ledger on the real program: two workers, and the one that follows is killed."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers import eventually
from tests.load import drained, wait_until
from tests.postgres import Postgres
from tests.servers import INGEST_KEY, READ_KEY, Server, serving
from tests.workers import SECONDS, Http, Workers, on_each, replaced

pytestmark = pytest.mark.usefixtures("no_client_left")

SENSORS = ("a", "b")
KINDS = (*["stored"] * 6, *["duplicate"] * 2, "conflict", "refused")
FOLLOWS = (
    "SELECT a.client_port FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database()"
    " AND l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND l.objid = (hashtext('sensorflow follower')::bigint & 4294967295)::oid"
)
"""The port of the session that follows."""


class Sender:
    """A mixed load whose answers are kept: for each sensor, how often each outcome was told."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seed = seed
        self._serial = 0
        self._sent: list[dict[str, Any]] = []
        self.told: Counter[tuple[str, str]] = Counter()
        self.stored_now = 0
        """Requests of `stored` that were answered."""
        self.spooled = 0
        """Readings that were answered so."""

    def _next(self, kinds: Sequence[str]) -> tuple[dict[str, Any], str]:
        """A reading, and what has to become of it."""
        kind = self._random.choice(kinds)
        if kind == "refused":
            sensor = self._random.choice(SENSORS)
            return {"sensor_id": sensor, "flow": 1, "recorded_at": 5}, "clock_not_set"
        if kind == "stored" or not self._sent:
            self._serial += 1
            reading = {
                "sensor_id": self._random.choice(SENSORS),
                "recorded_at": 1_700_000_000_000 + self._seed * 10_000_000 + self._serial,
                "flow": self._serial,
            }
            self._sent.append(reading)
            return reading, "stored"
        earlier = self._random.choice(self._sent)
        return (earlier, kind) if kind == "duplicate" else ({**earlier, "flow": -1}, kind)

    async def send(self, connection: Http, kinds: Sequence[str] = KINDS) -> None:
        """Send one request; count what has to become of its readings."""
        batch = [self._next(kinds) for _ in range(self._random.randint(1, 20))]
        body = json.dumps([reading for reading, _ in batch]).encode()
        status, answer = await connection.ask("POST /api/readings", body, {"X-API-Key": INGEST_KEY})
        assert status in (200, 201, 202, 422), answer
        self.spooled += json.loads(answer)["spooled"]
        for reading, outcome in batch:
            self.told[reading["sensor_id"], outcome] += 1


async def ledger(server: Server) -> dict[str, dict[str, Any]]:
    connection = await Http.open(server)
    status, body = await connection.ask("GET /api/sensors", headers={"X-API-Key": READ_KEY})
    connection.close()
    assert status == 200, body
    return {sensor["sensor_id"]: sensor["counts"] for sensor in json.loads(body)["sensors"]}


def expected(*told: Counter[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    total: Counter[tuple[str, str]] = sum(told, Counter())
    return {
        sensor: {
            "received": sum(number for (name, _), number in total.items() if name == sensor),
            "stored": total[sensor, "stored"],
            "duplicate": total[sensor, "duplicate"],
            "conflict": total[sensor, "conflict"],
            "refused": {"clock_not_set": total[sensor, "clock_not_set"]},
            "spooled": 0,
        }
        for sensor in SENSORS
    }


async def becomes(server: Server, counts: dict[str, dict[str, Any]]) -> None:
    """Return as soon as the ledger says so; fail with what it says instead."""
    found = await ledger(server)
    with suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while found != counts:
                await asyncio.sleep(0.05)
                found = await ledger(server)
    assert found == counts


async def follower(server: Workers, postgres: Postgres, database: str) -> psutil.Process:
    """The worker that follows, as soon as there is one."""

    def find() -> list[psutil.Process]:
        ports = {port for (port,) in postgres.execute(FOLLOWS, database=database)}
        return [
            worker
            for worker in server.workers()
            if ports & {c.laddr.port for c in worker.net_connections("tcp4")}
        ]

    await eventually(lambda: len(find()) == 1, SECONDS)
    return find()[0]


async def test_counts_are_exact_though_the_follower_is_killed(
    server: Workers, postgres: Postgres, database: str
) -> None:
    senders = [Sender(seed) for seed in range(4)]
    told = [sender.told for sender in senders]

    async def mixed_load() -> None:
        async with on_each(server, 2) as connections:
            both = [one for mine in connections.values() for one in mine]
            for _ in range(15):
                await asyncio.gather(*map(Sender.send, senders, both))

    await mixed_load()
    await becomes(server, expected(*told))
    follows = await follower(server, postgres, database)
    async with on_each(server) as connections:
        ((survivor,),) = (mine for pid, mine in connections.items() if pid != follows.pid)
        sending = asyncio.create_task(stored(senders[0], survivor, 60))
        await eventually(lambda: senders[0].stored_now > 5, SECONDS)
        await replaced(server, follows)
        await sending
    assert (await follower(server, postgres, database)).pid != follows.pid
    await mixed_load()
    await becomes(server, expected(*told))
    rows = postgres.execute(
        "SELECT s.sensor_id, count(*) FROM readings r JOIN sensors s ON s.id = r.sensor GROUP BY 1",
        database=database,
    )
    assert dict(rows) == {name: expected(*told)[name]["stored"] for name in SENSORS}


async def stored(sender: Sender, connection: Http, requests: int) -> None:
    for _ in range(requests):
        await sender.send(connection, ("stored",))
        sender.stored_now += 1


async def test_the_ledger_adds_up_over_the_spool_and_a_stop(tmp_path: Path) -> None:
    sender = Sender(1)
    with Postgres("15") as postgres, serving(tmp_path, DATABASE_URL=postgres.url()) as server:
        connection = await Http.open(server)
        for _ in range(10):
            await sender.send(connection)
        await becomes(server, expected(sender.told))
        postgres.stop()
        for _ in range(10):
            await sender.send(connection)
        postgres.start()
        wait_until(lambda: drained(server))
        # What was counted last is written at the stop, not after it.
        assert server.terminate() == 0
        server.start()
        found = await ledger(server)
        spooled = [found[name].pop("spooled") for name in SENSORS]
        wanted = expected(sender.told)
        for counts in wanted.values():
            del counts["spooled"]
        await until_followed(server, wanted)
        assert sum(spooled) == sender.spooled > 0
        connection.close()


async def until_followed(server: Server, wanted: dict[str, dict[str, Any]]) -> None:
    """As `becomes`, for all but what was spooled."""
    found: dict[str, dict[str, Any]] = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while found != wanted:
                found = await ledger(server)
                for counts in found.values():
                    del counts["spooled"]
                await asyncio.sleep(0.05)
    assert found == wanted
