"""After a restore: ids go on where none was ever given."""

from typing import Final

from sensorflow.storage.ids import first_after_restore
from sensorflow.storage.postgres.connection import Address, connect, limited, translated

TIMEOUT: Final = 10.0
"""Seconds for all of it."""

_LOCK: Final = "SELECT pg_advisory_xact_lock('readings'::regclass::oid::bigint)"
_HIGHEST: Final = (
    "SELECT greatest((SELECT max(id) FROM readings), (SELECT last_value FROM readings_id_seq),"
    " (SELECT max(upper) - 1 FROM partitions))"
)
# As wide as `reserve_ids` would make it; the partitions of before stay as they are.
_PARTITION: Final = (
    "SELECT make_partition($1, $1 + (SELECT greatest(1000000, (sum(upper - lower) / 32)::bigint)"
    " FROM partitions))"
)
_SEQUENCE: Final = "SELECT setval('readings_id_seq', $1, false)"


async def skip_ids(address: Address) -> int:
    """As `storage.base.Storage.skip_ids` promises, in a session of its own."""
    connection = await connect(address)
    try:
        with limited(connection, TIMEOUT), translated():
            async with connection.transaction():
                await connection.execute(_LOCK)
                first = first_after_restore(await connection.fetchval(_HIGHEST))
                await connection.execute(_PARTITION, first)
                await connection.execute(_SEQUENCE, first)
                return first
    finally:
        connection.terminate()
