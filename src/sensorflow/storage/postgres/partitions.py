"""The partitions of `readings`: when the next one begins, what full ones hold, how they go."""

from datetime import datetime, timedelta
from typing import Final

from sensorflow.disk import Dropped, Tier, Undroppable
from sensorflow.storage.postgres.session import Connection

LOCK_TIMEOUT: Final = 0.1
"""Seconds to wait for who reads or writes `readings`: everybody else waits behind meanwhile."""

_LOCK: Final = "SELECT pg_advisory_xact_lock('readings'::regclass::oid::bigint)"
# Ids are in the order of commits: once there is a higher one, nothing is added to a partition.
_FULL: Final = (
    "SELECT lower FROM partitions WHERE rows IS NULL"
    " AND upper <= (SELECT max(id) FROM readings) ORDER BY lower"
)
_DESCRIBE: Final = (
    "UPDATE partitions SET (rows, bytes, oldest, newest) ="
    " (SELECT count(*), pg_total_relation_size('readings_{lower}'), min(recorded_at),"
    " max(recorded_at) FROM readings_{lower}) WHERE lower = {lower}"
)
_NEWEST: Final = (
    "SELECT lower, upper FROM partitions, readings_id_seq"
    " WHERE lower <= last_value + 1 AND last_value + 1 < upper"
)
_FOLLOWING: Final = "SELECT min(lower) FROM partitions WHERE lower >= $1"
# As wide as `reserve_ids` would make it.
_MAKE: Final = (
    "SELECT make_partition($1, $1 + (SELECT greatest(1000000, (sum(upper - lower) / 32)::bigint)"
    " FROM partitions))"
)
_OLDEST: Final = (
    "SELECT lower, rows, bytes, oldest, newest, (SELECT min(cursor) FROM followers) >= upper - 1"
    " AS followed FROM partitions WHERE rows IS NOT NULL"
    " AND lower = (SELECT min(lower) FROM partitions)"
)
_MOVE: Final = (
    "UPDATE tiers SET complete_from = greatest(complete_from, $1::timestamptz) WHERE name = 'raw'"
)


async def describe(connection: Connection) -> None:
    """Write down what each full partition holds."""
    for (lower,) in await connection.fetch(_FULL):
        await connection.execute(_DESCRIBE.format(lower=lower))


async def begin_partition(
    connection: Connection,
    bytes: int | None,  # noqa: A002
    since: datetime | None,
) -> bool:
    """Have ids go on in the next partition, as `storage.disk.Disk.begin_piece` promises."""
    newest = await connection.fetchrow(_NEWEST)
    if newest is None or not await _is_due(connection, newest["lower"], bytes, since):
        return False
    upper = newest["upper"]
    async with connection.transaction():
        await connection.execute(_LOCK)
        if await connection.fetchrow(_NEWEST) != newest:
            return False
        following = await connection.fetchval(_FOLLOWING, upper)
        if following is None:
            following = upper
            await connection.execute(_MAKE, following)
        await connection.execute("SELECT setval('readings_id_seq', $1)", following - 1)
    return True


async def _is_due(
    connection: Connection,
    lower: int,
    bytes: int | None,  # noqa: A002
    since: datetime | None,
) -> bool:
    if bytes is not None:
        size = await connection.fetchval(f"SELECT pg_total_relation_size('readings_{lower}')")
        if size >= bytes:
            return True
    if since is None:
        return False
    first = await connection.fetchval(
        f"SELECT received_at FROM readings_{lower} ORDER BY id LIMIT 1"  # noqa: S608
    )
    return first is not None and first < since


async def drop_partition(connection: Connection, before: datetime | None) -> Dropped | Undroppable:
    """Drop the oldest, if it is full, followed, and all of it is older."""
    found = await connection.fetchrow(_OLDEST)
    if found is None:
        return Undroppable.NONE_LEFT
    lower, rows, room, oldest, newest, followed = found
    if before is not None and newest is not None and newest >= before:
        return Undroppable.NONE_LEFT
    if not followed:
        return Undroppable.NOT_FOLLOWED
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT * 1000:.0f}ms'")
        await connection.execute(f"DROP TABLE readings_{lower}")
        await connection.execute("DELETE FROM partitions WHERE lower = $1", lower)
        if newest is not None:
            await connection.execute(_MOVE, newest + timedelta(microseconds=1))
    return Dropped(Tier.RAW, rows, room, oldest, newest)
