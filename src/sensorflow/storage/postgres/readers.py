"""The sessions that read: a small pool, in which nothing waits without a bound."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from sensorflow.storage.postgres.connection import Address, connect, limited, translated
from sensorflow.storage.postgres.session import Connection

READ_TIMEOUT: Final = 2.5
"""Seconds for one read, with the session that it may need: who asks is answered within 3 s."""

READERS: Final = 4
"""Sessions that read at the same time."""


class Readers:
    """Reads over sessions that it opens as they are needed, and keeps."""

    def __init__(self, address: Address) -> None:
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=lambda: connect(address),
            pool_size=READERS,
            max_overflow=0,
            pool_timeout=READ_TIMEOUT,
            isolation_level="AUTOCOMMIT",
        )
        event.listen(self._engine.sync_engine, "connect", self._keep)
        event.listen(self._engine.sync_engine, "checkout", _refuse_ended)
        self._sessions: WeakSet[Connection] = WeakSet()

    async def rows(self, query: str, parameters: Sequence[object] = ()) -> Sequence[Sequence[Any]]:
        """What a query finds. Raises `StorageUnavailable`."""
        async with self._reading() as connection:
            return (await connection.exec_driver_sql(query, tuple(parameters))).fetchall()

    async def close(self) -> None:
        """End all sessions. They are not asked to: a server that hangs would not answer."""
        for session in self._sessions:
            session.terminate()
        await self._engine.dispose()

    def _keep(self, connection: Any, _record: object) -> None:
        self._sessions.add(connection.driver_connection)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        loop = asyncio.get_running_loop()
        until = loop.time() + READ_TIMEOUT
        with translated():
            async with asyncio.timeout_at(until):
                connection = await self._engine.connect()
            try:
                raw: Any = (await connection.get_raw_connection()).driver_connection
                with limited(raw, until - loop.time()):
                    yield connection
            finally:
                await connection.close()


def _refuse_ended(connection: Any, _record: Any, _proxy: Any) -> None:
    """Have the pool open another session for one that has ended since it was used.

    SQLAlchemy's own look, a query, would wait without a bound for a server that hangs.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError
