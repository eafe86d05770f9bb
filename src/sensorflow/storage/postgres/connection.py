"""Reaching PostgreSQL: its address as users write it, a session's settings, errors in our words."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from sensorflow.errors import BatchRefused, SettingsError, StorageUnavailable

CONNECT_TIMEOUT: Final = 2.0
"""Seconds to connect and authenticate."""

NO_ANSWER: Final = "the database does not answer"

_SESSION: Final = {
    "application_name": "sensorflow",
    # A server's default may acknowledge commits that are not on its disk yet.
    "synchronous_commit": "on",
    # What a frozen process of ours can hold up, in milliseconds.
    "lock_timeout": "1000",
    "statement_timeout": "5000",
    "idle_in_transaction_session_timeout": "5000",
    # What a statement costs is estimated at its worst, and compiling it takes seconds each time;
    # none of ours runs long enough to gain that back.
    "jit": "off",
}

# What a value can do wrong on its way in.
_FAULTS_OF_THE_BATCH: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.RaiseError,
    asyncpg.exceptions._base.DataError,  # raised by the driver; shadowed in its own package
    UnicodeEncodeError,
    OverflowError,
)


@dataclass(frozen=True)
class Address:
    """Where the database is, and as whom; the password is kept out of every message."""

    dsn: str
    user: str | None
    password: str | None = field(repr=False)


def parse(url: str, name: str = "DATABASE_URL") -> Address:
    """Take a `postgresql://` or `postgres://` URL apart.

    The password may hold any character: percent-encoded, or as it is, since it ends at the last
    `@`. The rest is libpq's: hosts, ports, `?sslmode=`, `?host=/folder/of/the/socket`. Raises
    `SettingsError`, which calls the URL by its `name`.
    """
    scheme, _, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    user, colon, password = credentials.partition(":")
    dsn = f"{scheme}://{place}"
    try:
        split = urlsplit(dsn)
        for host in split.netloc.split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError as error:
        raise SettingsError(
            f"{name}: {error}; write postgresql://user:password@host:5432/name."
        ) from None
    return Address(
        dsn,
        unquote(user) if at and user else None,
        unquote(password) if colon else None,
    )


async def connect(address: Address) -> "asyncpg.Connection[asyncpg.Record]":
    """A new session, with the settings that the promise needs. Raises `StorageUnavailable`."""
    with translated():
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
            address.dsn,
            user=address.user,
            password=address.password,
            timeout=CONNECT_TIMEOUT,
            server_settings=_SESSION,
        )
        return connection


@contextmanager
def translated() -> Iterator[None]:
    """Raise the driver's errors as `StorageUnavailable`."""
    try:
        yield
    except DBAPIError as error:
        raise StorageUnavailable(_told(error.driver_exception or error)) from error
    except (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        asyncio.IncompleteReadError,
        SQLAlchemyError,
        OSError,
        UnicodeEncodeError,
        OverflowError,
    ) as error:
        raise StorageUnavailable(_told(error)) from error


@contextmanager
def refusing() -> Iterator[None]:
    """Raise as `BatchRefused` what is the fault of the readings; within `translated`."""
    try:
        yield
    except _FAULTS_OF_THE_BATCH as error:
        # The ids are ours: one that is taken tells of a sequence that was set back.
        if str(getattr(error, "constraint_name", None)).endswith("_pkey"):
            raise
        raise BatchRefused(str(error)) from error


@contextmanager
def limited(connection: Any, seconds: float) -> Iterator[None]:
    """Cut the connection off after so long: what waits for its answer fails at once.

    The driver's own time-outs ask the server to cancel, and a server that hangs never answers.
    """
    loop = asyncio.get_running_loop()
    timer = loop.call_later(seconds, connection.terminate)
    try:
        yield
    except Exception as error:
        if loop.time() >= timer.when():
            raise StorageUnavailable(NO_ANSWER) from error
        raise
    finally:
        timer.cancel()


def _told(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return NO_ANSWER
    if isinstance(error, socket.gaierror):
        return f"the database's host is not known here ({error.strerror})"
    if isinstance(error, asyncpg.LockNotAvailableError):
        return "another session holds a lock that is needed, and does not let go"
    return str(error).partition("\n")[0] or type(error).__name__
