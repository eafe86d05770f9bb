"""The server that a command talks to: its address, what its replies say, when to ask again."""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from random import uniform
from typing import Final, NamedTuple

import httpx2
import msgspec

from sensorflow.errors import Reason, SettingsError
from sensorflow.web.edge import INGEST_PATH

PATIENCE: Final = 60.0
"""Seconds without any success after which the sending is given up."""

FIRST_PATIENCE: Final = 3.0
"""The same where nothing has ever answered: most likely the address is wrong."""

LONGEST_BACKOFF: Final = 5.0
LONGEST_FIRST_BACKOFF: Final = 0.5
"""While nothing has ever answered."""

LONGEST_RETRY_AFTER: Final = 60.0
RETRIED: Final = frozenset((408, 429, 502, 503, 504))
"""Statuses after which trying again may help."""

_FIRST_BACKOFF: Final = 0.1
_SENTENCE_LENGTH: Final = 200


class Server(NamedTuple):
    """What is talked to. The key is not to be printed, and `url` holds no secret."""

    url: str
    address: httpx2.URL

    @classmethod
    def at(cls, url: str, path: str = INGEST_PATH) -> "Server":
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
        base = given.path.rstrip("/")
        shown = f"{given.scheme}://{host}{f':{port}' if port else ''}{base}"
        return cls(shown, given.copy_with(path=base + path, query=None, fragment=None))

    def silent(self, fault: str) -> str:
        """Why nothing can be done where nothing has ever answered."""
        return (
            f"nothing answers at {self.url} ({fault}); start the server with "
            "`sensorflow serve`, or give its address with --url."
        )

    def foreign(self, status: int) -> str:
        """Why nothing can be done where another program answers."""
        return (
            f"{self.url} answers, but not like a SensorFlow server "
            f"({status} at {self.address.path}); check --url."
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


def retry_after_of(reply: httpx2.Response) -> float | None:
    """Seconds that the server asks to wait."""
    given = reply.headers.get("retry-after", "")
    if given.isascii() and given.isdigit():
        return float(given)
    try:
        return max(0.0, (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def problem_of(reply: httpx2.Response) -> tuple[str, str]:
    """The name and the sentence of a refusal. Unknown names count by status: they are few."""
    try:
        problem = msgspec.json.decode(reply.content)
        return Reason(problem["reason"]).value, str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return f"http_{reply.status_code}", f"The server answered {reply.status_code}."


def printable(said: str) -> str:
    """Fit for a terminal, whatever the server said."""
    return "".join(c for c in said[:_SENTENCE_LENGTH] if c.isprintable())


def is_loopback(host: str) -> bool:
    """Whether it is this machine itself, which no proxy of the environment can reach."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
