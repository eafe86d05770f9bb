"""Sending readings to a server: one POST each, sent again while that can help.

Sending again is harmless for readings with `recorded_at`, because the server recognises
duplicates: where the first answer was lost, the second says 200 in place of 201, and the reading
is stored once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
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
from sensorflow.cli.tally import RECEIPTS, Tally
from sensorflow.errors import SensorFlowError
from sensorflow.web.problems import MEDIA_TYPE

MAX_ATTEMPTS: Final = 30
"""For one reading, while others go through."""

_TIMEOUT: Final = 15.0


class Outgoing(NamedTuple):
    """A reading to send, and how to name it to the user if it is refused."""

    body: bytes
    origin: str = ""


class SendingStopped(SensorFlowError):
    """Nothing more can be sent. The message is one line for the user."""


def open_client(server: Server, key: str, connections: int) -> httpx2.AsyncClient:
    """A client with at most so many connections, which are kept open between readings."""
    return httpx2.AsyncClient(
        headers={
            "X-API-Key": key,
            "Content-Type": "application/json",
            "User-Agent": f"sensorflow/{__version__}",
        },
        limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        timeout=_TIMEOUT,
        trust_env=not is_loopback(server.address.host),
    )


class Sender:
    """Posts readings and counts what became of them.

    While the server is away or busy, a reading is sent again at growing intervals, or when the
    server asked for it. Raises `SendingStopped` when that has not helped for `PATIENCE` seconds,
    and at once where the server does not take the key or is no SensorFlow server.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        server: Server,
        tally: Tally,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._server = server
        self._tally = tally
        self._clock = clock
        self._sleep = sleep
        self._reached = False
        self._recognised = False
        self._failing_since: float | None = None

    async def send(self, outgoing: Outgoing) -> None:
        """Return when the reading's fate is known and counted."""
        self._tally.sent += 1
        wait = 0.0
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                await self._sleep(wait)
                self._tally.retries += 1
            started = self._clock()
            retry_after = None
            try:
                reply = await self._client.post(self._server.address, content=outgoing.body)
            except httpx2.RequestError as error:
                reason = "unreachable"
                fault = str(error).rstrip(".") or type(error).__name__
            else:
                self._reached = True
                if reply.status_code not in RETRIED:
                    self._answered(outgoing, reply, self._clock() - started)
                    return
                reason, fault = problem_of(reply)
                retry_after = retry_after_of(reply)
            self._failed(fault)
            wait = backoff(attempt, retry_after)
            if not self._reached:
                wait = min(wait, LONGEST_FIRST_BACKOFF)
        self._tally.refuse(reason, _sentence(outgoing, fault))

    def _answered(self, outgoing: Outgoing, reply: httpx2.Response, seconds: float) -> None:
        self._failing_since = None
        self._tally.trouble = None
        status = reply.status_code
        if status in (401, 403):
            raise SendingStopped(
                f"{self._server.url} does not take the key ({status}); readings need the server's "
                "API_KEY: give it with --api-key or in the variable API_KEY."
            )
        media_type = reply.headers.get("content-type", "").partition(";")[0]
        if status in RECEIPTS and media_type in ("application/json", MEDIA_TYPE):
            self._recognised = True
            self._tally.receipt(status, seconds)
        elif not self._recognised and (media_type != MEDIA_TYPE or status in (404, 405)):
            raise SendingStopped(self._server.foreign(status))
        else:
            self._recognised = True
            reason, fault = problem_of(reply)
            self._tally.refuse(reason, _sentence(outgoing, fault))

    def _failed(self, fault: str) -> None:
        self._tally.trouble = fault
        now = self._clock()
        if self._failing_since is None:
            self._failing_since = now
        failing = now - self._failing_since
        if not self._reached and failing >= FIRST_PATIENCE:
            raise SendingStopped(self._server.silent(fault))
        if failing >= PATIENCE:
            raise SendingStopped(
                f"gave up: for {PATIENCE:.0f} seconds {self._server.url} took nothing ({fault})."
            )


def _sentence(outgoing: Outgoing, fault: str) -> str:
    return f"{outgoing.origin}: {printable(fault)}" if outgoing.origin else printable(fault)
