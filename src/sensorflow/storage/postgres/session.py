"""The session that writes: one batch, one transaction, one round trip where that is enough."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg

from sensorflow.columns import AllStored, ReadingColumns
from sensorflow.readings import Clock, Duplicate, Outcome, Reading, Stored
from sensorflow.storage.duplicates import compare
from sensorflow.storage.postgres.connection import limited, refusing, translated
from sensorflow.storage.postgres.copying import COLUMNS
from sensorflow.storage.postgres.rows import SELECT_AT_TIMES, Batch, from_row

APPEND_TIMEOUT: Final = 1.25
"""Seconds for one commit: a reading waits for two of them, and never for 3 s."""

PROBE_TIMEOUT: Final = 1.5
"""Seconds to find out whether readings can be committed."""

COPY_FROM: Final = 512
"""Readings from which on COPY is quicker, in spite of its round trips."""

SENSORS_KEPT: Final = 100_000
"""Sensors remembered."""

SETTLE_AT: Final = 64
"""Tokens that are forgotten together."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Earlier: TypeAlias = dict[tuple[str, datetime], list[Reading]]
"""What is stored, by sensor and device's time."""

_LOCK: Final = "SELECT pg_advisory_xact_lock('readings'::regclass::oid::bigint)"

# The rows' pages are really taken, since a full disk has room in those that are there; then they
# are given back. What a constraint of the user's own says of such rows does not count.
_PROBE: Final = """
INSERT INTO commits VALUES ('00000000-0000-0000-0000-000000000000', now());
DELETE FROM commits WHERE token = '00000000-0000-0000-0000-000000000000';
INSERT INTO sensors (sensor_id, first_seen) SELECT '', now() WHERE false;
UPDATE sensors SET latest = latest WHERE false;
SELECT setval('readings_id_seq', greatest(last_value, newest),
        is_called OR coalesce(newest >= last_value, false))
    FROM readings_id_seq, (SELECT max(id) AS newest FROM readings) r;
DO $$ BEGIN
    INSERT INTO readings (id, sensor, recorded_at, clock, received_at, client_ip)
        SELECT last_value + n, 0, now(), 0, now(), repeat('x', 1900)
        FROM readings_id_seq, generate_series(1, 16) AS n;
    RAISE EXCEPTION 'not to be kept';
EXCEPTION
    WHEN data_exception OR integrity_constraint_violation OR raise_exception THEN NULL;
END $$
"""
_RESERVE: Final = (
    "SELECT first, sensor_ids FROM reserve_ids($1, $2, $3, $4, $5, $6::text::timestamptz[],"
    " $7::text::timestamptz[], $8, $9)"
)
_APPEND: Final = (
    "SELECT append_readings($1, $2, $3, $4, $5, $6::text::timestamptz[],"
    " $7::text::timestamptz[], $8, $9::text::int[],"
    " $10::text::timestamptz[], $11::text::timestamptz[], $12::text::timestamptz[],"
    " $13::text::float8[], $14::text::float8[], $15::text::float8[], $16, $17::text::text[])"
)


class Session:
    """Appends over one connection, which it owns. After a failure it is of no more use."""

    def __init__(self, connection: Connection, announcer: str) -> None:
        self._connection = connection
        self._announcer = announcer
        self._sensors: set[str] = set()
        """Some that the database knows: when they were first seen need not be sent again."""
        self._settled: list[UUID] = []

    async def probe(self) -> None:
        """Return if readings can be committed now, else raise `StorageUnavailable`.

        Takes the writers' lock, does what a batch does to each table, and has it flushed to the
        database's disk. A sequence that was set back is set to the newest id again.
        """
        connection = self._connection
        with limited(connection, PROBE_TIMEOUT), translated():
            async with connection.transaction():
                await connection.execute(_LOCK)
                await connection.execute(_PROBE)

    async def append(self, readings: Sequence[Reading], token: UUID) -> Sequence[Outcome]:
        """As `storage.base.Storage.append` promises."""
        batch = Batch(readings)
        with limited(self._connection, APPEND_TIMEOUT), translated(), refusing():
            first = None
            if not batch.repeats:
                first = await self._store(batch, token, judged=False)
            if first:
                return _numbered(readings, first)
            readings = list(readings)  # of columns, which make each anew
            if first is None:
                return await self._append_judged(readings, token)
            return _committed_before(readings, await self._at_device_times(readings))

    def settle(self, token: UUID) -> None:
        """Have the token forgotten with one of the next batches."""
        self._settled.append(token)

    def end(self) -> None:
        """Close the connection at once."""
        self._connection.terminate()

    async def _store(self, batch: Batch, token: UUID, *, judged: bool) -> int | None:
        """The first id; 0 for a known token, None where the batch has to be judged.

        In the last two cases nothing is stored.
        """
        settled = self._settled if len(self._settled) >= SETTLE_AT else []
        known = self._sensors.issuperset(batch.names)
        head = (
            token,
            settled,
            self._announcer,
            list(batch.names),
            [] if known else batch.first_seen,
            batch.by_place(batch.oldest),
            batch.by_place(batch.newest),
            judged,
        )
        first: int | None
        if batch.size < COPY_FROM:
            first = await self._connection.fetchval(_APPEND, *head, *batch.arrays())
        else:
            first = await self._copy(batch, head)
        if first:
            if settled:
                self._settled = []
            if not known and len(self._sensors) < SENSORS_KEPT:
                self._sensors.update(batch.names)
        return first

    async def _copy(self, batch: Batch, head: tuple[object, ...]) -> int | None:
        async with self._connection.transaction():
            reserved = await self._connection.fetchrow(_RESERVE, *head, batch.size)
            assert reserved is not None
            first: int | None = reserved["first"]
            if first:
                await self._connection.copy_to_table(
                    "readings",
                    source=batch.copied(first, reserved["sensor_ids"]),
                    columns=COLUMNS,
                    format="binary",
                )
            return first

    async def _append_judged(self, readings: Sequence[Reading], token: UUID) -> list[Outcome]:
        """Look up what was said before of the same times; store only what is new."""
        async with self._connection.transaction():
            await self._connection.execute(_LOCK)
            earlier = await self._at_device_times(readings)
            outcomes, new = _judge(readings, earlier)
            if new:
                first = await self._store(Batch(new), token, judged=True)
                if not first:
                    return _committed_before(readings, earlier)
                _numbered(new, first)
            return outcomes

    async def _at_device_times(self, readings: Sequence[Reading]) -> Earlier:
        times = {(r.sensor_id, r.recorded_at) for r in readings if r.clock is Clock.DEVICE}
        found: Earlier = {}
        rows = await self._connection.fetch(
            SELECT_AT_TIMES,
            [name for name, _ in times],
            [time for _, time in times],
            Clock.DEVICE,
        )
        for row in rows:
            reading = from_row(row)
            found.setdefault((reading.sensor_id, reading.recorded_at), []).append(reading)
        return found


def _numbered(readings: Sequence[Reading], first: int) -> Sequence[Outcome]:
    if isinstance(readings, ReadingColumns):
        readings.first_id = first
        return AllStored(readings)
    for pk, reading in enumerate(readings, first):
        reading.id = pk
    return list(map(Stored, readings))


def _committed_before(readings: Sequence[Reading], earlier: Earlier) -> list[Outcome]:
    """What a batch under a known token is: stored then, except for what was a conflict then."""
    outcomes: list[Outcome] = []
    for reading in readings:
        known = earlier.get((reading.sensor_id, reading.recorded_at), [])
        verdict = compare(reading, known) if reading.clock is Clock.DEVICE else None
        outcomes.append(verdict or Duplicate(reading))
    return outcomes


def _judge(readings: Sequence[Reading], earlier: Earlier) -> tuple[list[Outcome], list[Reading]]:
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
