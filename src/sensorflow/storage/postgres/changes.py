"""What people change of sensors in PostgreSQL: rare, so each has a session of its own."""

import asyncio
from typing import Final

from sensorflow.sensors import Change
from sensorflow.storage.postgres.connection import Address, connect, limited, translated
from sensorflow.storage.sensors import details_of, encode

TIMEOUT: Final = 2.5
"""Seconds for a change, with its session: who asks for it is answered within 3 s."""

# Whoever changes the same sensor waits for the lock, and then sees what was written.
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('sensorflow details'))"
_DETAILS: Final = (
    "SELECT s.id, d.name, d.location, d.measurements::text FROM sensors s"
    " LEFT JOIN sensor_details d ON d.sensor = s.id WHERE s.sensor_id = $1"
)
_DESCRIBE: Final = (
    "INSERT INTO sensor_details (sensor, name, location, measurements)"
    " VALUES ($1, $2, $3, $4::text::jsonb) ON CONFLICT (sensor) DO UPDATE SET"
    " name = excluded.name, location = excluded.location, measurements = excluded.measurements"
)


async def describe(address: Address, sensor_id: str, change: Change) -> bool:
    """As `storage.base.Storage.describe` promises."""
    loop = asyncio.get_running_loop()
    until = loop.time() + TIMEOUT
    connection = await connect(address)
    try:
        with limited(connection, until - loop.time()), translated():
            async with connection.transaction():
                await connection.execute(_LOCK)
                row = await connection.fetchrow(_DETAILS, sensor_id)
                if row is None:
                    return False
                details = change(details_of(tuple(row)[1:]))
                measurements = encode(details.measurements).decode()
                await connection.execute(
                    _DESCRIBE, row[0], details.name, details.location, measurements
                )
        return True
    finally:
        connection.terminate()
