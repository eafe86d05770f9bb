"""A sensor removed from PostgreSQL with everything that is known of it, step by step."""

from typing import Final

from sensorflow.sensors import Removed
from sensorflow.storage.postgres.connection import Address, connect, limited, translated
from sensorflow.storage.postgres.session import Connection
from sensorflow.storage.removal import KNOWN, TIERS

TIMEOUT: Final = 5.0
"""Seconds for one step."""

_READINGS: Final = (
    "DELETE FROM readings"
    " WHERE id = ANY (ARRAY(SELECT id FROM readings WHERE sensor = $1 LIMIT $2))"
)

# Who stores readings, who follows them, who counts and who describes: each waits, and then finds
# no such sensor any more. In the order in which they take their locks themselves.
_LOCKS: Final = """
SELECT pg_advisory_xact_lock('readings'::regclass::oid::bigint);
SELECT 1 FROM followers FOR UPDATE;
LOCK TABLE sensor_counts IN SHARE ROW EXCLUSIVE MODE;
SELECT pg_advisory_xact_lock(hashtext('sensorflow details'))
"""


async def remove_some(address: Address, sensor_id: str, limit: int) -> Removed | None:
    """As `storage.base.Storage.remove_some` promises."""
    connection = await connect(address)
    try:
        with limited(connection, TIMEOUT), translated():
            sensor = await connection.fetchval(
                "SELECT id FROM sensors WHERE sensor_id = $1", sensor_id
            )
            if sensor is None:
                return None
            readings = _rows(await connection.execute(_READINGS, sensor, limit))
            if readings == limit:
                return Removed(readings, done=False)
            for tier in TIERS:
                table = f"rollups_{tier}"
                removal = (
                    f"DELETE FROM {table} WHERE ctid ="  # noqa: S608
                    f" ANY (ARRAY(SELECT ctid FROM {table} WHERE sensor = $1 LIMIT $2))"
                )
                if _rows(await connection.execute(removal, sensor, limit)) == limit:
                    return Removed(readings, done=False)
            return Removed(readings + await _remove_rest(connection, sensor), done=True)
    finally:
        connection.terminate()


async def _remove_rest(connection: Connection, sensor: int) -> int:
    """What has come since the steps before, and the sensor itself; how many readings that were."""
    async with connection.transaction():
        await connection.execute(_LOCKS)
        readings = _rows(await connection.execute("DELETE FROM readings WHERE sensor = $1", sensor))
        for table in (*(f"rollups_{tier}" for tier in TIERS), *KNOWN):
            await connection.execute(f"DELETE FROM {table} WHERE sensor = $1", sensor)  # noqa: S608
        await connection.execute("DELETE FROM sensors WHERE id = $1", sensor)
    return readings


def _rows(tag: str) -> int:
    """How many rows a command says it has removed."""
    return int(tag.rpartition(" ")[2])
