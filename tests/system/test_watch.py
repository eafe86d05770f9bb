"""`sensorflow watch` against the real server: in a pipe, and on a terminal."""

import asyncio
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.devices import send
from tests.helpers import eventually
from tests.ports import free_port
from tests.servers import INGEST_KEY, PROGRAM, READ_KEY, Server, serving

PATIENCE = 60

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "server") as server:
        yield server


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that nobody stops, with more readings than a small pipe holds."""
    with serving(tmp_path_factory.mktemp("steady")) as server:
        for sensor_id in ("a", "b", "c", "a", *["s" * 128] * 40):
            asyncio.run(send(server, sensor_id, 1))
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "client"
    folder.mkdir()
    return folder


def environment(key: str | None) -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"]} | ({"API_KEY_WS": key} if key else {})


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts `watch` with its output in files; what still runs at the end is killed by its id."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str, key: str | None = READ_KEY) -> "subprocess.Popen[bytes]":
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                [PROGRAM, "watch", *words],
                cwd=folder,
                env=environment(key),
                stdout=out,
                stderr=err,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
    assert not any(
        key in (folder / name).read_text()
        for key in (INGEST_KEY, READ_KEY)
        for name in ("out", "err")
    )


async def lines(folder: Path, count: int) -> list[dict[str, object]]:
    """What was printed, once it is so many lines."""
    out = folder / "out"
    await eventually(lambda: out.read_bytes().count(b"\n") >= count, PATIENCE)
    return [json.loads(line) for line in out.read_text().splitlines()]


async def ended(process: "subprocess.Popen[bytes]") -> int:
    return await asyncio.to_thread(process.wait, PATIENCE)


async def test_each_reading_is_a_line_through_a_restart(
    server: Server, start: Start, folder: Path
) -> None:
    await send(server, "kitchen", 1)
    await send(server, "kitchen", 2)
    process = start("--url", server.base, "--since", "0")
    assert [line["id"] for line in await lines(folder, 2)] == [1, 2]
    await asyncio.to_thread(server.kill)
    await eventually(lambda: b"reconnecting" in (folder / "err").read_bytes(), PATIENCE)
    await asyncio.to_thread(server.start)
    for number in range(3, 20):
        await send(server, "kitchen", number)
    shown = await lines(folder, 19)
    assert [(line["id"], line["temperature"]) for line in shown] == [
        (number, number) for number in range(1, 20)
    ]
    assert set(shown[0]) >= {"sensor_id", "recorded_at", "received_at", "client_ip"}
    process.send_signal(signal.SIGINT)
    assert await ended(process) == 0
    told = (folder / "err").read_text().splitlines()
    assert all(line.startswith("sensorflow: reconnecting: ") for line in told)


async def test_only_the_sensors_asked_for(steady: Server, start: Start, folder: Path) -> None:
    process = start("--url", steady.base, "--since", "0", "--sensor", "a", "--sensor", "c")
    assert [line["id"] for line in await lines(folder, 3)] == [1, 3, 4]
    process.terminate()
    assert await ended(process) == 0
    assert (folder / "err").read_bytes() == b""


async def test_it_ends_when_the_reader_of_its_pipe_does(steady: Server, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "watch", "--url", steady.base),
        cwd=folder,
        env=environment(READ_KEY),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(await process.stdout.readline())["id"] >= 44
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    await send(steady, "kitchen", 2)
    assert await asyncio.wait_for(process.stderr.read(), PATIENCE) == b""
    assert await process.wait() == 0


async def test_ctrl_c_ends_it_while_nobody_reads_its_pipe(steady: Server, folder: Path) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "watch", "--url", steady.base, "--since", "0"),
        cwd=folder,
        env=environment(READ_KEY),
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    try:
        await eventually(lambda: _unread(reader) > 3000, PATIENCE)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert (process.returncode, err) == (0, b"")
    finally:
        os.close(reader)


def _unread(pipe: int) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))
    return int(count)


async def test_what_cannot_be_watched_is_told_in_one_line(steady: Server, folder: Path) -> None:
    async def refused(said: str, *words: str, key: str | None = READ_KEY) -> None:
        process = await asyncio.create_subprocess_exec(
            *(str(PROGRAM), "watch", *words),
            cwd=folder,
            env=environment(key),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert (process.returncode, out) == (2, b"")
        (line,) = err.decode().splitlines()
        assert line.startswith("sensorflow: ")
        assert said in line
        assert READ_KEY not in line
        assert INGEST_KEY not in line

    here = ("--url", steady.base)
    nowhere = f"http://127.0.0.1:{free_port()}"
    await asyncio.gather(
        refused("does not take the key (401)", *here, key="wrong-key-of-the-tests"),
        refused("does not take the key (403); the stream needs", *here, key=INGEST_KEY),
        refused("API_KEY_WS: no key is given", *here, key=None),
        refused("The stream has not come as far as 999", *here, "--since", "999"),
        refused("1 to 128 are allowed", *here, "--sensor", ""),
        refused(f"nothing answers at {nowhere}", "--url", nowhere),
    )


async def test_a_full_disk_is_told_in_one_line(steady: Server, folder: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "watch", "--url", steady.base),
        cwd=folder,
        env=environment(READ_KEY),
        stdout=full,
        stderr=subprocess.PIPE,
    )
    os.close(full)
    _, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert err == b"sensorflow: standard output: No space left on device\n"
    assert process.returncode == 2


class Terminal:
    """A terminal of 100 by 20 with `watch` on it, and what it was sent."""

    def __init__(self, folder: Path, *words: str) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 100, 0, 0))
        self.process = subprocess.Popen(
            [PROGRAM, "watch", *words],
            cwd=folder,
            env={**environment(READ_KEY), "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.sent = ""
        self._ours = ours
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while part := os.read(self._ours, 65_536):
                self.sent += part.decode(errors="replace")
        except OSError:
            pass  # the other end is closed

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._ours)


async def test_a_terminal_gets_a_table_through_a_restart(server: Server, folder: Path) -> None:
    await send(server, "kitchen", 21.5, co2=417)
    terminal = Terminal(folder, "--url", server.base)
    try:
        await eventually(lambda: "21.50" in terminal.sent, PATIENCE)
        await eventually(lambda: "co2 417" in terminal.sent, PATIENCE)
        await eventually(lambda: "last id 1" in terminal.sent, PATIENCE)
        await asyncio.to_thread(server.terminate)
        await eventually(lambda: "Reconnecting: " in terminal.sent, PATIENCE)
        await asyncio.to_thread(server.start)
        await send(server, "attic", 30.25)
        await send(server, "kitchen", 22.75)
        await eventually(lambda: "last id 3" in terminal.sent, PATIENCE)
        terminal.process.send_signal(signal.SIGINT)
        assert await ended(terminal.process) == 0
        # Both came: the one that was not the newest, too, when it was connected again.
        last = terminal.sent.rpartition("Sensor")[2]
        assert "30.25" in last
        assert "22.75" in last
        assert "Traceback" not in terminal.sent
        # The terminal has its cursor back.
        assert terminal.sent.rfind("\x1b[?25h") > terminal.sent.rfind("\x1b[?25l")
    finally:
        terminal.end()
