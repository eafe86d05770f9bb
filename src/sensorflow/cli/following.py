"""Following a server's live stream as server-sent events, from one connection to the next.

Events rather than a WebSocket: a refusal is a sentence, and heartbeats move the cursor where no
reading does, so that whoever watches a rare sensor resumes from the present.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import httpx2

from sensorflow import __version__
from sensorflow.cli.remote import (
    FIRST_PATIENCE,
    LONGEST_FIRST_BACKOFF,
    PATIENCE,
    RETRIED,
    Server,
    backoff,
    is_loopback,
    printable,
    problem_of,
    retry_after_of,
)
from sensorflow.errors import Reason, SensorFlowError
from sensorflow.web.problems import MEDIA_TYPE
from sensorflow.web.stream import HEARTBEAT

SILENCE: Final = HEARTBEAT + 5.0
"""Seconds without a byte after which the connection is dead, whatever the system says."""

MAX_EVENT: Final = 262_144
"""Bytes; far more than a reading takes."""


NOT_THE_STREAM: Final = "what the server sends is not the stream; check --url."


class FollowingStopped(SensorFlowError):
    """The stream cannot be followed. The message is one line for the user."""


class Event(NamedTuple):
    """One event; an `id` is the cursor of who has read it."""

    id: int | None
    data: bytes | None


_NOTHING: Final = Event(None, None)


def open_stream_client(server: Server, key: str) -> httpx2.Client:
    """A client for one stream at a time."""
    return httpx2.Client(
        headers={
            "X-API-Key": key,
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "User-Agent": f"sensorflow/{__version__}",
        },
        timeout=httpx2.Timeout(SILENCE),
        trust_env=not is_loopback(server.address.host),
    )


class Follower:
    """Yields what the stream carries, and resumes it by cursor.

    Before the first connection it gives up as `Sender` does; afterwards it tries for as long as it
    is let, since whoever watches wants to be there when the server is back.
    """

    def __init__(
        self,
        client: httpx2.Client,
        server: Server,
        sensors: Iterable[str] = (),
        since: int | None = None,
        on_change: Callable[[str | None], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`on_change` is told each trouble in one line, and None when there is a connection."""
        self._client = client
        self._server = server
        self._sensors = list(sensors)
        self._on_change = on_change
        self._clock = clock
        self._sleep = sleep
        self._answered = False
        self._connected = False
        self.cursor = since

    def payloads(self) -> Iterator[bytes]:
        """The data of each event, without end. Raises `FollowingStopped`."""
        failures = 0
        started = self._clock()
        while True:
            retry_after = None
            try:
                with self._client.stream(
                    "GET", self._server.address, params=self._parameters()
                ) as reply:
                    self._answered = True
                    if _is_stream(reply):
                        self._connected = True
                        self._on_change(None)
                        for event in events(reply.iter_raw()):
                            failures = 0
                            if event.id is not None:
                                self.cursor = event.id
                            if event.data is not None:
                                yield event.data
                        fault = "the server has ended the stream"
                    else:
                        reply.read()
                        retry_after = retry_after_of(reply)
                        fault = self._refused(reply)
            except httpx2.RequestError as error:
                fault = str(error).rstrip(".") or type(error).__name__
            fault = printable(fault)
            if self._answered:
                self._on_change(fault)
            if not self._connected:
                self._consider_giving_up(fault, self._clock() - started)
            wait = backoff(failures, retry_after)
            self._sleep(wait if self._answered else min(wait, LONGEST_FIRST_BACKOFF))
            failures += 1

    def _parameters(self) -> dict[str, list[str] | str]:
        since = {} if self.cursor is None else {"since": str(self.cursor)}
        return {"sensor_id": self._sensors, **since}

    def _refused(self, reply: httpx2.Response) -> str:
        """Why, where trying again can help."""
        status = reply.status_code
        url = self._server.url
        reason, detail = problem_of(reply)
        if status in RETRIED:
            return detail
        if status in (401, 403):
            raise FollowingStopped(
                f"{url} does not take the key ({status}); the stream needs the server's "
                "API_KEY_WS: give it with --api-key or in the variable API_KEY_WS."
            )
        if reason == Reason.CURSOR_AHEAD and self._connected:
            self.cursor = None
            return "the server's readings begin anew, as after a restored backup"
        media_type = reply.headers.get("content-type", "").partition(";")[0]
        if media_type != MEDIA_TYPE or status in (404, 405):
            raise FollowingStopped(self._server.foreign(status))
        raise FollowingStopped(f"{url} refuses: {printable(detail)}")

    def _consider_giving_up(self, fault: str, seconds: float) -> None:
        if not self._answered and seconds >= FIRST_PATIENCE:
            raise FollowingStopped(self._server.silent(fault))
        if seconds >= PATIENCE:
            raise FollowingStopped(
                f"gave up: for {PATIENCE:.0f} seconds {self._server.url} gave no stream ({fault})."
            )


def events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The whole events in what the server sends; what it did not finish counts for nothing."""
    rest = b""
    for chunk in chunks:
        *blocks, rest = (rest + chunk).split(b"\n\n")
        yield from (e for e in map(_event, blocks) if e != _NOTHING)
        if len(rest) > MAX_EVENT:
            raise FollowingStopped(NOT_THE_STREAM)


def _event(block: bytes) -> Event:
    cursor = data = None
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            data = value.removeprefix(b" ")
        elif name == b"id" and value.strip().isdigit() and len(value) <= 20:
            cursor = int(value)
    return Event(cursor, data)


def _is_stream(reply: httpx2.Response) -> bool:
    media_type = reply.headers.get("content-type", "").partition(";")[0]
    return reply.status_code == 200 and media_type == "text/event-stream"
