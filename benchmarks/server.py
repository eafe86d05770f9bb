"""The processes that are measured: each started on loopback, and ended by its id."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
BUILD: Final = ROOT / "build" / "benchmarks"
"""On the project's own disk: a database in memory would flatter every figure."""

HOST: Final = "127.0.0.1"
API_KEY: Final = "benchmark-ingest-key"
API_KEY_WS: Final = "benchmark-read-key"

NCHAN: Final = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

START_TIMEOUT: Final = 30.0
STOP_TIMEOUT: Final = 25.0
"""Seconds; a little more than the server gives requests under way."""

RETRY_PAUSE: Final = 0.0005
"""Seconds between two attempts to connect: how exactly a start is timed."""

EXAMPLE: Final = (
    b'{"temperature":23.45,"humidity":56.78,"pressure":1013.25,"sensor_id":"sensor-00"}'
)


class BenchmarkError(Exception):
    """A measurement that could not be made."""


class MissingTool(Exception):
    """Something has to be installed first."""


@dataclass(frozen=True)
class Running:
    """A started process."""

    port: int
    spawned_at: float
    """`time.perf_counter()` just before the process was made."""
    pid: int


def tool(name: str, package: str) -> str:
    """The path of a program, or `MissingTool` with what to install."""
    path = shutil.which(name)
    if path is None:
        raise MissingTool(f"{name} is missing; install it: apt-get install {package}")
    return path


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the project's disk, removed afterwards."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="run-") as folder:
        yield Path(folder)


@contextmanager
def sensorflow(
    folder: Path,
    problems: list[str],
    variables: Mapping[str, str],
    program: Sequence[str] | None = None,
) -> Iterator[Running]:
    """`sensorflow serve` with its DATA_DIR in `folder`, from a process's start to its end.

    `program` takes the place of the installed one. Whatever it logs as a warning or worse, and an
    exit code other than 0, is added to `problems`.
    """
    port = free_port()
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOST": HOST,
        "PORT": str(port),
        "DATA_DIR": str(folder),
        "API_KEY": API_KEY,
        "API_KEY_WS": API_KEY_WS,
        "LOG_FORMAT": "json",
        **variables,
    }
    installed = Path(sys.executable).parent / "sensorflow"
    if program is None and not installed.exists():
        raise MissingTool(f"{installed.name} is not installed beside this Python; run make bench")
    with started(
        [*(program or [str(installed)]), "serve"], port, folder, environment, problems
    ) as running:
        yield running


@contextmanager
def empty_app(folder: Path, size: int, problems: list[str]) -> Iterator[Running]:
    """`peers/empty.py`, answering with `size` bytes."""
    with _peer("empty.py", folder, problems, str(size)) as running:
        yield running


@contextmanager
def one_commit_app(folder: Path, url: str, problems: list[str]) -> Iterator[Running]:
    """`peers/one_commit.py`, with its table in the PostgreSQL database at `url`."""
    with _peer("one_commit.py", folder, problems, url) as running:
        yield running


@contextmanager
def nchan(folder: Path, problems: list[str]) -> Iterator[Running]:
    """Nginx with the nchan module, two workers, at the same paths as ours; ready."""
    nginx = tool("nginx", "libnginx-mod-nchan")
    if not NCHAN.exists():
        raise MissingTool("nchan is missing; install it: apt-get install libnginx-mod-nchan")
    port = free_port()
    text = (HERE / "peers" / "nchan.conf").read_text()
    config = folder / "nginx.conf"
    for name, value in {"MODULE": NCHAN, "FOLDER": folder, "PORT": port}.items():
        text = text.replace(f"@{name}@", str(value))
    config.write_text(text)
    command = [nginx, "-c", str(config), "-e", str(folder / "error.log")]
    with started(command, port, folder, {"PATH": os.defpath}, problems) as running:
        first_accepted(running, status=202)  # nobody subscribes yet
        yield running


@contextmanager
def _peer(name: str, folder: Path, problems: list[str], argument: str) -> Iterator[Running]:
    port = free_port()
    command = [sys.executable, str(HERE / "peers" / name), str(port), argument]
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    with started(command, port, folder, environment, problems) as running:
        yield running


@contextmanager
def started(
    command: Sequence[str],
    port: int,
    folder: Path,
    environment: dict[str, str],
    problems: list[str],
) -> Iterator[Running]:
    """A process that serves on `port`, ended in the end; its log is in `folder`.

    `command` is a program with one argument, or an interpreter with what it runs. Every line of
    the log that is no ordinary news is added to `problems`.
    """
    name = Path(command[0] if len(command) == 2 else command[1]).name
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        spawned_at = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
        try:
            yield Running(port, spawned_at, process.pid)
        except BenchmarkError as error:
            raise BenchmarkError(f"{error}\n{name} said: {_tail(log)}") from error
        finally:
            early = process.poll()
            _end(process)
    if early is not None:
        problems.append(f"{name} ended by itself with {early}: {_tail(log)}")
    elif name == "sensorflow" and process.returncode != 0:
        problems.append(f"{name} was asked to stop and exited with {process.returncode}")
    problems += [f"{name} logged: {line}" for line in _complaints(log)]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_TIMEOUT)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:].strip() or "(nothing)"


def _complaints(log: Path) -> list[str]:
    """The first lines of the log that are no news of ordinary running."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        try:
            level = json.loads(line).get("level")
        except (ValueError, AttributeError):
            level = "unknown"
        if line.strip() and level not in ("debug", "info"):
            found.append(line[:300])
    return found[:5]


def free_port() -> int:
    """A port that is free now."""
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def first_accepted(running: Running, status: int = 201) -> tuple[float, bytes]:
    """When the first reading was answered with 201 (`time.perf_counter()`), and the answer's body.

    Tries to connect and to send it until then; refused connections and 503 are expected.
    """
    request = (
        b"POST /api/temperature_reading HTTP/1.1\r\nHost: %b\r\nX-API-Key: %b\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
    ) % (HOST.encode(), API_KEY.encode(), len(EXAMPLE), EXAMPLE)
    deadline = running.spawned_at + START_TIMEOUT
    while time.perf_counter() < deadline:
        try:
            answer = _exchange(running.port, request)
        except OSError:
            answer = b""
        now = time.perf_counter()
        if answer.startswith(b"HTTP/1.1 %d " % status):
            return now, answer.partition(b"\r\n\r\n")[2]
        if answer and not answer.startswith(b"HTTP/1.1 503 "):
            raise BenchmarkError(f"the first reading was answered with {answer[:500]!r}")
        time.sleep(RETRY_PAUSE)
    raise BenchmarkError(f"no reading was accepted within {START_TIMEOUT:.0f} s of the start")


def _exchange(port: int, request: bytes) -> bytes:
    with closing(socket.create_connection((HOST, port), timeout=5.0)) as connection:
        connection.sendall(request)
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
        return b"".join(parts)


def stored_rows(rows: Callable[[], int]) -> int:
    """How many readings are in the database, once their number stands still."""
    before = -1
    deadline = time.monotonic() + STOP_TIMEOUT
    while time.monotonic() < deadline:
        now = rows()
        if now == before:
            return now
        before = now
        time.sleep(0.1)
    raise BenchmarkError("readings were still being stored long after the load had ended")
