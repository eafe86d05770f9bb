"""The real program over a PostgreSQL that is killed, stopped, frozen, full, or gone.

In each test, in the end, every reading that was acknowledged is in the database, once, and every
answer has come within three seconds.
"""

import json
import os
import random
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest

from tests.helpers import promised
from tests.load import (
    ANSWERED_WITHIN,
    SPOOLED,
    STORED,
    Load,
    check,
    drained,
    health,
    loaded,
    wait_until,
)
from tests.postgres import PASSWORD, ROLE, Postgres
from tests.servers import ADMIN_KEY, INGEST_KEY, READ_KEY, Server, http, serving

RETURN_WITHIN = 5.0
"""Seconds until readings are stored again, from when PostgreSQL is back."""

long = pytest.mark.long


@contextmanager
def running(
    folder: Path, version: str = "15", **variables: str
) -> Iterator[tuple[Postgres, Server]]:
    with Postgres(version) as postgres:
        postgres.make_tables(postgres.url())
        with serving(folder, DATABASE_URL=postgres.url(), **variables) as server:
            yield postgres, server


def events(server: Server, *names: str) -> list[str]:
    """What the log says of these, in its order."""
    entries = [json.loads(line) for line in server.log.read_text().splitlines()]
    return [entry["event"] for entry in entries if entry["event"] in names]


AWAY = "the database is away; readings go to the spool"
BACK = "the database is back"


def reading(serial: int, temperature: float = 20.0) -> bytes:
    body = {"temperature": temperature, "humidity": 50, "pressure": 1000, "sensor_id": "a"}
    return json.dumps({**body, "serial": serial}).encode()


def answer_to(
    server: Server, body: bytes, route: str = "/api/temperature_reading"
) -> tuple[bytes, bytes]:
    """Head and body of the response to what is posted."""
    headers = {
        "X-API-Key": INGEST_KEY,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    answer = http(server.port, f"POST {route}", body, headers)
    head, _, content = answer.partition(b"\r\n\r\n")
    return head, content


def post(server: Server, body: bytes) -> tuple[int, dict[str, object]]:
    head, content = answer_to(server, body)
    return int(head.split(b" ")[1]), json.loads(content)


def metric(server: Server, name: str) -> float:
    text = http(server.port, "GET /metrics", headers={"X-API-Key": READ_KEY}).decode()
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
    return float(line.rpartition(" ")[2])


# Kills


def kill_the_server(folder: Path, rounds: int, version: str = "15") -> str:
    moments = random.Random(3)
    with running(folder, version) as (postgres, server):
        with loaded(server) as load:
            for number in range(rounds):
                load.wait_for(STORED)
                if number % 2:
                    postgres.stop("immediate")
                    load.wait_for(SPOOLED)
                time.sleep(moments.uniform(0, 0.3))
                server.kill()
                if number % 2:
                    postgres.start()
                server.start()
        wait_until(lambda: drained(server))
        check(postgres, load.sent)
    return f"{load.sent.counts()}, {len(load.sent.unanswered)} without an answer"


@pytest.mark.parametrize("version", ["15", "18"])
def test_a_killed_server_loses_nothing(tmp_path: Path, version: str) -> None:
    kill_the_server(tmp_path, 2, version)


@long
@pytest.mark.timeout(900)
def test_a_server_killed_twenty_times_loses_nothing(tmp_path: Path) -> None:
    print(f"\n20 x kill -9 of the server on PostgreSQL: {kill_the_server(tmp_path, 20)}")


def kill_postgres(folder: Path, rounds: int, version: str = "15") -> str:
    moments = random.Random(5)
    returns = []
    with running(folder, version) as (postgres, server):
        pid = server.process.pid
        with loaded(server) as load:
            for _ in range(rounds):
                load.wait_for(STORED)
                time.sleep(moments.uniform(0, 0.3))
                postgres.kill()
                load.wait_for(SPOOLED)
                postgres.start()
                returns.append(load.wait_for(STORED))
                assert returns[-1] < RETURN_WITHIN
        wait_until(lambda: drained(server))
        assert server.process.pid == pid
        assert server.process.poll() is None
        check(postgres, load.sent)
    return (
        f"{load.sent.counts()}, slowest answer {load.sent.slowest:.2f} s,"
        f" stored again after at most {max(returns):.2f} s"
    )


@pytest.mark.parametrize("version", ["15", "18"])
def test_a_killed_database_costs_nothing(tmp_path: Path, version: str) -> None:
    kill_postgres(tmp_path, 2, version)


@long
@pytest.mark.timeout(900)
def test_a_database_killed_twenty_times_costs_nothing(tmp_path: Path) -> None:
    print(f"\n20 x kill -9 of PostgreSQL: {kill_postgres(tmp_path, 20)}")


def kill_amid_large_requests(folder: Path, rounds: int, version: str = "15") -> str:
    """Kill the database and the server in turns; who gets no answer sends the same once more."""
    moments = random.Random(7)
    said: Counter[int] = Counter()
    ends = threading.Event()

    def send(sender: str) -> int:
        """Requests of 1,000 readings that are alike, one after another; how many there were."""
        for number in count():
            if ends.is_set():
                return number
            first = 1_769_860_800_000 + number * 1_000
            body = json.dumps(
                [
                    {"sensor_id": sender, "recorded_at": first + n, "temperature": n, "humidity": 5}
                    for n in range(1_000)
                ]
            ).encode()
            while True:
                with suppress(OSError):
                    head, _ = answer_to(server, body, "/api/readings")
                    if head.startswith(b"HTTP/1.1 20"):
                        break
                time.sleep(0.05)  # as a device would, before it sends again
            said[int(head.split(b" ")[1])] += 1
        return 0

    with running(folder, version) as (postgres, server), ThreadPoolExecutor(4) as pool:
        senders = {f"line-{n}": pool.submit(send, f"line-{n}") for n in range(4)}
        try:
            for number in range(rounds):
                before = said[STORED]
                wait_until(lambda: said[STORED] > before + 4)  # noqa: B023
                time.sleep(moments.uniform(0, 0.1))
                if number % 2:
                    server.kill()
                    server.start()
                else:
                    postgres.kill()
                    before = said[SPOOLED]
                    wait_until(lambda: said[SPOOLED] > before + 4)  # noqa: B023
                    postgres.start()
        finally:
            ends.set()
        sent = {sender: requests.result() * 1_000 for sender, requests in senders.items()}
        wait_until(lambda: drained(server))
        found = postgres.execute(
            "SELECT sensor_id, count(*), count(DISTINCT recorded_at)"
            " FROM readings JOIN sensors s ON s.id = sensor GROUP BY 1"
        )
        assert {sensor: (rows, times) for sensor, rows, times in found} == {
            sender: (number, number) for sender, number in sent.items()
        }
    return f"{sum(sent.values())} readings in requests of 1,000, answered {said}"


def test_large_requests_amid_kills_are_stored_once(tmp_path: Path) -> None:
    kill_amid_large_requests(tmp_path, 2)


@long
@pytest.mark.timeout(900)
def test_large_requests_amid_twenty_kills_are_stored_once(tmp_path: Path) -> None:
    print(f"\n20 x kill -9 amid large requests: {kill_amid_large_requests(tmp_path, 20)}")


SLOW_COMMITS = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(0.1);
    RETURN NEW;
END $$;
CREATE TRIGGER slow BEFORE INSERT ON commits FOR EACH ROW EXECUTE FUNCTION slow();
"""
"""So that a kill while draining is a kill in the middle of a commit."""


def kill_while_draining(folder: Path, rounds: int) -> str:
    """The server and PostgreSQL in turn."""

    def draining() -> bool:
        drained_now = metric(server, "sensorflow_drained_readings_total")
        return drained_now > before and health(server)["spool"]["readings"] > 0

    with running(folder) as (postgres, server):
        postgres.script(SLOW_COMMITS)
        with loaded(server, pause=0.0) as load:
            for number in range(rounds):
                postgres.stop()
                load.wait_for(SPOOLED, 3_000)
                before = metric(server, "sensorflow_drained_readings_total")
                postgres.start()
                wait_until(draining)
                if number % 2:
                    postgres.kill()
                    postgres.start()
                else:
                    server.kill()
                    server.start()
        wait_until(lambda: drained(server))
        check(postgres, load.sent)
        assert not list((server.data_dir / "spool").glob("*/*.segment"))
    return str(load.sent.counts())


def test_killed_while_draining_each_reading_is_stored_once(tmp_path: Path) -> None:
    kill_while_draining(tmp_path, 2)


@long
@pytest.mark.timeout(900)
def test_killed_again_and_again_while_draining(tmp_path: Path) -> None:
    print(f"\n10 x kill -9 while draining: {kill_while_draining(tmp_path, 10)}")


# Outages


def outage(folder: Path, seconds: float, version: str = "15") -> str:
    with running(folder, version) as (postgres, server):
        with loaded(server) as load:
            postgres.stop()
            load.wait_for(SPOOLED)
            time.sleep(seconds)
            state = health(server)
            assert state["status"] == "spooling"
            assert not state["database"]["available"]
            assert state["spool"]["readings"] >= 20
            waiting = state["spool"]["readings"]
            postgres.start()
            load.wait_for(STORED)
        drained_after = wait_until(lambda: drained(server))
        check(postgres, load.sent)
        assert events(server, BACK) == [BACK]
        spool = server.data_dir / "spool"
        server.terminate()
        assert not list(spool.iterdir())
    return (
        f"{load.sent.counts()}, {waiting} waited, slowest answer {load.sent.slowest:.2f} s,"
        f" drained {drained_after:.1f} s after the first reading was stored again"
    )


@pytest.mark.parametrize("version", ["15", "18"])
def test_readings_wait_while_the_database_is_stopped(tmp_path: Path, version: str) -> None:
    outage(tmp_path, 1, version)


@long
@pytest.mark.timeout(300)
def test_readings_wait_for_a_minute(tmp_path: Path) -> None:
    print(f"\nPostgreSQL stopped for 60 s: {outage(tmp_path, 60)}")


def hang(folder: Path, rounds: int, version: str = "15") -> str:
    """For less and for more than a commit is waited for."""
    with running(folder, version) as (postgres, server):
        with loaded(server) as load:
            for number in range(rounds):
                postgres.pause()
                if number % 2:
                    time.sleep(0.7)
                else:
                    load.wait_for(SPOOLED)
                postgres.resume()
                load.wait_for(STORED)
        wait_until(lambda: drained(server))
        check(postgres, load.sent)
    return f"{load.sent.counts()}, slowest answer {load.sent.slowest:.2f} s"


@pytest.mark.parametrize("version", ["15", "18"])
def test_a_database_that_hangs_holds_nobody_up(tmp_path: Path, version: str) -> None:
    hang(tmp_path, 2, version)


@long
@pytest.mark.timeout(300)
def test_a_database_that_hangs_again_and_again(tmp_path: Path) -> None:
    print(f"\n20 x PostgreSQL frozen: {hang(tmp_path, 20)}")


def test_whoever_asks_is_answered_while_the_database_hangs(tmp_path: Path) -> None:
    read, admin = {"X-API-Key": READ_KEY}, {"X-API-Key": ADMIN_KEY}
    name = b'{"name": "A"}'
    asked = {
        "GET /readyz": (b"", read, {200, 503}),
        "GET /metrics": (b"", read, {200}),
        "GET /api/readings?sensor_id=a": (b"", read, {503}),
        "GET /api/readings?format=csv": (b"", read, {503}),
        "GET /api/series?sensor_id=a&measurement=temperature": (b"", read, {503}),
        "GET /api/sensors": (b"", read, {503}),
        "GET /api/sensors/a": (b"", read, {503}),
        "GET /api/storage": (b"", read, {503}),
        "PATCH /api/sensors/a": (
            name,
            {**admin, "Content-Type": "application/json", "Content-Length": str(len(name))},
            {503},
        ),
    }

    def ask(head: str) -> tuple[str, int, float]:
        body, headers, _ = asked[head]
        started = time.monotonic()
        answer = http(server.port, head, body, headers)
        return head, int(answer.split(b" ")[1]), time.monotonic() - started

    with running(tmp_path) as (postgres, server):
        assert post(server, reading(1))[0] == STORED
        for head in asked:
            assert ask(head)[1] in (200, 204), head
        postgres.pause()
        with ThreadPoolExecutor(len(asked)) as askers:
            answers = list(askers.map(ask, asked))
        postgres.resume()
        wait_until(lambda: drained(server))
    for head, status, seconds in answers:
        assert status in asked[head][2], (head, status)
        assert seconds < promised(ANSWERED_WITHIN), head


def test_the_server_starts_without_the_database(tmp_path: Path) -> None:
    with Postgres("15") as postgres:
        postgres.stop()
        with serving(tmp_path, DATABASE_URL=postgres.url()) as server:
            assert post(server, reading(1))[0] == SPOOLED
            assert health(server)["status"] == "spooling"
            assert events(server, AWAY, BACK) == [AWAY]
            postgres.start()
            wait_until(lambda: drained(server), RETURN_WITHIN)
            status, receipt = post(server, reading(2))
            assert (status, receipt["id"]) == (STORED, 2)
            assert events(server, AWAY, BACK)[-1] == BACK
        serials = postgres.execute("SELECT (extra->>'serial')::float FROM readings ORDER BY id")
        assert serials == [(1,), (2,)]


# Stops


@pytest.mark.parametrize("away", [False, True])
def test_a_stop_under_load_answers_what_was_read(tmp_path: Path, away: bool) -> None:
    with running(tmp_path) as (postgres, server):
        with loaded(server, pause=0.0) as load:
            if away:
                postgres.stop()
                load.wait_for(SPOOLED)
            assert server.terminate() == 0
            sent = load.stop()
        # What the server had not read yet when it closed the connection is all that may be left,
        # and is not stored.
        assert len(sent.unanswered) <= len(load._senders)
        if away:
            postgres.start()
        server.start()
        wait_until(lambda: drained(server))
        check(postgres, sent)
        rows = postgres.execute("SELECT (extra->>'serial')::float FROM readings")
        assert {int(serial) for (serial,) in rows} == sent.acknowledged
        assert set(sent.counts()) <= {STORED, SPOOLED, 503}


# What the database refuses


def test_one_bad_row_fails_alone(tmp_path: Path) -> None:
    with running(tmp_path) as (postgres, server):
        postgres.execute("ALTER TABLE readings ADD CHECK (temperature < 1000)")
        with loaded(server, pause=0.0) as load:
            for number in range(20):
                status, problem = post(server, reading(-number, temperature=2000))
                assert (status, problem["reason"]) == (422, "storage_refused")
        check(postgres, load.sent)
        assert set(load.sent.counts()) == {STORED}
        assert metric(server, 'sensorflow_refusals_total{reason="storage_refused"}') == 20


def test_one_bad_row_of_a_thousand_fails_alone(tmp_path: Path) -> None:
    with running(tmp_path) as (postgres, server):
        postgres.execute("ALTER TABLE readings ADD CHECK (temperature < 1000)")
        readings = [
            {"sensor_id": "s", "recorded_at": 1_769_860_800 + n, "temperature": n % 999.5}
            for n in range(1_000)
        ]
        readings[700]["temperature"] = 2_000
        head, body = answer_to(server, json.dumps(readings).encode(), "/api/readings")
        told = json.loads(body)
        assert head.startswith(b"HTTP/1.1 201 ")
        assert (told["stored"], told["refused"]) == (999, 1)
        assert [(one["index"], one["reason"]) for one in told["readings"]] == [
            (700, "storage_refused")
        ]
        assert postgres.execute("SELECT count(*), max(temperature) FROM readings") == [(999, 999.0)]


def test_a_bad_row_that_was_spooled_is_set_aside(tmp_path: Path) -> None:
    with running(tmp_path) as (postgres, server):
        with loaded(server) as load:
            postgres.execute("ALTER TABLE readings ADD CHECK (temperature < 1000)")
            postgres.stop()
            load.wait_for(SPOOLED)
            assert post(server, reading(-1, temperature=2000))[0] == SPOOLED
            load.wait_for(SPOOLED)
            postgres.start()
            load.wait_for(STORED)
        wait_until(lambda: drained(server))
        check(postgres, load.sent)
        (line,) = (server.data_dir / "quarantine.ndjson").read_text().splitlines()
        kept = json.loads(line)
        assert kept["reason"] == "storage_refused"
        assert kept["reading"]["measurements"]["serial"] == -1
        assert metric(server, "sensorflow_quarantined_readings_total") == 1


# A database that answers, and cannot store


def expect_spooling(load: Load, server: Server) -> None:
    load.wait_for(SPOOLED)
    assert health(server)["status"] == "spooling"


def end_sessions(postgres: Postgres) -> None:
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", ROLE
    )


def test_a_read_only_database_is_away(tmp_path: Path) -> None:
    with running(tmp_path) as (postgres, server):
        with loaded(server) as load:
            postgres.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            postgres.execute("SELECT pg_reload_conf()")
            expect_spooling(load, server)
            postgres.execute("ALTER SYSTEM RESET default_transaction_read_only")
            postgres.execute("SELECT pg_reload_conf()")
            load.wait_for(STORED)
        wait_until(lambda: drained(server))
        check(postgres, load.sent)


def test_a_changed_password_makes_it_away(tmp_path: Path) -> None:
    with running(tmp_path) as (postgres, server):
        with loaded(server) as load:
            postgres.execute(f"ALTER ROLE {ROLE} PASSWORD 'another'")
            end_sessions(postgres)
            expect_spooling(load, server)
            wait_until(lambda: "password authentication failed" in server.log.read_text())
            postgres.execute(f"ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'")
            load.wait_for(STORED)
        wait_until(lambda: drained(server))
        check(postgres, load.sent)
        assert PASSWORD not in server.log.read_text()


@contextmanager
def small_disk() -> Iterator[Path]:
    if os.geteuid() != 0:
        message = "only root can mount a small disk"
        if os.environ.get("REQUIRE_SYSTEM_TESTS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    with tempfile.TemporaryDirectory() as folder:
        # Its user, who is another, has to get in.
        Path(folder).chmod(0o755)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def fill(ballast: Path) -> None:
    """Leave no room on the disk."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 65_536):
            pass


def stored_again(postgres: Postgres, load: Load) -> bool:
    if not postgres.running:
        postgres.start()
    return load.gets(STORED)


def test_a_full_disk_of_the_database_makes_it_away(tmp_path: Path) -> None:
    with (
        small_disk() as disk,
        Postgres("15", base=disk, max_wal_size="64MB") as postgres,
        serving(tmp_path, DATABASE_URL=postgres.url()) as server,
    ):
        with loaded(server, pause=0.0) as load:
            ballast = disk / "ballast"
            fill(ballast)
            expect_spooling(load, server)
            ballast.unlink()
            # It may have ended itself, or be about to, since its log could not be written.
            wait_until(lambda: stored_again(postgres, load))
        wait_until(lambda: drained(server))
        check(postgres, load.sent)


def test_a_full_spool_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    with running(tmp_path, SPOOL_MAX_MB="1") as (postgres, server):
        with loaded(server, pause=0.0) as load:
            postgres.stop()
            load.wait_for(503)
            # Larger than any batch that was refused: a small one might still fit.
            large = {f"{n:02}".rjust(64, "m"): n for n in range(60)}
            head, problem = answer_to(
                server, json.dumps({**json.loads(reading(-1)), **large}).encode()
            )
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 5" in head
            assert json.loads(problem)["reason"] == "storage_unavailable"
            assert health(server)["status"] == "unavailable"
            assert http(server.port, "GET /readyz").startswith(b"HTTP/1.1 503 ")
            size = sum(f.stat().st_size for f in (server.data_dir / "spool").glob("*/*.segment"))
            assert size <= 2**20
            postgres.start()
            load.wait_for(STORED)
        wait_until(lambda: drained(server))
        check(postgres, load.sent)
