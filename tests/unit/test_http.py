"""What closes a connection on which nothing comes: the sweep, by the time that was."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from sensorflow.errors import Reason, Refusal
from sensorflow.ingest.receipts import Answer
from sensorflow.metrics import Metrics
from sensorflow.web.http import REQUEST_TIMEOUT, BoundedHttpProtocol
from sensorflow.web.prompt import PromptRoute
from sensorflow.web.turns import Turns

KEEP_ALIVE = 75
PATH = "/api/temperature_reading"
REQUEST = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}" % PATH.encode()


class Pipe(asyncio.Transport):
    """A connection's transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Refusing:
    """An endpoint that takes nothing."""

    longest = 100

    def begin(self, *_: object) -> tuple[asyncio.Future[list[Answer]], int]:
        raise Refusal(Reason.KEY_UNKNOWN, "No.")

    def finish(self, *_: object) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        raise AssertionError("nothing was begun")


async def application(_scope: object, _receive: object, send: Any) -> None:
    """To which whatever has no prompt answer comes."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@pytest.fixture
async def connection() -> tuple[BoundedHttpProtocol, Pipe]:
    metrics = Metrics()
    route = PromptRoute(Refusing(), metrics.route(PATH), metrics, None)
    config = uvicorn.Config(application, ws="none", timeout_keep_alive=KEEP_ALIVE, log_config=None)
    config.load()
    protocol = BoundedHttpProtocol(
        metrics,
        Turns(),
        {PATH.encode(): route},
        config=config,
        server_state=ServerState(),
        app_state={},
    )
    pipe = Pipe()
    protocol.connection_made(pipe)
    return protocol, pipe


async def test_a_connection_may_be_idle_for_long_after_an_answer(
    connection: tuple[BoundedHttpProtocol, Pipe],
) -> None:
    protocol, pipe = connection
    now = asyncio.get_running_loop().time()
    protocol.data_received(REQUEST)
    await asyncio.sleep(0)
    assert pipe.written.startswith(b"HTTP/1.1 401 ")
    protocol.close_if_late(now + KEEP_ALIVE - 1)
    assert not pipe.is_closing()
    protocol.close_if_late(now + KEEP_ALIVE + 2)
    assert pipe.is_closing()


@pytest.mark.parametrize("began", [b"", b"\r\n", REQUEST[:20], REQUEST[:-1]])
async def test_a_request_has_to_come_in_time(
    connection: tuple[BoundedHttpProtocol, Pipe], began: bytes
) -> None:
    protocol, pipe = connection
    now = asyncio.get_running_loop().time()
    if began:
        protocol.data_received(REQUEST)
        await asyncio.sleep(0)
        protocol.data_received(began)
    pipe.written = b""
    protocol.close_if_late(now + REQUEST_TIMEOUT - 1)
    assert not pipe.is_closing()
    protocol.close_if_late(now + REQUEST_TIMEOUT + 2)
    assert pipe.is_closing()
    assert pipe.written.startswith(b"HTTP/1.1 408 ") == (began != b"")


async def test_who_is_taken_leave_of_is_not_heard_behind_a_refusal(
    connection: tuple[BoundedHttpProtocol, Pipe],
) -> None:
    protocol, pipe = connection
    protocol.retire()
    protocol.data_received(REQUEST + REQUEST)
    await asyncio.sleep(0)
    assert pipe.is_closing()
    assert pipe.written.count(b"HTTP/1.1 ") == pipe.written.count(b"connection: close") == 1


async def test_a_thousand_offers_of_another_protocol_are_declined_one_by_one(
    connection: tuple[BoundedHttpProtocol, Pipe],
) -> None:
    protocol, pipe = connection
    offer = REQUEST.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHost")
    for _ in range(2):
        pipe.written = b""
        protocol.data_received(offer)
        await asyncio.sleep(0)
        assert pipe.written.startswith(b"HTTP/1.1 401 ")
    # No more than is read at once.
    protocol.data_received(offer * 1_500)
    await asyncio.sleep(0)
    assert protocol.pipeline


async def test_who_takes_nothing_is_answered_when_it_does(
    connection: tuple[BoundedHttpProtocol, Pipe],
) -> None:
    protocol, pipe = connection
    protocol.pause_writing()
    protocol.data_received(REQUEST)
    for _ in range(3):
        await asyncio.sleep(0)
    assert pipe.written == b""
    protocol.resume_writing()
    await asyncio.gather(*protocol.tasks)
    assert pipe.written.startswith(b"HTTP/1.1 204 ")
