"""Backups of the real program under load, and what a restore makes of ids and readings."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.load import drained, moment, wait_until
from tests.nginx import ROOT
from tests.postgres import ROLE, SUPERUSER, VERSIONS, Postgres, shared
from tests.servers import INGEST_KEY, PROGRAM, Server, http

STORED, SPOOLED, DUPLICATE = 201, 202, 200
DEPLOYMENT = (ROOT / "docs/deployment.md").read_text()


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


@dataclass
class Sender:
    """Sends readings with a time of their own, one connection each; keeps what was answered."""

    server: Server
    ids: dict[int, int] = field(default_factory=dict)
    """Of each reading that was stored, by its number."""
    spooled: set[int] = field(default_factory=set)
    sent: int = 0

    def send(self, n: int) -> int:
        """The status; the id of what is stored or known is kept, and checked."""
        body = {
            "sensor_id": f"sensor-{n % 5}",
            "temperature": n,
            "humidity": 50,
            "pressure": 1000,
            "recorded_at": moment(n),
        }
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        headers = {"X-API-Key": INGEST_KEY, "Content-Type": "application/json"}
        with closing(connection):
            connection.request("POST", "/api/temperature_reading", json.dumps(body), headers)
            response = connection.getresponse()
            receipt = json.load(response)
        if response.status == STORED:
            assert receipt["id"] not in self.ids.values(), "this id was given before"
            self.ids[n] = receipt["id"]
        elif response.status == SPOOLED:
            self.spooled.add(n)
        else:
            assert response.status == DUPLICATE, receipt
            assert receipt["id"] == self.ids[n]
        return response.status

    def next(self) -> int:
        self.sent += 1
        return self.send(self.sent)

    def several(self, count: int = 20) -> set[int]:
        return {self.next() for _ in range(count)}

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Send without a pause meanwhile, and some before and after it."""
        stop, failures = threading.Event(), []

        def work() -> None:
            try:
                while not stop.is_set():
                    self.next()
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=work)
        thread.start()
        before = self.sent
        try:
            wait_until(lambda: self.sent > before + 10 or bool(failures))
            yield
            after = self.sent
            wait_until(lambda: self.sent > after + 10 or bool(failures))
        finally:
            stop.set()
            thread.join()
        assert not failures, failures

    def send_all_again(self, rows: dict[int, int]) -> None:
        """What is stored is known under its id; what the backup lacks is stored under a new one."""
        for n in range(1, self.sent + 1):
            status = self.send(n)
            assert status == (DUPLICATE if n in rows else STORED), n


SELECT = "SELECT r.temperature, r.id, s.sensor_id FROM readings r JOIN sensors s ON s.id = r.sensor"


def numbered(rows: list[tuple[object, ...]]) -> dict[int, int]:
    """The ids of the readings by their number, each once, each of its own sensor."""
    ids = {int(str(number).split(".")[0]): int(str(pk)) for number, pk, _ in rows}
    assert len(ids) == len(rows)
    assert all(
        sensor == f"sensor-{int(str(number).split('.')[0]) % 5}" for number, _, sensor in rows
    )
    return ids


def test_sqlite_is_backed_up_under_load_and_restored(tmp_path: Path) -> None:
    copy = tmp_path / "copies" / "sensorflow.db"
    copy.parent.mkdir()
    with Server(tmp_path) as server:
        sender = Sender(server)
        sender.several()
        acknowledged = set(sender.ids)
        with sender.going_on():
            assert str(copy) in done(server.run("db", "backup", copy))
            done(server.run("db", "backup", copy))  # in the place of the first
        assert [path.name for path in copy.parent.iterdir()] == [copy.name]
        with closing(sqlite3.connect(copy)) as database:
            kept = numbered(database.execute(SELECT).fetchall())
        assert acknowledged <= kept.keys() < sender.ids.keys()
        assert kept.items() <= sender.ids.items()

        refused = server.run("db", "restore", copy)
        assert (refused.returncode, "another sensorflow process" in refused.stderr) == (2, True)
        assert server.terminate() == 0
        before = server.rows("SELECT count(*) FROM readings")
        assert "1,000,000,000,001" in done(server.run("db", "restore", copy))
        assert numbered(server.rows(SELECT)) == kept
        with closing(sqlite3.connect(server.data_dir / "sensorflow.db.replaced")) as database:
            assert database.execute("SELECT count(*) FROM readings").fetchall() == before

        server.start()
        assert sender.several(1) == {STORED}
        assert sender.ids[sender.sent] == 10**12 + 1
        kept[sender.sent] = sender.ids[sender.sent]
        sender.send_all_again(kept)
        assert numbered(server.rows(SELECT)) == sender.ids
        assert server.terminate() == 0
        # The same for who restores by copying.
        assert "2,000,000,000,001" in done(server.run("db", "restored"))
        server.start()
        assert sender.several(1) == {STORED}
        assert sender.ids[sender.sent] == 2 * 10**12 + 1


def test_what_is_no_copy_is_not_restored(tmp_path: Path) -> None:
    copy, whole = tmp_path / "copy.db", tmp_path / "whole.db"
    with Server(tmp_path) as server:
        Sender(server).several(200)
        done(server.run("db", "backup", whole))
        assert server.terminate() == 0
        before = numbered(server.rows(SELECT))
        for what in ("text", "torn", "foreign", "absent"):
            copy.unlink(missing_ok=True)
            if what == "text":
                copy.write_text("no database")
            elif what == "torn":
                shutil.copy(whole, copy)
                size = copy.stat().st_size
                with copy.open("r+b") as file:
                    file.seek(size // 2)
                    file.write(b"\xff" * (size // 4))
            elif what == "foreign":
                with closing(sqlite3.connect(copy)) as database:
                    database.execute("CREATE TABLE another (id INTEGER)")
            refused = server.run("db", "restore", copy)
            assert refused.returncode == 2, what
            assert refused.stderr.startswith("sensorflow: "), what
            assert len(refused.stderr.splitlines()) == 1, what
            assert numbered(server.rows(SELECT)) == before, what
            assert not list(server.data_dir.glob("*.new*")), what
        server.start()


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_postgresql_has_its_own_tools(tmp_path: Path, command: str) -> None:
    server = Server(tmp_path, DATABASE_URL="postgresql://user:secret-word@127.0.0.1/nothing")
    refused = server.run("db", command, tmp_path / "copy.db")
    assert refused.returncode == 2
    assert "pg_" in refused.stderr
    assert "secret-word" not in refused.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_postgresql_is_backed_up_under_load_and_restored(tmp_path: Path, version: str) -> None:
    postgres = shared(version)
    database = postgres.create_database()
    name = database.rpartition("/")[2]
    dump = tmp_path / "sensors.dump"
    with Server(tmp_path, DATABASE_URL=database) as server:
        sender = Sender(server)
        sender.several()
        acknowledged = set(sender.ids)
        with sender.going_on():
            tool(postgres, "pg_dump", "--format=custom", f"--file={dump}", database)
        assert sender.several() == {STORED}

        # The database goes; what is sent meanwhile is in the spool when the server stops.
        postgres.drop_database(database)
        wait_until(lambda: sender.next() == SPOOLED)
        assert sender.several(10) == {SPOOLED}
        assert server.terminate() == 0

        postgres.script(f"CREATE DATABASE {name} OWNER {ROLE}", "postgres")
        tool(postgres, "pg_restore", "--no-owner", f"--dbname={database}", str(dump))
        kept = numbered(postgres.execute(SELECT, database=database))
        assert acknowledged <= kept.keys() < sender.ids.keys()
        assert kept.items() <= sender.ids.items()
        assert "1,000,000,000,001" in done(server.run("db", "restored"))

        server.start()
        wait_until(lambda: drained(server))
        stored = numbered(postgres.execute(SELECT, database=database))
        assert stored.keys() == kept.keys() | sender.spooled
        new = {n: pk for n, pk in stored.items() if n not in kept}
        assert min(new.values()) == 10**12 + 1
        assert not set(new.values()) & set(sender.ids.values())
        sender.ids.update(new)
        assert sender.several(1) == {STORED}
        stored[sender.sent] = sender.ids[sender.sent]
        sender.send_all_again(stored)
        assert numbered(postgres.execute(SELECT, database=database)) == sender.ids
    postgres.drop_database(database)


def tool(postgres: Postgres, program: str, *arguments: str) -> None:
    """One of PostgreSQL's own programs."""
    subprocess.run(
        [postgres.programs / program, *arguments],
        env={"PATH": os.environ["PATH"]},
        check=True,
        timeout=60,
    )


# The lines of docs/deployment.md, as they stand there


def blocks(heading: str, language: str) -> list[str]:
    """The blocks of one section of docs/deployment.md, up to the next heading."""
    section = re.split(r"^##", DEPLOYMENT.split(f"\n{heading}\n")[1], flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def follow(server: Server, block: str, **environment: str) -> None:
    """Run a block of the page, with the program on the path and the server's settings."""
    path = f"{PROGRAM.parent}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", block],
        cwd=server.folder,
        env={
            **{name: value for name, value in server.environment().items() if value},
            **environment,
            "PATH": path,
        },
        timeout=60,
        check=True,
    )


def test_the_pages_lines_lead_to_a_database_and_bring_it_back(tmp_path: Path) -> None:
    (sql,) = blocks("## PostgreSQL", "sql")
    setting, *_ = blocks("## PostgreSQL", "sh")
    dump, restore = blocks("### PostgreSQL", "sh")
    with Postgres("15") as postgres:
        postgres.script(f"DROP DATABASE {ROLE}", SUPERUSER)
        postgres.script(f"DROP ROLE {ROLE}", SUPERUSER)
        superuser = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(postgres.port),
            "PGUSER": SUPERUSER,
            "PGPASSWORD": postgres.password,
        }
        url = setting.strip().removeprefix("DATABASE_URL=")
        here = url.replace("db.example.net:5432", f"127.0.0.1:{postgres.port}")
        assert here != url
        with Server(tmp_path, DATABASE_URL=here) as server:
            # It spools until there is a database.
            assert post(server) == SPOOLED
            follow(server, f"psql postgres <<'END'\n{sql}\nEND", **superuser)
            wait_until(lambda: drained(server))
            assert post(server) == STORED
            follow(server, dump)
            assert post(server) == STORED
            assert server.terminate() == 0
            follow(server, restore, **superuser)
            server.start()
            wait_until(lambda: drained(server))
            assert post(server) == STORED
            ids = postgres.execute("SELECT id FROM readings ORDER BY id")
    assert ids == [(1,), (2,), (1_000_000_000_001,)]


def test_the_pages_lines_bring_a_sqlite_file_back(tmp_path: Path) -> None:
    copy = tmp_path / "copies" / "sensorflow.db"
    copy.parent.mkdir()
    backup, restore = (
        block.replace("/var/backups/sensorflow.db", str(copy))
        for block in blocks("### SQLite", "sh")
    )
    with Server(tmp_path) as server:
        assert post(server) == STORED
        follow(server, backup)
        assert post(server) == STORED
        assert server.terminate() == 0
        follow(server, restore)
        server.start()
        assert post(server) == STORED
        assert server.rows("SELECT id FROM readings ORDER BY id") == [(1,), (1_000_000_000_001,)]


def post(server: Server) -> int:
    body = b'{"temperature": 20, "humidity": 50, "pressure": 1000, "sensor_id": "a"}'
    headers = {"X-API-Key": INGEST_KEY, "Content-Length": str(len(body))}
    return int(http(server.port, "POST /api/temperature_reading", body, headers).split(b" ")[1])
