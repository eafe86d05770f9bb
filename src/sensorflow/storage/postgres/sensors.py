"""What is known of sensors in PostgreSQL, and the session in which the stream is followed."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sensorflow.sensors import Counts, Page, Place, Sensor, State
from sensorflow.storage.postgres import rollups
from sensorflow.storage.postgres.connection import Address, connect, limited, translated
from sensorflow.storage.postgres.session import Connection
from sensorflow.storage.sensors import (
    CURSOR,
    decode_latest,
    decode_outcomes,
    details_of,
    encode,
    flat,
)

TIMEOUT: Final = 5.0
"""Seconds for one page to be read, or written."""

IDLE: Final = "30s"
"""A frozen follower loses its session, and with it the lock, to another worker."""

NAMES_KEPT: Final = 10_000
"""Measurements that are known to have their numbers; others are looked up again."""

_ELECT: Final = "SELECT pg_try_advisory_lock(hashtext('sensorflow follower'))"
_LOCK: Final = "SELECT pg_advisory_xact_lock('readings'::regclass::oid::bigint)"
_MOVE: Final = (
    "UPDATE followers SET cursor = $2 WHERE name = 'history' AND cursor = $1 RETURNING cursor"
)
_STATES: Final = (
    "SELECT sensor, stored, last_id, last_seen, latest::text FROM sensor_states"
    " WHERE sensor = ANY ($1::bigint[])"
)
_FOLLOW: Final = (
    "INSERT INTO sensor_states (sensor, stored, last_id, last_seen, latest)"
    " SELECT sensor, stored, last_id, last_seen, latest::jsonb"
    " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::text[])"
    " AS n (sensor, stored, last_id, last_seen, latest)"
    " WHERE EXISTS (SELECT 1 FROM sensors WHERE id = n.sensor)"
    " ON CONFLICT (sensor) DO UPDATE SET stored = excluded.stored, last_id = excluded.last_id,"
    " last_seen = excluded.last_seen, latest = excluded.latest"
)
_UNKNOWN: Final = (
    "SELECT count(*) FROM unnest($1::text[]) AS n (name)"
    " WHERE NOT EXISTS (SELECT 1 FROM sensors WHERE sensor_id = name)"
)
_CREATE: Final = (
    "INSERT INTO sensors (sensor_id, first_seen) SELECT name, now()"
    " FROM unnest($1::text[]) AS n (name)"
    " WHERE NOT EXISTS (SELECT 1 FROM sensors WHERE sensor_id = name)"
)
_ONCE: Final = (
    "INSERT INTO commits (token, committed_at) VALUES ($1, now())"
    " ON CONFLICT DO NOTHING RETURNING token"
)
# A page is small: starting a parallel worker takes ten times as long as the page itself.
_SET_UP: Final = f"SET idle_session_timeout = '{IDLE}'; SET max_parallel_workers_per_gather = 0"
_FORGET: Final = "DELETE FROM commits WHERE token = $1"
# In an order that all workers share, so that none waits for one that waits for it.
_COUNT: Final = (
    "INSERT INTO sensor_counts AS c (sensor, outcome, readings)"
    " SELECT s.id, outcome, readings FROM unnest($1::text[], $2::text[], $3::bigint[])"
    " AS n (name, outcome, readings) JOIN sensors s ON s.sensor_id = n.name"
    " ORDER BY s.id, outcome"
    " ON CONFLICT (sensor, outcome) DO UPDATE SET readings = c.readings + excluded.readings"
)
_SENSORS: Final = (
    "SELECT s.id, s.sensor_id, s.first_seen, t.stored, t.last_id, t.last_seen, t.latest::text,"
    " (SELECT coalesce(json_object_agg(outcome, readings), '{}')::text FROM sensor_counts"
    " WHERE sensor = s.id), d.name, d.location, d.measurements::text FROM sensors s"
    " LEFT JOIN sensor_states t ON t.sensor = s.id LEFT JOIN sensor_details d ON d.sensor = s.id "
)
ONE: Final = _SENSORS + "WHERE s.sensor_id = $1"
_HEARD: Final = "coalesce(t.last_seen, s.first_seen)"


class SummedPage(Page, gc=False):
    """A page whose minutes are summed up when it is followed."""

    has_others: bool
    """Whether anything but the measurements known by name was measured."""


class FollowingSession:
    """Follows and counts over one connection, which it owns."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.elected = False
        """Whether this is the session that follows: it holds the lock until it ends."""
        self._named: set[str] = set()
        """Measurements that have their numbers."""

    @classmethod
    async def open(cls, address: Address) -> "FollowingSession":
        """Raises `StorageUnavailable`, as everything here does."""
        connection = await connect(address)
        session = cls(connection)
        try:
            with limited(connection, TIMEOUT), translated():
                await connection.execute(_SET_UP)
        except BaseException:
            session.end()
            raise
        return session

    @property
    def ended(self) -> bool:
        """Whether another session is needed."""
        return self._connection.is_closed()

    def end(self) -> None:
        """Close the connection at once."""
        self._connection.terminate()

    async def lead(self) -> int | None:
        """The cursor, if this session holds the lock of the one that follows."""
        with limited(self._connection, TIMEOUT), translated():
            if not self.elected:
                self.elected = await self._connection.fetchval(_ELECT)
            if not self.elected:
                return None
            cursor: int = await self._connection.fetchval(CURSOR)
            return cursor

    async def gathered(self, after: int, limit: int) -> SummedPage:
        """As `storage.base.Storage` promises."""
        with limited(self._connection, TIMEOUT), translated():
            window = await self._connection.fetchrow(rollups.WINDOW, after)
            assert window is not None
            first, newest = window
            if first is None:
                return SummedPage(after, after, False, {}, False)
            until = min(newest, first + limit - 1)
            sums = await self._connection.fetch(rollups.SUMS, after, until)
            has_others = any(row["others"] for row in sums)
            others = (
                await self._connection.fetch(rollups.LATEST_OTHERS, after, until)
                if has_others
                else ()
            )
        return SummedPage(after, until, until < newest, rollups.states(sums, others), has_others)

    async def states(self, sensors: Sequence[int]) -> dict[int, State]:
        """As `storage.base.Storage` promises."""
        with limited(self._connection, TIMEOUT), translated():
            rows = await self._connection.fetch(_STATES, sensors)
        return {row[0]: State(row[1], row[2], row[3], decode_latest(row[4])) for row in rows}

    async def follow(self, page: SummedPage, states: Mapping[int, State]) -> bool:
        """As `storage.base.Storage` promises."""
        changed = states.values()
        columns = (
            list(states),
            [state.stored for state in changed],
            [state.last_id for state in changed],
            [state.last_seen for state in changed],
            [encode(state.latest).decode() for state in changed],
        )
        names = {name for sums in page.sums.values() for name in sums.latest} - self._named
        with limited(self._connection, TIMEOUT), translated():
            async with self._connection.transaction():
                if await self._connection.fetchval(_MOVE, page.after, page.until) is None:
                    return False
                await self._connection.execute(_FOLLOW, *columns)
                if names:
                    await self._connection.execute(rollups.NAMES, sorted(names))
                roll_up = rollups.ROLL_UP if page.has_others else rollups.ROLL_UP_KNOWN
                await self._connection.execute(roll_up, page.after, page.until)
        self._named = self._named | names if len(self._named) < NAMES_KEPT else names
        return True

    async def count(self, counts: Counts, token: UUID, settled: UUID | None) -> None:
        """As `storage.base.Storage` promises."""
        rows = flat(counts)
        columns = [[row[place] for row in rows] for place in range(3)]
        with limited(self._connection, TIMEOUT), translated():
            await self._create(list(counts))
            async with self._connection.transaction():
                if settled is not None:
                    await self._connection.execute(_FORGET, settled)
                if await self._connection.fetchval(_ONCE, token) is not None:
                    await self._connection.execute(_COUNT, *columns)

    async def _create(self, names: list[str]) -> None:
        """Make the sensors known, holding the lock of all who make any: none waits in a circle."""
        if await self._connection.fetchval(_UNKNOWN, names):
            async with self._connection.transaction():
                await self._connection.execute(_LOCK)
                await self._connection.execute(_CREATE, names)


def select_page(limit: int, after: Place | None, containing: str) -> tuple[str, tuple[Any, ...]]:
    """The query of `storage.base.Storage.sensors`, with its parameters."""
    query = _SENSORS + "WHERE (strpos(s.sensor_id, $2) > 0 OR strpos(d.name, $2) > 0) "
    parameters: tuple[Any, ...] = (limit, containing)
    if after is not None:
        query += f"AND ({_HEARD}, s.id) < ($3::timestamptz, $4::bigint) "
        parameters += after
    return query + f"ORDER BY {_HEARD} DESC, s.id DESC LIMIT $1", parameters


def from_row(row: Sequence[Any]) -> Sensor:
    """The sensor in a row of PostgreSQL's."""
    number, sensor_id, first_seen, stored, last_id, last_seen, latest, outcomes, *details = row
    state = None
    if stored is not None:
        state = State(stored, last_id, last_seen, decode_latest(latest))
    outcomes = decode_outcomes(outcomes)
    return Sensor(number, sensor_id, first_seen, state, outcomes, details_of(details))
