"""The copy: readings in steps that stay, everything else whole, and then all of it compared."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from sensorflow.storage.tables import readings
from sensorflow.storage.transfer.source import Source, open_source
from sensorflow.storage.transfer.tables import Digest, Row, numbered, tables
from sensorflow.storage.transfer.target import Target, open_target


class Compared(NamedTuple):
    """A table on both sides."""

    name: str
    rows: int
    checksum: str
    rows_there: int
    checksum_there: str

    @property
    def equal(self) -> bool:
        return (self.rows, self.checksum) == (self.rows_there, self.checksum_there)


class Copy:
    """From a source to a target. `StorageUnavailable` ends it; then it can be begun again."""

    def __init__(self, source: Source, target: Target) -> None:
        self._source = source
        self._target = target
        self.rows = sum(map(source.count, tables()))
        """In all tables together."""

    async def run(self, at: Callable[[int], None]) -> int:
        """Copy what lacks, and return how many rows that were; `at` is told how many are there.

        Raises `SettingsError`.
        """
        source, target = self._source, self._target
        highest = await target.claim(source)
        before = done = source.count(readings, highest)
        at(done)

        def counted(pages: Iterable[list[Row]]) -> Iterator[list[Row]]:
            nonlocal done
            for page in pages:
                yield page
                done += len(page)
                at(done)

        for page in counted(source.pages(readings, highest)):
            await target.add(page)
        for table in tables():
            if table is not readings:
                await target.replace(table, counted(source.pages(table)))
        await target.settle(
            (table, source.given(table)) for table in tables() if numbered(table) is not None
        )
        return done - before

    async def compare(self, at: Callable[[int], None]) -> list[Compared]:
        """Read every table on both sides. Servers may use the target if all are equal."""
        done = 0
        compared = []
        for table in tables():
            here, there = Digest(table), Digest(table)
            pages = self._source.pages(table)
            async for page in self._target.pages(table):
                there.add(page)
                here.add(next(pages, ()))
                done += len(page)
                at(done)
            for rest in pages:
                here.add(rest)
            compared.append(Compared(table.name, here.rows, str(here), there.rows, str(there)))
        if all(table.equal for table in compared):
            await self._target.release()
        return compared


@asynccontextmanager
async def open_copy(data_dir: Path, url: str) -> AsyncIterator[Copy]:
    """From the embedded database in `data_dir` to the PostgreSQL database at `url`.

    Raises `SettingsError`, `DataDirInUse` or `StorageUnavailable`.
    """
    async with open_source(data_dir) as source, open_target(url) as target:
        yield Copy(source, target)
