"""`sensorflow doctor` with each thing that can be wrong.

Where nothing depends on the process, the program runs in this one: to start one takes far more than
what the doctor does in it.
"""

import io
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import chdir, closing, contextmanager, redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import pytest

from sensorflow.cli import main
from tests.load import wait_until
from tests.nginx import Nginx, running
from tests.ports import free_port
from tests.postgres import Postgres
from tests.servers import ADMIN_KEY, INGEST_KEY, PROGRAM, READ_KEY, Server, http

KEYS = {
    "API_KEY": "9f2c61d07ab34e58",
    "API_KEY_WS": "b81e4d2f6c0a9753",
    "ADMIN_KEY": "0c7d5e1a94f8b263",
}
READING = b'{"temperature": 1, "humidity": 2, "pressure": 3, "sensor_id": "a"}'


class Report:
    """What the doctor said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        assert err == "", err
        assert "\x1b" not in out, "colours where there is no terminal"
        for secret in (*KEYS.values(), INGEST_KEY, READ_KEY, ADMIN_KEY, "secret-word"):
            assert secret not in out
        self.code = code
        self.text = out
        *lines, blank, self.summary = out.splitlines()
        assert blank == ""
        self.lines = [(line[:9].strip(), line[9:21].strip(), line[21:]) for line in lines]
        faults = [line for line in self.lines if line[0] == "fault"]
        assert {level for level, _, _ in self.lines} <= {"pass", "warning", "fault"}
        assert self.code == (1 if faults else 0), out

    def said(self, level: str, about: str) -> str:
        """The one line of this kind."""
        (said,) = [text for this, what, text in self.lines if (this, what) == (level, about)]
        return said

    @property
    def bad(self) -> set[tuple[str, str]]:
        """What is not well, except for the machine's clock, which is not ours."""
        return {(level, what) for level, what, _ in self.lines if level != "pass"} - {
            ("warning", "clock")
        }


def environment(folder: Path, **variables: str) -> dict[str, str]:
    made = {
        "PATH": os.environ["PATH"],
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "DATA_DIR": str(folder / "data"),
        **KEYS,
        **variables,
    }
    return {name: value for name, value in made.items() if value}


def doctor(folder: Path, *arguments: str, **variables: str) -> Report:
    """In this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        chdir(folder),
        mock.patch.dict(os.environ, environment(folder, **variables), clear=True),
        mock.patch("sys.argv", ["sensorflow", "doctor", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert isinstance(ended.value.code, int)
    return Report(ended.value.code, out.getvalue(), err.getvalue())


def doctor_process(
    folder: Path,
    *arguments: str,
    before: Callable[[], None] | None = None,
    **variables: str,
) -> Report:
    """In one of its own."""
    result = subprocess.run(
        [PROGRAM, "doctor", *arguments],
        cwd=folder,
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=before,
    )
    return Report(result.returncode, result.stdout, result.stderr)


# Nothing wrong


def test_an_empty_folder_is_well(tmp_path: Path) -> None:
    report = doctor_process(tmp_path)
    assert report.bad == set()
    assert report.summary.startswith("no faults, ")
    assert "made at the first start" in report.said("pass", "DATA_DIR")
    assert not (tmp_path / "data").exists()


def test_a_running_server_is_well_also_through_its_address(tmp_path: Path) -> None:
    with Server(tmp_path, **KEYS) as server:
        http(
            server.port,
            "POST /api/temperature_reading",
            READING,
            {"X-API-Key": KEYS["API_KEY"], "Content-Length": str(len(READING))},
        )
        report = doctor_process(tmp_path, "--url", server.base, PORT=str(server.port))
        assert report.bad == set()
        assert "our server answers" in report.said("pass", "port")
        assert "stored" in report.said("pass", "ready")
        assert "none" in report.said("pass", "proxy")
        assert report.said("pass", "live stream") == "WebSockets get through."
        assert "up to date" in report.said("pass", "migrations")
        wrong = doctor_process(
            tmp_path, "--url", server.base, "--api-key-ws", "secret-word-of-another"
        )
        assert wrong.bad == {("fault", "live stream")}


def test_a_migrated_postgresql_is_well(tmp_path: Path, database: str) -> None:
    report = doctor_process(tmp_path, DATABASE_URL=database, WORKERS="2")
    assert report.bad == set()
    assert "version 15" in report.said("pass", "database")
    assert "up to date" in report.said("pass", "migrations")


# Settings


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"PORT": "abc"}, "PORT: "),
        ({"DATABASE_URL": "mysql://me:secret-word@db/x"}, "DATABASE_URL: "),
        ({"API_KEY": "short"}, "API_KEY: "),
    ],
)
def test_settings_that_cannot_be_right(
    tmp_path: Path, variables: dict[str, str], line: str
) -> None:
    report = doctor(tmp_path, **variables)
    assert report.said("fault", "settings").startswith(line)


def test_keys_that_everybody_knows_or_guesses(tmp_path: Path) -> None:
    report = doctor(
        tmp_path, API_KEY="SUA_CHAVE_SECRETA_AQUI", API_KEY_WS="aaaaaaaaaaaaaaaaaa", ADMIN_KEY=""
    )
    assert report.bad == {("warning", "keys")}
    assert "README's example" in report.text
    assert "API_KEY_WS is easy to guess" in report.text
    same = doctor(tmp_path, API_KEY=KEYS["API_KEY_WS"])
    assert "API_KEY and API_KEY_WS are the same" in same.said("warning", "keys")


def test_an_env_file_that_others_read_or_nobody(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("API_KEY=from-the-file-of-settings\n")
    path.chmod(0o644)
    assert doctor(tmp_path).bad == {("warning", ".env")}
    path.chmod(0o600)
    assert doctor(tmp_path).bad == set()
    path.write_bytes(b"API_KEY=\xff\xfe")
    assert ("fault", ".env") in doctor(tmp_path).bad
    path.unlink()
    path.mkdir()
    assert ("fault", ".env") in doctor(tmp_path).bad


# The disk


def test_a_data_dir_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    assert "cannot be written" in doctor(tmp_path).said("fault", "DATA_DIR")
    assert "cannot be written" in doctor(tmp_path, DATA_DIR="/proc/x").said("fault", "DATA_DIR")


def test_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    # As good as a full one, and it needs no file system of its own.
    # Nor may the interpreter write what it compiles: cut off there, no later program could start.
    report = doctor_process(
        tmp_path,
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)),
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert report.bad == {("fault", "DATA_DIR")}


def test_a_data_dir_that_others_may_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    assert doctor(tmp_path).bad == {("warning", "DATA_DIR")}


def test_what_waits_and_what_was_refused(tmp_path: Path, postgres: Postgres, database: str) -> None:
    with Server(tmp_path, DATABASE_URL=database) as server:
        postgres.drop_database(database)
        headers = {"X-API-Key": INGEST_KEY, "Content-Length": str(len(READING))}
        wait_until(
            lambda: b" 202 " in http(server.port, "POST /api/temperature_reading", READING, headers)
        )
        report = doctor(
            tmp_path,
            DATABASE_URL=database,
            PORT=str(server.port),
            API_KEY_WS=READ_KEY,
        )
        assert "does not exist" in report.said("fault", "database")
        assert "go to the spool" in report.said("warning", "ready")
        assert report.said("warning", "spool").startswith("1 readings (")
        server.kill()
    (server.data_dir / "quarantine.ndjson").write_text("{}\n{}\n{}\n")
    (server.data_dir / "spool" / "x.damaged").write_text("")
    report = doctor(tmp_path, DATABASE_URL=database)
    assert report.said("warning", "quarantine").startswith("3 readings ")
    assert "1 damaged segments" in report.text


def test_an_embedded_database_that_is_damaged_or_from_another_version(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.terminate() == 0
    path = server.data_dir / "sensorflow.db"
    for revision, level in (("0000", "warning"), ("9999", "fault")):
        with closing(sqlite3.connect(path)) as database:
            database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
            database.commit()
        assert doctor(tmp_path).bad == {(level, "migrations")}
    path.write_bytes(b"no database" * 1000)
    assert "cannot be read" in doctor(tmp_path).said("fault", "database")


# PostgreSQL


def test_a_wrong_password(tmp_path: Path, postgres: Postgres, empty_database: str) -> None:
    report = doctor(tmp_path, DATABASE_URL=empty_database.replace(postgres.password, "secret-word"))
    assert "password authentication failed" in report.said("fault", "database")


def test_a_database_that_is_not_there_or_does_not_answer(
    tmp_path: Path, postgres: Postgres
) -> None:
    report = doctor(tmp_path, DATABASE_URL=postgres.url("nothing"))
    assert "does not exist" in report.said("fault", "database")
    refused = f"postgresql://sensors:secret-word@127.0.0.1:{free_port()}/sensors"
    assert "cannot be used" in doctor(tmp_path, DATABASE_URL=refused).said("fault", "database")
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"postgresql://sensors:secret-word@127.0.0.1:{silent.getsockname()[1]}/sensors"
        report = doctor_process(tmp_path, DATABASE_URL=url)
        assert "does not answer" in report.said("fault", "database")


@pytest.mark.parametrize(
    ("sql", "bad"),
    [
        ("UPDATE alembic_version SET version_num = '0000'", ("warning", "migrations")),
        ("UPDATE alembic_version SET version_num = '9999'", ("fault", "migrations")),
        ("ALTER TABLE readings OWNER TO postgres", ("fault", "database")),
        ("ALTER SCHEMA public OWNER TO postgres", ("fault", "database")),
        (
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on',"
            " current_database()); END $$",
            ("fault", "database"),
        ),
    ],
    ids=["older", "newer", "owner", "privilege", "read-only"],
)
def test_a_database_that_is_not_fit(
    tmp_path: Path, postgres: Postgres, database: str, sql: str, bad: tuple[str, str]
) -> None:
    postgres.script(sql, database)
    assert doctor(tmp_path, DATABASE_URL=database).bad == {bad}


# The port and the address


@pytest.mark.parametrize("what", ["silent", "answering"])
def test_a_port_that_something_else_has(tmp_path: Path, what: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken, another() as answering:
        port = answering if what == "answering" else taken.getsockname()[1]
        report = doctor(tmp_path, PORT=str(port))
    assert "another program" in report.said("fault", "port")


def test_an_address_that_is_not_this_machines(tmp_path: Path) -> None:
    assert ("fault", "port") in doctor(tmp_path, HOST="no-such-host.invalid").bad


@contextmanager
def another(server: str = "nginx", health: bytes = b"hello") -> Iterator[int]:
    """An HTTP server that is not ours, or a proxy that knows nothing of WebSockets."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = health if self.path == "/healthz" else b""
            self.send_response_only(200 if self.path == "/healthz" else 404)
            self.send_header("Server", server)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield running.server_port
        finally:
            running.shutdown()
            thread.join()


def test_an_address_that_leads_elsewhere(tmp_path: Path) -> None:
    with another() as port:
        report = doctor(tmp_path, "--url", f"http://127.0.0.1:{port}")
        assert "does not lead to our server" in report.said("fault", "url")
    report = doctor(tmp_path, "--url", f"https://127.0.0.1:{free_port()}")
    assert "does not answer" in report.said("fault", "url")


def test_a_proxy_that_keeps_back_addresses_and_live_connections(tmp_path: Path) -> None:
    with another(health=b'{"status":"ok"}') as port:
        report = doctor(tmp_path, "--url", f"http://127.0.0.1:{port}")
    assert report.bad == {("warning", "proxy"), ("fault", "live stream")}
    assert "TRUSTED_PROXIES" in report.said("warning", "proxy")


SITE = """
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://127.0.0.1:{server};
        proxy_bind 127.0.0.3;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection upgrade;
        {tells}
    }}
}}
"""


@pytest.mark.parametrize(
    ("tells", "level", "said"),
    [
        ("proxy_set_header X-Forwarded-For $remote_addr;", "pass", "sees that 127.0.0.1 asks"),
        ("", "fault", "anybody can have readings carry any address"),
        ('proxy_set_header X-Forwarded-For "";', "pass", "is seen from other machines"),
    ],
)
def test_a_proxy_that_tells_who_asks_or_anything_or_nothing(
    tmp_path: Path, tells: str, level: str, said: str
) -> None:
    nginx = Nginx(tmp_path / "nginx")
    variables = {**KEYS, "TRUSTED_PROXIES": "127.0.0.3"}
    with Server(tmp_path, **variables) as server:
        site = SITE.format(port=nginx.http_port, server=server.port, tells=tells)
        nginx.write("sites-enabled/site.conf", site)
        with running(nginx, serves_tls=False):
            url = f"http://127.0.0.1:{nginx.http_port}"
            report = doctor(tmp_path, "--url", url, PORT=str(server.port), **variables)
    assert said in report.said(level, "proxy")
    assert report.said("pass", "live stream") == "WebSockets get through."


def test_the_doctor_changes_nothing(
    tmp_path: Path, empty_database: str, postgres: Postgres
) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    doctor(tmp_path, DATABASE_URL=empty_database)
    assert list(data.iterdir()) == []
    assert (
        postgres.execute(
            "SELECT 1 FROM pg_class WHERE relname = 'readings'", database=empty_database
        )
        == []
    )
    shutil.rmtree(data)
