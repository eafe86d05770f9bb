"""The real program, started for a test and ended by its id."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from tests.ports import free_port

PROGRAM = Path(sys.executable).parent / "sensorflow"

INGEST_KEY = "ingest-key-of-the-tests"
READ_KEY = "read-key-of-the-tests"
ADMIN_KEY = "admin-key-of-the-tests"

START_TIMEOUT = 60.0
"""Seconds for what takes one or two on an idle machine."""


class Server:
    """One `sensorflow serve` in `folder`, with its output in files there."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.output = folder / "output.txt"
        self.log = folder / "log.txt"
        self.arguments: list[str] = []
        """Of `serve`, beside the variables."""
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "DATA_DIR": str(self.data_dir),
            "API_KEY": INGEST_KEY,
            "API_KEY_WS": READ_KEY,
            "ADMIN_KEY": ADMIN_KEY,
            "LOG_FORMAT": "json",
            **self._variables,
        }

    def __enter__(self) -> "Server":
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    def launch(self) -> None:
        """Start the process, in a group of its own, without waiting for it to serve."""
        with self.output.open("ab") as output, self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "serve", *self.arguments],
                cwd=self.folder,
                env={k: v for k, v in self.environment().items() if v},
                stdout=output,
                stderr=log,
                process_group=0,
            )

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        self.launch()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when the launched process serves; fail where it ends before."""
        deadline = time.monotonic() + START_TIMEOUT
        while not self.is_ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base}/readyz", timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def terminate(self, timeout: float = 30.0) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def ctrl_c(self) -> None:
        """SIGINT to the process and its workers at once, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(60)

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Another command of the program, with the server's settings."""
        return subprocess.run(
            [PROGRAM, *map(str, arguments)],
            cwd=self.folder,
            env={name: value for name, value in self.environment().items() if value},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def rows(self, sql: str = "SELECT count(*) FROM readings") -> list[tuple[object, ...]]:
        """Ask the database itself, past the program."""
        path = self.data_dir / "sensorflow.db"
        connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


@contextmanager
def serving(folder: Path, **variables: str) -> Iterator[Server]:
    folder.mkdir(parents=True, exist_ok=True)
    with Server(folder, **variables) as server:
        yield server


def http(
    port: int, head: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """Send one request byte for byte over a new connection; return all that comes back."""
    fields = {"Host": f"127.0.0.1:{port}", "Connection": "close", **(headers or {})}
    lines = [f"{head} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)
