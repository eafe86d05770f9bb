"""PostgreSQL as the storage: one session writes, a small pool reads."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import structlog
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from sensorflow.errors import AlreadyCommitted, StorageUnavailable
from sensorflow.readings import Clock, Outcome, Reading, Stored
from sensorflow.storage.duplicates import compare
from sensorflow.storage.migrations import upgrade
from sensorflow.storage.postgres.connection import connect, limited, parse, translated
from sensorflow.storage.postgres.rows import SELECT_READINGS, Columns, from_row

APPEND_TIMEOUT: Final = 1.25
"""Seconds for one commit: a reading waits for two of them, and never for 3 s."""

READ_TIMEOUT: Final = 2.0
"""Seconds for one read."""

SENSORS_KEPT: Final = 100_000
"""Sensors remembered."""

READERS: Final = 4
"""Sessions that read at the same time."""

log = structlog.get_logger()

_APPEND: Final = (
    "SELECT append_readings($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
)
_AT_DEVICE_TIME: Final = (
    SELECT_READINGS
    + "JOIN unnest($1::text[], $2::timestamptz[]) AS n (name, time)"
    + " ON s.sensor_id = n.name AND r.recorded_at = n.time WHERE r.clock = 1 ORDER BY r.id"
)


class PostgresStorage:
    """Implements `storage.base.Storage`. `start` may be called again whenever it was unavailable.

    Creation raises `SettingsError` for a URL that cannot be right.
    """

    def __init__(self, url: str) -> None:
        self.address = parse(url)
        self.announcer = uuid4().hex[:16]
        """Names this process in the notices of its commits."""
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=lambda: connect(self.address),
            pool_size=READERS,
            max_overflow=0,
            pool_timeout=READ_TIMEOUT,
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT",
        )
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._warned = False
        self._sensors: set[str] = set()
        """Some that the database knows, for their first time need not be sent again."""

    async def start(self) -> None:
        self._drop()
        connection = await connect(self.address)
        try:
            with translated(), limited(connection, READ_TIMEOUT):
                await self._check(connection)
            await self._upgrade()
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection

    async def append(self, readings: Sequence[Reading], token: UUID | None = None) -> list[Outcome]:
        token = token or uuid4()
        connection = self._connection
        if connection is None:
            raise StorageUnavailable("the database is not connected")
        columns = Columns(readings)
        try:
            with limited(connection, APPEND_TIMEOUT), translated():
                first = None
                if not columns.repeats:
                    first = await self._call(connection, columns, token, judged=False)
                if first is None:
                    return await self._append_judged(connection, readings, token)
        except StorageUnavailable:
            self._drop()
            raise
        return _numbered(readings, first, token)

    async def newest(self) -> Reading | None:
        found = await self._select("ORDER BY r.id DESC LIMIT 1", ())
        return found[0] if found else None

    async def after(self, cursor: int, limit: int) -> list[Reading]:
        return await self._select("WHERE r.id > $1 ORDER BY r.id LIMIT $2", (cursor, limit))

    async def ping(self) -> None:
        if self._connection is None:
            raise StorageUnavailable("the database is not connected")
        async with self._reading() as connection:
            await connection.exec_driver_sql("SELECT 1")

    async def close(self) -> None:
        self._drop()
        with suppress(TimeoutError):
            async with asyncio.timeout(READ_TIMEOUT):
                await self._engine.dispose()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _check(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        if await connection.fetchval("SHOW transaction_read_only") == "on":
            raise StorageUnavailable("the database is read-only (a standby?)")
        if await connection.fetchval("SHOW fsync") == "off" and not self._warned:
            self._warned = True
            log.warning("PostgreSQL runs with fsync=off: a power cut loses acknowledged readings")

    async def _upgrade(self) -> None:
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=lambda: connect(self.address),
            poolclass=NullPool,
        )
        with translated():
            async with engine.begin() as connection:
                await connection.run_sync(_upgrade)

    async def _call(
        self,
        connection: "asyncpg.Connection[asyncpg.Record]",
        columns: Columns,
        token: UUID,
        *,
        judged: bool,
    ) -> int | None:
        """The first id; None where the batch has to be judged. Nothing is stored then."""
        first: int | None = await connection.fetchval(
            _APPEND,
            token,
            self.announcer,
            list(columns.names),
            [] if self._sensors.issuperset(columns.names) else columns.first_seen,
            columns.by_place(columns.oldest),
            columns.by_place(columns.newest),
            judged,
            columns.sensors,
            *columns.rows,
        )
        if first and len(self._sensors) < SENSORS_KEPT:
            self._sensors.update(columns.names)
        return first

    async def _append_judged(
        self,
        connection: "asyncpg.Connection[asyncpg.Record]",
        readings: Sequence[Reading],
        token: UUID,
    ) -> list[Outcome]:
        """Look up what was said before of the same times; store only what is new."""
        async with connection.transaction():
            await connection.execute(
                "SELECT pg_advisory_xact_lock('readings'::regclass::oid::bigint)"
            )
            outcomes, new = _judge(readings, await _at_device_times(connection, readings))
            if new:
                first = await self._call(connection, Columns(new), token, judged=True)
                _numbered(new, first, token)
            return outcomes

    async def _select(self, tail: str, parameters: Sequence[int]) -> list[Reading]:
        async with self._reading() as connection:
            rows = await connection.exec_driver_sql(SELECT_READINGS + tail, tuple(parameters))
            return [from_row(row) for row in rows]

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        with translated():
            async with self._engine.connect() as connection:
                raw: Any = (await connection.get_raw_connection()).driver_connection
                with limited(raw, READ_TIMEOUT):
                    yield connection


def _upgrade(connection: Connection) -> None:
    upgrade(connection)


def _numbered(readings: Sequence[Reading], first: int | None, token: UUID) -> list[Outcome]:
    if not first:
        raise AlreadyCommitted(str(token))
    outcomes: list[Outcome] = []
    for place, reading in enumerate(readings):
        reading.id = first + place
        outcomes.append(Stored(reading))
    return outcomes


async def _at_device_times(
    connection: "asyncpg.Connection[asyncpg.Record]", readings: Sequence[Reading]
) -> dict[tuple[str, object], list[Reading]]:
    times = {(r.sensor_id, r.recorded_at) for r in readings if r.clock is Clock.DEVICE}
    found: dict[tuple[str, object], list[Reading]] = {}
    rows = await connection.fetch(
        _AT_DEVICE_TIME, [name for name, _ in times], [time for _, time in times]
    )
    for row in rows:
        reading = from_row(row)
        found.setdefault((reading.sensor_id, reading.recorded_at), []).append(reading)
    return found


def _judge(
    readings: Sequence[Reading], earlier: dict[tuple[str, object], list[Reading]]
) -> tuple[list[Outcome], list[Reading]]:
    """The outcomes, and the readings that are to be stored, which get their ids later."""
    outcomes: list[Outcome] = []
    new: list[Reading] = []
    for reading in readings:
        if reading.clock is Clock.DEVICE:
            known = earlier.setdefault((reading.sensor_id, reading.recorded_at), [])
            verdict = compare(reading, known)
            if verdict is not None:
                outcomes.append(verdict)
                continue
            known.append(reading)
        new.append(reading)
        outcomes.append(Stored(reading))
    return outcomes, new
