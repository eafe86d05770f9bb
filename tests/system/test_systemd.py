"""What systemd is told by the real program, and whether our unit is what systemd takes."""

import re
import signal
import socket
import struct
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sensorflow.cli.patience import Patience
from sensorflow.cli.serve import STOP_TIMEOUT
from sensorflow.storage.postgres.schema import MIGRATION_TIMEOUT
from tests.nginx import substituted
from tests.postgres import shared
from tests.requirements import require
from tests.servers import PROGRAM, START_TIMEOUT, Server

UNIT = Path(__file__).parents[2] / "deploy/systemd/sensorflow.service"


class Manager:
    """Stands for systemd: the socket on which a service reports."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.settimeout(START_TIMEOUT)
        self._socket.bind(address.replace("@", "\0", 1))

    def heard(self) -> tuple[str, int]:
        """The next report, and the process that it is from, as the kernel tells."""
        report, extra, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
        [(_, _, credentials)] = extra
        pid: int = struct.unpack("3i", credentials)[0]
        return report.decode(), pid

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a socket in the file system or, where a test asks for it, of an abstract one."""
    abstract = getattr(request, "param", "path") == "abstract"
    return f"@{uuid.uuid4()}" if abstract else str(tmp_path / "notify")


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    found = Manager(address)
    yield found
    found.close()


@pytest.fixture(params=[1, 2])
def variables(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Of a server with one process, and of one with two workers."""
    if request.param == 1:
        yield {}
        return
    database = shared("15")
    url = database.create_database()
    yield {"DATABASE_URL": url, "WORKERS": str(request.param)}
    database.drop_database(url)


@contextmanager
def launched(folder: Path, **variables: str) -> Iterator[Server]:
    """Started, but not waited for."""
    server = Server(folder, **variables)
    try:
        server.launch()
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize("address", ["path", "abstract"], indirect=True)
def test_the_process_that_was_started_says_when_it_serves_and_when_it_stops(
    tmp_path: Path, address: str, manager: Manager, variables: dict[str, str]
) -> None:
    with launched(tmp_path, NOTIFY_SOCKET=address, **variables) as server:
        assert manager.heard() == ("READY=1", server.process.pid)
        assert server.is_ready()
        server.process.send_signal(signal.SIGTERM)
        assert manager.heard() == ("STOPPING=1", server.process.pid)
        assert server.process.wait(START_TIMEOUT) == 0


def test_a_server_that_cannot_start_is_never_ready(
    tmp_path: Path, address: str, manager: Manager
) -> None:
    with launched(tmp_path, NOTIFY_SOCKET=address, TIMEZONE="Mars/Olympus") as server:
        assert server.process.wait(START_TIMEOUT) == 2
    manager._socket.settimeout(0)
    with pytest.raises(BlockingIOError):
        manager.heard()


def test_a_server_serves_though_systemd_cannot_be_told(tmp_path: Path) -> None:
    with Server(tmp_path, NOTIFY_SOCKET=str(tmp_path / "nowhere")) as server:
        assert server.is_ready()
        assert "systemd cannot be told" in server.log.read_text()
        assert server.terminate() == 0


def test_the_socket_is_not_read_from_the_file_of_settings(
    tmp_path: Path, address: str, manager: Manager
) -> None:
    (tmp_path / ".env").write_text(f"NOTIFY_SOCKET={address}\n")
    with Server(tmp_path) as server:
        assert server.terminate() == 0
    manager._socket.settimeout(0)
    with pytest.raises(BlockingIOError):
        manager.heard()


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    analyze = require("systemd-analyze", "systemd")
    unit = tmp_path / UNIT.name
    unit.write_text(substituted(UNIT.read_text(), {"/opt/sensorflow/bin/sensorflow": str(PROGRAM)}))
    verified = subprocess.run([analyze, "verify", unit], capture_output=True, text=True)
    # It only warns of what it does not know.
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_the_unit_exposes_little(tmp_path: Path) -> None:
    analyze = require("systemd-analyze", "systemd")
    judged = subprocess.run(
        [analyze, "security", "--offline=yes", "--threshold=20", UNIT],
        capture_output=True,
        text=True,
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "Overall exposure level" in judged.stdout + judged.stderr


def test_the_unit_is_as_patient_as_the_program() -> None:
    seconds = {
        name: int(value)
        for name, value in re.findall(r"^(Timeout\w+Sec)=(\d+)s$", UNIT.read_text(), re.MULTILINE)
    }
    assert seconds["TimeoutStopSec"] > STOP_TIMEOUT + Patience(STOP_TIMEOUT, STOP_TIMEOUT).kill
    assert seconds["TimeoutStartSec"] > MIGRATION_TIMEOUT
