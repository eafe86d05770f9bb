"""What has to be done now and then: old tokens are forgotten, full partitions are described."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from sensorflow.errors import StorageUnavailable
from sensorflow.storage.postgres.connection import Address, connect, limited, translated
from sensorflow.storage.postgres.partitions import describe
from sensorflow.storage.postgres.session import Connection

INTERVAL: Final = 3_600.0
"""Seconds between two times."""

TIMEOUT: Final = 300.0
"""Seconds for all of it; what is left is done the next time."""

TOKENS_AT_ONCE: Final = 10_000

_OLD_TOKENS: Final = (
    "DELETE FROM commits WHERE token IN (SELECT token FROM commits"
    " WHERE committed_at < now() - interval '31 days' LIMIT $1)"
)

log = structlog.get_logger()


class Upkeep:
    """The background task of it. Whoever comes second, of all workers, leaves it to the first."""

    def __init__(self, address: Address, available: Callable[[], bool]) -> None:
        self._address = address
        self._available = available
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Do it once an interval while the database is available, until `stop`."""
        ending = asyncio.ensure_future(self._stop.wait())
        while not ending.done():
            if self._available():
                doing = asyncio.ensure_future(maintain(self._address))
                await asyncio.wait((doing, ending), return_when=asyncio.FIRST_COMPLETED)
                doing.cancel()
                try:
                    with suppress(asyncio.CancelledError):
                        await doing
                except StorageUnavailable as error:
                    log.warning("upkeep of the database is put off", reason=str(error))
            await asyncio.wait((ending,), timeout=INTERVAL)

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()


async def maintain(address: Address) -> None:
    """Do all of it that is due, in a session of its own. Raises `StorageUnavailable`."""
    connection = await connect(address)
    try:
        with limited(connection, TIMEOUT), translated():
            await connection.execute(f"SET statement_timeout = '{TIMEOUT:.0f}s'")
            if await connection.fetchval(
                "SELECT pg_try_advisory_lock(hashtext('sensorflow upkeep'))"
            ):
                await _forget_tokens(connection)
                await describe(connection)
    finally:
        connection.terminate()


async def _forget_tokens(connection: Connection) -> None:
    deleted = TOKENS_AT_ONCE
    while deleted == TOKENS_AT_ONCE:
        status = await connection.execute(_OLD_TOKENS, TOKENS_AT_ONCE)
        deleted = int(status.removeprefix("DELETE "))
