"""PostgreSQL as the storage: one session writes, a small pool reads."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import structlog

from sensorflow.disk import Tier
from sensorflow.errors import StorageUnavailable
from sensorflow.readings import Clock, Outcome, Reading
from sensorflow.sensors import (
    Change,
    Counts,
    Page,
    Place,
    Removed,
    Sensor,
    Slice,
    State,
    Summary,
    Wanted,
)
from sensorflow.storage.migrations import HEAD
from sensorflow.storage.postgres import changes, history, removal, series
from sensorflow.storage.postgres import sensors as of_sensors
from sensorflow.storage.postgres.connection import connect, limited, parse, translated
from sensorflow.storage.postgres.readers import READ_TIMEOUT, Readers
from sensorflow.storage.postgres.restored import skip_ids
from sensorflow.storage.postgres.rows import (
    SELECT_AT_TIMES,
    SELECT_LATEST,
    SELECT_READINGS,
    from_row,
)
from sensorflow.storage.postgres.schema import UNFINISHED, upgrade_schema
from sensorflow.storage.postgres.session import Connection, Session
from sensorflow.storage.series import TIERS

ENDED: Final = "the database has ended the session"

log = structlog.get_logger()


class PostgresStorage:
    """Implements `storage.base.Storage`. `start` may be called again whenever it was unavailable.

    Creation raises `SettingsError` for a URL that cannot be right.
    """

    def __init__(self, url: str) -> None:
        self.address = parse(url)
        self.announcer = uuid4().hex[:16]
        """Names this process in the notices of its commits."""
        self._readers = Readers(self.address)
        self._session: Session | None = None
        self._following: of_sensors.FollowingSession | None = None
        self._warned = False
        self._on_lost: Callable[[StorageUnavailable], None] = lambda _: None

    def on_lost(self, call: Callable[[StorageUnavailable], None]) -> None:
        """Have `call` called when the writing session ends by itself."""
        self._on_lost = call

    @property
    def connected(self) -> bool:
        """Whether it has started, and readings can be committed as far as anybody knows."""
        return self._session is not None

    async def start(self) -> None:
        self._drop()
        connection = await connect(self.address)
        session = Session(connection, self.announcer)
        try:
            with limited(connection, READ_TIMEOUT), translated():
                await self._check(connection)
                revision = await _revision(connection)
            if revision != HEAD:
                await upgrade_schema(self.address)
            await session.probe()
            if connection.is_closed():
                raise StorageUnavailable(ENDED)
        except BaseException:
            session.end()
            raise
        self._session = session
        connection.add_termination_listener(lambda _: self._lose(session))

    async def append(
        self, readings: Sequence[Reading], token: UUID | None = None
    ) -> Sequence[Outcome]:
        session = self._session
        if session is None:
            raise StorageUnavailable("the database is not connected")
        try:
            return await session.append(readings, token or uuid4())
        except StorageUnavailable:
            if self._session is session:
                self._drop()
            raise

    def settle(self, token: UUID) -> None:
        if self._session is not None:
            self._session.settle(token)

    async def newest(self) -> Reading | None:
        found = await self._select(SELECT_READINGS + "ORDER BY r.id DESC LIMIT 1", ())
        return found[0] if found else None

    async def latest(self, sensors: Sequence[str], until: int) -> Reading | None:
        found = await self._select(SELECT_LATEST, (sensors, until))
        return found[0] if found else None

    async def after(self, cursor: int, limit: int) -> list[Reading]:
        tail = "WHERE r.id > $1 ORDER BY r.id LIMIT $2"
        return await self._select(SELECT_READINGS + tail, (cursor, limit))

    async def between(
        self,
        after: int,
        until: int,
        limit: int,
        sensors: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[Reading]:
        return await self._select(*history.between(after, until, limit, sensors, start, end))

    async def recorded_before(
        self,
        place: tuple[datetime, int],
        since: datetime,
        until: int,
        limit: int,
        sensors: Sequence[str] | None,
    ) -> list[Reading]:
        return await self._select(*history.recorded_before(place, since, until, limit, sensors))

    async def measurement_names(self, limit: int, sensors: Sequence[str] | None) -> list[str]:
        rows = await self.rows(*history.measurement_names(limit, sensors))
        return [name for (name,) in rows]

    async def by_server_clock(self, times: Collection[tuple[str, datetime]]) -> list[Reading]:
        names, moments = [name for name, _ in times], [time for _, time in times]
        return await self._select(SELECT_AT_TIMES, (names, moments, Clock.SERVER))

    async def oldest(self) -> int:
        ((lowest,),) = await self.rows("SELECT min(lower) FROM partitions")
        return int(lowest or 1)

    async def lead(self) -> int | None:
        return await (await self._follower()).lead()

    async def gathered(self, after: int, limit: int) -> Page:
        return await self._leader().gathered(after, limit)

    async def states(self, sensors: Sequence[int]) -> dict[int, State]:
        return await self._leader().states(sensors)

    async def follow(self, page: Page, states: Mapping[int, State]) -> bool:
        assert isinstance(page, of_sensors.SummedPage)
        return await self._leader().follow(page, states)

    async def count(self, counts: Counts, token: UUID, settled: UUID | None) -> None:
        await (await self._follower()).count(counts, token, settled)

    async def sensor(self, sensor_id: str) -> Sensor | None:
        rows = await self.rows(of_sensors.ONE, (sensor_id,))
        return of_sensors.from_row(rows[0]) if rows else None

    async def sensors(self, limit: int, after: Place | None, containing: str) -> list[Sensor]:
        rows = await self.rows(*of_sensors.select_page(limit, after, containing))
        return [of_sensors.from_row(row) for row in rows]

    async def describe(self, sensor_id: str, change: Change) -> bool:
        return await changes.describe(self.address, sensor_id, change)

    async def remove_some(self, sensor_id: str, limit: int) -> Removed | None:
        return await removal.remove_some(self.address, sensor_id, limit)

    async def complete_from(self) -> Mapping[Tier, datetime | None]:
        return {Tier(name): at for name, at in await self.rows(TIERS)}

    async def summarised(
        self, wanted: Wanted, slices: Mapping[Tier, Sequence[Slice]]
    ) -> list[Summary] | None:
        rows = await self.rows(*series.select(wanted, slices))
        return series.summaries(rows, wanted.limit)

    async def summarised_raw(
        self, wanted: Wanted, within: Slice, width: timedelta
    ) -> list[Summary] | None:
        rows = await self.rows(*series.select_raw(wanted, within, width))
        return series.summaries(rows, wanted.limit)

    async def ping(self) -> None:
        if self._session is None:
            raise StorageUnavailable("the database is not connected")
        await self.rows("SELECT 1")

    async def skip_ids(self) -> int:
        return await skip_ids(self.address)

    async def close(self) -> None:
        self._drop()
        if self._following is not None:
            self._following.end()
        await self._readers.close()

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.end()

    def _lose(self, session: Session) -> None:
        if self._session is session:
            self._session = None
            self._on_lost(StorageUnavailable(ENDED))

    async def _check(self, connection: Connection) -> None:
        if await connection.fetchval("SHOW transaction_read_only") == "on":
            raise StorageUnavailable("the database is read-only (a standby?)")
        if await connection.fetchval("SELECT to_regclass($1)", UNFINISHED) is not None:
            raise StorageUnavailable(
                "another database is being copied into it; `sensorflow db copy` has to finish that"
            )
        if await connection.fetchval("SHOW fsync") == "off" and not self._warned:
            self._warned = True
            log.warning("PostgreSQL runs with fsync=off: a power cut loses acknowledged readings")

    async def _select(self, query: str, parameters: Sequence[object]) -> list[Reading]:
        return [from_row(row) for row in await self.rows(query, parameters)]

    async def rows(self, query: str, parameters: Sequence[object] = ()) -> Sequence[Sequence[Any]]:
        """Read what a query finds."""
        return await self._readers.rows(query, parameters)

    async def _follower(self) -> of_sensors.FollowingSession:
        """A session that works, as far as anybody knows; another one does not lead yet."""
        if self._following is None or self._following.ended:
            self._following = await of_sensors.FollowingSession.open(self.address)
        return self._following

    def _leader(self) -> of_sensors.FollowingSession:
        """The session that was elected, and no other: it reads while it holds the lock."""
        if self._following is None or not self._following.elected:
            raise StorageUnavailable(ENDED)
        return self._following


async def _revision(connection: Connection) -> str | None:
    """The newest migration that was applied; None in an empty database."""
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    found: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    return found
