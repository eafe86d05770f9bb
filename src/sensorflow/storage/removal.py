"""A sensor removed from SQLite with everything that is known of it, step by step."""

import sqlite3
from typing import Final

from sensorflow.sensors import Removed

TIERS: Final = ("minute", "hour", "day")
KNOWN: Final = ("sensor_states", "sensor_counts", "sensor_details")

_READINGS: Final = (
    "DELETE FROM readings WHERE id IN (SELECT id FROM readings WHERE sensor = ? LIMIT ?)"
)


def remove_some(cursor: sqlite3.Cursor, sensor_id: str, limit: int) -> Removed | None:
    """Within a transaction; as `storage.base.Storage.remove_some` promises."""
    found = cursor.execute("SELECT id FROM sensors WHERE sensor_id = ?", (sensor_id,)).fetchone()
    if found is None:
        return None
    (sensor,) = found
    cursor.execute(_READINGS, (sensor, limit))
    readings = cursor.rowcount
    if readings == limit:
        return Removed(readings, done=False)
    for tier in TIERS:
        # The key is the table: the rows of a sensor lie side by side.
        cursor.execute(
            f"DELETE FROM rollups_{tier} WHERE (sensor, measurement, bucket) IN"  # noqa: S608
            f" (SELECT sensor, measurement, bucket FROM rollups_{tier} WHERE sensor = ? LIMIT ?)",
            (sensor, limit),
        )
        if cursor.rowcount == limit:
            return Removed(readings, done=False)
    for table in KNOWN:
        cursor.execute(f"DELETE FROM {table} WHERE sensor = ?", (sensor,))  # noqa: S608
    cursor.execute("DELETE FROM sensors WHERE id = ?", (sensor,))
    return Removed(readings, done=True)
