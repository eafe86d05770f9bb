"""`sensorflow db import-original`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from time import monotonic

from sensorflow.cli.moving.bar import moving
from sensorflow.cli.moving.importer import Importer
from sensorflow.cli.progress import Faults
from sensorflow.cli.replay import INTERRUPTED
from sensorflow.settings import Settings
from sensorflow.storage.engine import open_storage
from sensorflow.storage.original import TABLE, Original, OriginalRow, open_original


def import_original(url: str, timezone: str | None) -> int:
    """Store what the table at `url` has and the storage lacks, and compare. Returns the exit code.

    It is 0 where every row is stored, 1 where some cannot be. An import that was cut short can be
    run again.
    """
    settings = Settings(**({} if timezone is None else {"timezone": timezone}))
    try:
        return asyncio.run(_run(url, settings))
    except KeyboardInterrupt:
        print("Stopped. What is stored stays; run it again to finish.", file=sys.stderr)
        return INTERRUPTED


async def _run(url: str, settings: Settings) -> int:
    async with open_original(url) as original:
        storage = open_storage(settings.data_dir, settings.database_url)
        try:
            await storage.start()
            away = settings.database_url is not None
            importer = Importer(storage, settings.zone, Faults().tell, away=away)
            started = monotonic()
            await importer.store(_Shown(original, "Importing"))
            _summarise(importer, monotonic() - started, settings.timezone)
            await importer.compare(_Shown(original, "Comparing"))
        finally:
            await storage.close()
    compared = importer.compared
    table, database = (f"{total % 2**64:016x}" for total in importer.sums)
    if importer.lacking or table != database:
        print(
            f"sensorflow: {importer.lacking:,} of {compared:,} rows are not in the database as "
            f"they are in the table; checksums {table} and {database}.",
            file=sys.stderr,
        )
        return 1
    print(f"Compared: {compared:,} rows are in the database as in the table, checksum {table}.")
    return 1 if importer.refused else 0


def _summarise(importer: Importer, elapsed: float, timezone: str) -> None:
    rate = importer.read / elapsed if elapsed else 0.0
    print(f"{TABLE}: {importer.read:,} rows read in {elapsed:,.1f} s, {rate:,.0f}/s")
    told = [(importer.stored, "stored"), (importer.there, "stored before")]
    told += [
        (count, f"refused, {fault}: {importer.examples[fault]}")
        for fault, count in importer.refused.most_common()
    ]
    told += [
        (
            importer.twice,
            f"at a time that clocks in {timezone} have shown twice: the first is taken",
        ),
        (importer.never, f"at a time that clocks in {timezone} have never shown: is it the zone?"),
    ]
    for count, what in told:
        if count:
            print(f"{count:>11,}  {what}")
    sys.stdout.flush()


class _Shown:
    """The table, with a bar that tells how much of it was read."""

    def __init__(self, original: Original, title: str) -> None:
        self._original = original
        self.rows = original.rows
        self._title = title

    async def pages(self) -> AsyncIterator[list[OriginalRow]]:
        done = 0
        with moving(self._title, self.rows) as at:
            async for page in self._original.pages():
                yield page
                done += len(page)
                at(done)
