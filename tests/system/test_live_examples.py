"""The clients that docs/live.md shows, taken out of the page and run."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import websockets
from playwright.async_api import Browser

from tests.devices import send
from tests.door import door_to
from tests.requirements import require
from tests.servers import READ_KEY, Server, serving

PAGE = (Path(__file__).parents[2] / "docs/live.md").read_text(encoding="utf-8")
PATIENCE = 60

pytestmark = pytest.mark.asyncio(loop_scope="module")

Shown = Callable[[], Awaitable[str]]
"""What a client has shown so far."""


def examples(heading: str, port: int) -> list[str]:
    """The code below a heading, for the server at `port`."""
    text = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    made = [
        block.replace("127.0.0.1:8000", f"127.0.0.1:{port}").replace("YOUR_API_KEY_WS", READ_KEY)
        for block in blocks
    ]
    assert all(str(port) in block and READ_KEY in block for block in made)
    return made


def example(heading: str, port: int) -> str:
    (only,) = examples(heading, port)
    return only


@asynccontextmanager
async def elsewhere(html: str) -> AsyncIterator[str]:
    """A web server of somebody else, with one page; its address."""
    body = html.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@asynccontextmanager
async def shown_by(browser: Browser, html: str) -> AsyncIterator[Shown]:
    """What a page of another origin shows."""
    async with elsewhere(html) as address:
        page = await browser.new_page()
        try:
            await page.goto(address)
            yield page.locator("pre").inner_text
        finally:
            await page.close()


@asynccontextmanager
async def said_by(folder: Path, *words: str | Path) -> AsyncIterator[Shown]:
    """What a program prints. It is ended with its children."""
    output = folder / "output.txt"
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(*words, stdout=file, process_group=0)

    async def said() -> str:
        return output.read_text()

    try:
        yield said
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def python(folder: Path, port: int) -> AbstractAsyncContextManager[Shown]:
    script = folder / "watch.py"
    script.write_text(example("Python", port))
    return said_by(folder, sys.executable, "-W", "error", script)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "server") as server:
        yield server


def ids_in(text: str) -> list[int]:
    """Of lines as the pages show them, and of JSON; the last line may not be whole yet."""
    whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [json.loads(line)["id"] if line[0] == "{" else int(line.split()[0]) for line in whole]


async def until(shown: Shown, expected: list[int]) -> None:
    """Return when these were shown; fail at once where they cannot be any more."""
    ids: list[int] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while ids != expected:
                ids = ids_in(await shown())
                assert ids == expected[: len(ids)]
                await asyncio.sleep(0.02)
    except TimeoutError:
        assert ids == expected


async def follow(
    server: Server, start: Callable[[int], AbstractAsyncContextManager[Shown]], *, proxy: bool
) -> None:
    """Have a client, told its port, watch the stream through a restart of the server."""
    for number in (1, 2, 3):
        await send(server, "kitchen", number)
    async with door_to(server.port) as door, start(door.port) as shown:
        await until(shown, [3])
        await send(server, "kitchen", 4)
        await until(shown, [3, 4])
        door.shut(politely=proxy)
        await asyncio.to_thread(server.terminate)
        await asyncio.to_thread(server.start)
        for number in range(5, 15):
            await send(server, "kitchen", number)
        await asyncio.wait_for(door.turned_away.wait(), PATIENCE)
        door.open()
        await until(shown, list(range(3, 15)))
        await send(server, "kitchen", 15)
        await until(shown, list(range(3, 16)))


@pytest.mark.parametrize(
    ("heading", "proxy"),
    [
        ("A browser: WebSocket", False),
        ("A browser: EventSource", False),
        # What the example does by itself here, and the browser does not.
        ("A browser: EventSource", True),
    ],
)
async def test_a_page_follows_through_a_restart(
    browser: Browser, server: Server, heading: str, proxy: bool
) -> None:
    await follow(server, lambda port: shown_by(browser, example(heading, port)), proxy=proxy)


async def test_the_python_client_follows_through_a_restart(server: Server, tmp_path: Path) -> None:
    await follow(server, lambda port: python(tmp_path, port), proxy=True)


async def test_the_shell_follows_through_a_restart(server: Server, tmp_path: Path) -> None:
    require("curl", "curl")

    def start(port: int) -> AbstractAsyncContextManager[Shown]:
        return said_by(tmp_path, "bash", "-c", examples("A shell", port)[1])

    await follow(server, start, proxy=False)


async def test_curl_alone_shows_the_stream_and_resumes(server: Server, tmp_path: Path) -> None:
    require("curl", "curl")
    command, _ = examples("A shell", server.port)
    for number in range(1, 6):
        await send(server, "kitchen", number)
    for more, expected in (("", [5]), (" -H 'Last-Event-ID: 2'", [3, 4, 5])):
        async with said_by(tmp_path, "bash", "-c", command.rstrip() + more) as said:

            async def data(said: Shown = said) -> str:
                return "".join(re.findall(r"^data: (.*\n)", await said(), re.MULTILINE))

            await until(data, expected)


def reading(pk: int | None) -> str:
    return json.dumps({"id": pk, "sensor_id": "kitchen", "temperature": 21.5})


CONNECTIONS = [
    ([reading(5), '{"gap":{"after":5,"oldest":9}}', reading(None), reading(9)], 1012, ""),
    ([], 1008, "cursor ahead: the stream has not come as far as since"),
    ([reading(1)], 1013, "too slow; last id 1"),
    ([], 1008, "too many connections with this key"),
    ([], 1008, "invalid key: the key is wrong"),
]
"""A gap, a reading that waits, and every kind of close, the last of which ends the client."""


@asynccontextmanager
async def played() -> AsyncIterator[tuple[int, list[str | None]]]:
    """A server that plays `CONNECTIONS`; its port, and the cursors that it was asked for."""
    asked: list[str | None] = []

    async def play(connection: websockets.ServerConnection) -> None:
        assert connection.request is not None
        query = parse_qs(urlsplit(connection.request.path).query)
        asked.append(query.get("since", [None])[0])
        frames, code, reason = CONNECTIONS[len(asked) - 1]
        for frame in frames:
            await connection.send(frame)
        await connection.close(code, reason)

    async with websockets.serve(play, "127.0.0.1", 0) as server:
        yield next(iter(server.sockets)).getsockname()[1], asked


ASKED = [None, "9", None, "1", "1"]


async def test_what_the_page_is_told_beside_readings(browser: Browser) -> None:
    async with (
        played() as (port, asked),
        shown_by(browser, example("A browser: WebSocket", port)) as shown,
    ):
        async with asyncio.timeout(PATIENCE):
            while "invalid key" not in (text := await shown()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        said = text.splitlines()
        assert (ids_in("\n".join(said[:-1]) + "\n"), asked) == ([5, 9, 1], ASKED)


async def test_what_the_python_client_is_told_beside_readings(tmp_path: Path) -> None:
    async with played() as (port, asked):
        script = tmp_path / "watch.py"
        script.write_text(example("Python", port))
        process = await asyncio.create_subprocess_exec(
            sys.executable, script, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (ids_in(out.decode()), asked) == ([5, 9, 1], ASKED)
    assert err.decode().splitlines() == ["removed: 6 to 8", "invalid key: the key is wrong"]
    assert process.returncode == 1
