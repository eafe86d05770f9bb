"""A year of history: the same readings in the program's database and in InfluxDB, made quickly.

A sensor has a reading a minute, of one measurement; there are as many sensors as it takes. The
tables are filled by statements of their own, rollups included, with the rows in the order in which
they would have come.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks.influx import InfluxDB

STEP: Final = 60
MINUTES: Final = 365 * 24 * 60
MILLION: Final = 1_000_000
LINES: Final = 20_000

_VALUE: Final = "20.0 + (({n}) % 1440) / 180.0 + (({n}) % 97) / 97.0"
_ROLLED: Final = (
    "sum(count), sum(sum), min(minimum), max(maximum), min(first), max(last), min(first_at),"
    " max(last_at)"
)


class History:
    """What is stored, and when it was."""

    def __init__(self, millions: int, end: datetime) -> None:
        self.sensors = -(-millions * MILLION // MINUTES)
        self.start = end - timedelta(minutes=MINUTES)
        self.end = end
        self.readings = self.sensors * MINUTES

    def fill_sqlite(self, folder: Path) -> None:
        """Into the program's own database, while it does not run."""
        start = int(self.start.timestamp()) * 1_000_000
        sensors = self.sensors
        with closing(sqlite3.connect(folder / "sensorflow.db", isolation_level=None)) as database:
            run = database.execute
            run("PRAGMA synchronous = OFF")
            run("PRAGMA cache_size = -500000")
            run("BEGIN")
            for number in range(sensors):
                run(f"INSERT INTO sensors (sensor_id, first_seen) VALUES ('sensor-{number}', 0)")
            run("INSERT INTO measurements (id, name) VALUES (1, 'temperature')")
            at = f"{start} + (n / {sensors}) * 60000000 + (n % {sensors}) * 1000000"
            run(
                f"WITH RECURSIVE g (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM g"
                f" WHERE n + 1 < {self.readings}) INSERT INTO readings (id, sensor, recorded_at,"
                f" clock, received_at, temperature) SELECT n + 1, n % {sensors} + 1, {at}, 1, {at},"
                f" {_VALUE.format(n=f'n / {sensors}')} FROM g"
            )
            run(
                "INSERT INTO rollups_minute SELECT sensor, 1, recorded_at / 60000000 * 60000000, 1,"
                " temperature, temperature, temperature, temperature, temperature, recorded_at,"
                " recorded_at FROM readings ORDER BY sensor, recorded_at"
            )
            for finer, tier, width in (("minute", "hour", 3600), ("hour", "day", 86400)):
                bucket = f"bucket / {width}000000 * {width}000000"
                run(
                    f"INSERT INTO rollups_{tier} SELECT sensor, measurement, {bucket}, {_ROLLED}"
                    f" FROM rollups_{finer} GROUP BY 1, 2, 3"
                )
            run(f"UPDATE followers SET cursor = {self.readings}")
            run("COMMIT")
            run("PRAGMA wal_checkpoint(TRUNCATE)")

    async def fill_postgresql(self, url: str) -> None:
        """Into an empty database with the program's tables."""
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("SET synchronous_commit = off")
            await connection.execute(
                "INSERT INTO sensors (sensor_id, first_seen)"
                f" SELECT 'sensor-' || n, now() FROM generate_series(0, {self.sensors - 1}) n"
            )
            await connection.execute("INSERT INTO measurements (name) VALUES ('temperature')")
            start = f"timestamptz '{self.start.isoformat()}'"
            sensors = self.sensors
            at = (
                f"{start} + (n / {sensors}) * interval '1 minute'"
                f" + (n % {sensors}) * interval '1 second'"
            )
            for lower in range(0, self.readings, MILLION):
                if lower:
                    await connection.execute(
                        f"SELECT make_partition({lower + 1}, {lower + MILLION + 1}) WHERE NOT"
                        f" EXISTS (SELECT 1 FROM partitions WHERE upper > {lower + 1})"
                    )
                upper = min(lower + MILLION, self.readings) - 1
                await connection.execute(
                    "INSERT INTO readings (id, sensor, recorded_at, clock, received_at,"
                    f" temperature) SELECT n + 1, n % {sensors} + 1, {at}, 1, {at},"
                    f" {_VALUE.format(n=f'n / {sensors}')}"
                    f" FROM generate_series({lower}, {upper}) n"
                )
            await connection.execute(
                "INSERT INTO rollups_minute SELECT sensor, m.id, date_trunc('minute', recorded_at),"
                " 1, temperature, temperature, temperature, temperature, temperature, recorded_at,"
                " recorded_at FROM readings, measurements m ORDER BY readings.id"
            )
            for finer, tier in (("minute", "hour"), ("hour", "day")):
                await connection.execute(
                    f"INSERT INTO rollups_{tier} SELECT sensor, measurement,"
                    f" date_trunc('{tier}', bucket) AS b, {_ROLLED} FROM rollups_{finer}"
                    " GROUP BY sensor, measurement, b ORDER BY b, sensor"
                )
            await connection.execute(f"UPDATE followers SET cursor = {self.readings}")
            await connection.execute(f"SELECT setval('readings_id_seq', {self.readings})")
            await connection.execute("VACUUM (ANALYZE)")
        finally:
            await connection.close()

    def fill_influxdb(self, server: InfluxDB) -> None:
        """Into an empty database: the measurement `temperature`, the tag `sensor`."""
        lines: list[str] = []
        for line in self._lines():
            lines.append(line)
            if len(lines) == LINES:
                server.write("\n".join(lines).encode())
                lines.clear()
        if lines:
            server.write("\n".join(lines).encode())

    def _lines(self) -> Iterator[str]:
        start = int(self.start.timestamp())
        for n in range(MINUTES):
            value = 20.0 + (n % 1440) / 180.0 + (n % 97) / 97.0
            for sensor in range(self.sensors):
                at = (start + n * STEP + sensor) * 1_000_000_000
                yield f"temperature,sensor=sensor-{sensor} value={value!r} {at}"


def last_midnight() -> datetime:
    """Of UTC: where the history ends."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
