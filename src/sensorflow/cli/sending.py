"""Sending readings to a server: one POST each, sent again while that can help.

Sending again is harmless for readings with `recorded_at`, because the server recognises
duplicates: where the first answer was lost, the second says 200 in place of 201, and the reading
is stored once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from random import uniform
from time import monotonic
from typing import Final, NamedTuple

import httpx2
import msgspec

from sensorflow import __version__
from sensorflow.cli.tally import RECEIPTS, Tally
from sensorflow.errors import Reason, SensorFlowError, SettingsError
from sensorflow.web.edge import INGEST_PATH
from sensorflow.web.problems import MEDIA_TYPE

PATIENCE: Final = 60.0
"""Seconds without any success after which the sending is given up."""

FIRST_PATIENCE: Final = 3.0
"""The same where nothing has ever answered: most likely the address is wrong."""

MAX_ATTEMPTS: Final = 30
"""For one reading, while others go through."""

LONGEST_BACKOFF: Final = 5.0
LONGEST_RETRY_AFTER: Final = 60.0

_FIRST_BACKOFF: Final = 0.1
_LONGEST_FIRST_BACKOFF: Final = 0.5
_RETRIED: Final = frozenset((408, 429, 502, 503, 504))
_TIMEOUT: Final = 15.0
_SENTENCE_LENGTH: Final = 200


class Outgoing(NamedTuple):
    """A reading to send, and how to name it to the user if it is refused."""

    body: bytes
    origin: str = ""


class SendingStopped(SensorFlowError):
    """Nothing more can be sent. The message is one line for the user."""


class Server(NamedTuple):
    """Where readings go to. The key is not to be printed, and `url` holds no secret."""

    url: str
    address: httpx2.URL

    @classmethod
    def at(cls, url: str) -> "Server":
        """Check an address; raises `SettingsError`, without repeating what may hold a password."""
        try:
            given = httpx2.URL(url)
            port = given.port
            if port is not None and not 1 <= port <= 65_535:
                raise httpx2.InvalidURL("port")
        except httpx2.InvalidURL:
            given = httpx2.URL("")
        if given.scheme not in ("http", "https") or not given.host:
            raise SettingsError("--url: give an address such as http://127.0.0.1:8000.")
        host = f"[{given.host}]" if ":" in given.host else given.host
        path = given.path.rstrip("/")
        shown = f"{given.scheme}://{host}{f':{port}' if port else ''}{path}"
        return cls(shown, given.copy_with(path=path + INGEST_PATH, query=None, fragment=None))


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
        # A proxy of the environment cannot reach this machine's own addresses.
        trust_env=not _is_loopback(server.address.host),
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
                if reply.status_code not in _RETRIED:
                    self._answered(outgoing, reply, self._clock() - started)
                    return
                reason, fault = _problem(reply)
                retry_after = _retry_after(reply)
            self._failed(fault)
            wait = backoff(attempt, retry_after)
            if not self._reached:
                wait = min(wait, _LONGEST_FIRST_BACKOFF)
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
            raise SendingStopped(
                f"{self._server.url} answers, but not like a SensorFlow server "
                f"({status} at {self._server.address.path}); check --url."
            )
        else:
            self._recognised = True
            reason, fault = _problem(reply)
            self._tally.refuse(reason, _sentence(outgoing, fault))

    def _failed(self, fault: str) -> None:
        self._tally.trouble = fault
        now = self._clock()
        if self._failing_since is None:
            self._failing_since = now
        failing = now - self._failing_since
        if not self._reached and failing >= FIRST_PATIENCE:
            raise SendingStopped(
                f"nothing answers at {self._server.url} ({fault}); start the server with "
                "`sensorflow serve`, or give its address with --url."
            )
        if failing >= PATIENCE:
            raise SendingStopped(
                f"gave up: for {PATIENCE:.0f} seconds {self._server.url} took nothing ({fault})."
            )


def backoff(
    attempt: int,
    retry_after: float | None = None,
    jitter: Callable[[float, float], float] = uniform,
) -> float:
    """Seconds to wait after this attempt (the first is 0); never less than the server asked for.

    Jitter keeps the senders from returning all at once.
    """
    longest = min(LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(attempt, 16))
    return min(retry_after or 0.0, LONGEST_RETRY_AFTER) + jitter(longest / 2, longest)


def _retry_after(reply: httpx2.Response) -> float | None:
    given = reply.headers.get("retry-after", "")
    if given.isascii() and given.isdigit():
        return float(given)
    try:
        return max(0.0, (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _problem(reply: httpx2.Response) -> tuple[str, str]:
    """The name and the sentence of a refusal. Unknown names count by status: they are few."""
    try:
        problem = msgspec.json.decode(reply.content)
        return Reason(problem["reason"]).value, str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return f"http_{reply.status_code}", f"The server answered {reply.status_code}."


def _sentence(outgoing: Outgoing, fault: str) -> str:
    """Fit for a terminal, whatever the server said."""
    printable = "".join(c for c in fault[:_SENTENCE_LENGTH] if c.isprintable())
    return f"{outgoing.origin}: {printable}" if outgoing.origin else printable


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
