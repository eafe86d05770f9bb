"""The room that PostgreSQL takes for what is ours: readings go by the partition.

A partition that has grown large or old enough is left, and ids go on in the next one: so what is
dropped at once is a small part of what is kept, however wide the partitions are in ids.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sensorflow.disk import WIDTHS, Drop, Dropped, Fill, Held, Size, Tier, Undroppable, Why
from sensorflow.errors import StorageUnavailable
from sensorflow.storage.postgres.connection import connect, limited, translated
from sensorflow.storage.postgres.partitions import begin_partition, describe, drop_partition
from sensorflow.storage.postgres.session import Connection
from sensorflow.storage.postgres.storage import PostgresStorage
from sensorflow.storage.tables import metadata

TIMEOUT: Final = 300.0
"""Seconds for one statement: a partition is counted, or a table of rollups is tidied up."""

IDLE: Final = "120s"
"""Who is frozen loses its session, and with it the lock, to another worker."""

PAGES_AT_ONCE: Final = 128
"""Pages of which rows of rollups are removed at once: 1 MiB, some 20 ms."""

DROPS_KEPT: Final = 100
"""Notes of drops."""

ROLLUP_BYTES: Final = 200
"""Of a row of rollups, with its index, about."""

_ELECT: Final = "SELECT pg_try_advisory_lock(hashtext('sensorflow retention'))"
# What was deleted from a table of rollups leaves room in it that is used again: what counts is
# how many rows it was found to have the last time it was tidied up.
_FILL: Final = """
SELECT coalesce(sum(CASE WHEN relname LIKE 'rollups_%' AND reltuples >= 0
        THEN least(size, (reltuples * $2)::bigint) ELSE size END), 0)::bigint,
    coalesce(sum(size), 0)::bigint
FROM (
    SELECT relname, reltuples, pg_total_relation_size(c.oid) AS size FROM pg_class c
    WHERE c.oid IN (
        SELECT to_regclass(name) FROM unnest($1::text[]) AS t (name)
        UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = 'readings'::regclass
    )
) AS relations
"""
_HELD: Final = """
SELECT
    (SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint FROM pg_inherits
        WHERE inhparent = 'readings'::regclass),
    pg_total_relation_size('rollups_minute'), pg_total_relation_size('rollups_hour'),
    pg_total_relation_size('rollups_day'),
    (SELECT coalesce(sum(coalesce(rows, (SELECT max(id) - min(id) + 1 FROM readings
        WHERE id >= lower AND id < upper))), 0)::bigint FROM partitions),
    (SELECT recorded_at FROM readings ORDER BY id LIMIT 1),
    (SELECT recorded_at FROM readings ORDER BY id DESC LIMIT 1)
"""
_ROLLED_UP: Final = """
SELECT coalesce(sum(least(count, 1440)) FILTER (WHERE bucket >= $1), 0)::bigint,
    coalesce(sum(least(count, 24)) FILTER (WHERE bucket >= $2), 0)::bigint,
    count(*), min(bucket), max(bucket) FROM rollups_day
"""
_BEGINS: Final = (
    "SELECT name, coalesce(complete_from, timestamptz '1970-01-01 00:00+00') FROM tiers"
)
_MOVE: Final = (
    "UPDATE tiers SET complete_from = greatest(complete_from, $1::timestamptz) WHERE name = $2"
)
_NOTE: Final = (
    "INSERT INTO drops (at, tier, why, rows, bytes, oldest, newest)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING"
)
_FORGET_NOTES: Final = (
    "DELETE FROM drops WHERE at < (SELECT at FROM drops ORDER BY at DESC LIMIT 1 OFFSET $1)"
)


class PostgresDisk:
    """Implements `storage.disk.Disk`. What changes anything goes over a session of its own."""

    def __init__(self, storage: PostgresStorage) -> None:
        self._storage = storage
        self._connection: Connection | None = None
        """Of the one that was elected: it holds the lock until it ends."""

    async def lead(self) -> bool:
        if self._connection is not None and not self._connection.is_closed():
            return True
        if not self._storage.connected:
            raise StorageUnavailable("the database is not connected")
        connection = await connect(self._storage.address)
        elected = False
        try:
            with limited(connection, TIMEOUT), translated():
                await connection.execute(
                    f"SET statement_timeout = '{TIMEOUT:.0f}s'; SET idle_session_timeout = '{IDLE}'"
                )
                elected = bool(await connection.fetchval(_ELECT))
                if elected:
                    for tier in WIDTHS:
                        # What was counted may have been lost with a crash of the database.
                        await connection.execute(f"ANALYZE rollups_{tier}")
        except BaseException:
            elected = False
            raise
        finally:
            if not elected:
                connection.terminate()
        if elected:
            self._connection = connection
        return elected

    async def fill(self) -> Fill:
        tables = [name for name in metadata.tables if name != "readings"]
        ((used, on_disk),) = await self._storage.rows(_FILL, (tables, ROLLUP_BYTES))
        return Fill(used, on_disk)

    async def begin_piece(self, bytes: int | None, since: datetime | None) -> bool:  # noqa: A002
        with limited(self._leading, TIMEOUT), translated():
            return await begin_partition(self._leading, bytes, since)

    async def drop_raw(self, before: datetime | None) -> Dropped | Undroppable:
        with limited(self._leading, TIMEOUT), translated():
            await describe(self._leading)
            return await drop_partition(self._leading, before)

    async def drop_rollups(self, tier: Tier, before: datetime) -> Dropped:
        table = f"rollups_{tier}"
        connection = self._leading
        rows = 0
        with translated():
            with limited(connection, TIMEOUT):
                await connection.execute(_MOVE, before, tier)
                pages = await connection.fetchval(
                    "SELECT pg_relation_size($1::regclass) / current_setting('block_size')::bigint",
                    table,
                )
            for first in range(0, pages, PAGES_AT_ONCE):
                with limited(connection, TIMEOUT):
                    status = await connection.execute(
                        f"DELETE FROM {table} WHERE ctid >= '({first},0)'"  # noqa: S608
                        f" AND ctid < '({first + PAGES_AT_ONCE},0)' AND bucket < $1",
                        before,
                    )
                rows += int(status.removeprefix("DELETE "))
                await asyncio.sleep(0)
            if rows:
                with limited(connection, TIMEOUT):
                    # At once, so that what comes next finds the room, and `fill` counts anew.
                    await connection.execute(f"VACUUM (ANALYZE) {table}")
        return Dropped(tier, rows, rows * ROLLUP_BYTES, None, before)

    async def note(self, drop: Drop) -> None:
        dropped = drop.dropped
        with limited(self._leading, TIMEOUT), translated():
            await self._leading.execute(
                _NOTE,
                drop.at,
                dropped.tier,
                drop.why,
                dropped.rows,
                dropped.bytes,
                dropped.oldest,
                dropped.newest,
            )
            await self._leading.execute(_FORGET_NOTES, DROPS_KEPT)

    async def measure(self, size: Size, since: datetime) -> None:
        with limited(self._leading, TIMEOUT), translated():
            await self._leading.execute(
                "INSERT INTO sizes (at, used) VALUES ($1, $2) ON CONFLICT DO NOTHING", *size
            )
            await self._leading.execute("DELETE FROM sizes WHERE at < $1", since)

    async def held(self) -> Mapping[Tier, Held]:
        begin = {Tier(name): at for name, at in await self._storage.rows(_BEGINS)}
        (rolled_up,) = await self._storage.rows(_ROLLED_UP, (begin[Tier.MINUTE], begin[Tier.HOUR]))
        *counts, oldest, newest = rolled_up
        ((raw, *sizes, rows, first, last),) = await self._storage.rows(_HELD)
        held: dict[Tier, Held] = {Tier.RAW: Held(raw, rows, first, last)}
        for tier, size, count in zip(WIDTHS, sizes, counts, strict=True):
            held[tier] = Held(
                size,
                count,
                max(oldest, begin[tier]) if count else None,
                newest if count else None,
            )
        return held

    async def drops(self, limit: int) -> list[Drop]:
        rows = await self._storage.rows(
            "SELECT at, tier, why, rows, bytes, oldest, newest FROM drops"
            " ORDER BY at DESC LIMIT $1",
            (limit,),
        )
        return [
            Drop(at, Why(why), Dropped(Tier(tier), count, room, oldest, newest))
            for at, tier, why, count, room, oldest, newest in rows
        ]

    async def sizes(self) -> list[Size]:
        rows = await self._storage.rows("SELECT at, used FROM sizes ORDER BY at")
        return [Size(at, used) for at, used in rows]

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()

    @property
    def _leading(self) -> Any:
        assert self._connection is not None, "not elected"
        return self._connection
