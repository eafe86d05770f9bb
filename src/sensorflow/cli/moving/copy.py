"""`sensorflow db copy`: from the embedded database to PostgreSQL."""

import asyncio
import sys
from time import monotonic

from sensorflow.cli.moving.bar import moving
from sensorflow.cli.replay import INTERRUPTED
from sensorflow.errors import SettingsError
from sensorflow.settings import Settings
from sensorflow.storage.transfer.copy import Compared, open_copy


def copy(to: str) -> int:
    """Move everything to the database at `to`, and compare. Returns the exit code.

    It is 0 where the two are the same. A copy that was cut short can be run again.
    """
    settings = Settings()
    if settings.database_url is not None:
        raise SettingsError("DATABASE_URL: the database is PostgreSQL; use pg_dump and pg_restore.")
    try:
        return asyncio.run(_run(settings, to))
    except KeyboardInterrupt:
        print("Stopped. What is copied stays; run it again to finish.", file=sys.stderr)
        return INTERRUPTED


async def _run(settings: Settings, to: str) -> int:
    started = monotonic()
    async with open_copy(settings.data_dir, to) as move:
        with moving("Copying", move.rows) as at:
            copied = await move.run(at)
        elapsed = monotonic() - started
        print(f"{copied:,} rows copied in {elapsed:,.1f} s, {copied / elapsed:,.0f}/s")
        sys.stdout.flush()
        with moving("Comparing", move.rows) as at:
            compared = await move.compare(at)
    for table in compared:
        print(f"{table.rows:>11,}  {table.name}, checksum {table.checksum}")
    differing = [table for table in compared if not table.equal]
    for table in differing:
        print(f"sensorflow: {_difference(table)}", file=sys.stderr)
    if differing:
        return 1
    print("Compared: both databases hold the same. Set DATABASE_URL, and keep DATA_DIR.")
    return 0


def _difference(table: Compared) -> str:
    return (
        f"{table.name}: the copy has {table.rows_there:,} rows, checksum {table.checksum_there}; "
        "make an empty database and copy again."
    )
