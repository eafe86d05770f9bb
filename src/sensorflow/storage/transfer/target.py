"""Where it goes: a PostgreSQL database that is empty, or holds a part of the same."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import Table

from sensorflow.errors import SettingsError
from sensorflow.storage.postgres.connection import Address, connect, parse, translated
from sensorflow.storage.postgres.schema import UNFINISHED, upgrade_schema
from sensorflow.storage.postgres.session import Connection
from sensorflow.storage.postgres.upkeep import maintain
from sensorflow.storage.tables import readings
from sensorflow.storage.transfer.source import PAGE_ROWS, Source
from sensorflow.storage.transfer.tables import Row, columns, numbered, select, texts

NAME: Final = "--to"

# Held by whichever process follows the stream; nobody follows this one until it is whole.
_FOLLOWER: Final = "SELECT pg_try_advisory_lock(hashtext('sensorflow follower'))"
_USED: Final = (
    "SELECT EXISTS (SELECT FROM readings) OR EXISTS (SELECT FROM sensors)"
    " OR EXISTS (SELECT FROM followers WHERE cursor > 0)"
)
# As wide as `reserve_ids` would make it.
_WIDTH: Final = "SELECT greatest(1000000, (sum(upper - lower) / 32)::bigint) FROM partitions"

# Nobody has made use of the first partition: cursors below what the source has kept meet a gap.
_MOVE_FIRST: Final = """
DO $$
DECLARE
    first bigint;
BEGIN
    FOR first IN SELECT lower FROM partitions LOOP
        EXECUTE format('DROP TABLE readings_%s', first);
    END LOOP;
    DELETE FROM partitions;
    PERFORM make_partition({lower}, {lower} + 1000000);
END $$
"""
# An identity column takes COPY's numbers as they are, and goes on with its own.
_GO_ON: Final = "SELECT setval(pg_get_serial_sequence($1, $2), $3)"
_LATEST: Final = (
    "UPDATE sensors s SET latest = r.newest FROM"
    " (SELECT sensor, max(recorded_at) AS newest FROM readings WHERE clock = 1 GROUP BY sensor) r"
    " WHERE s.id = r.sensor"
)


class Target:
    """Takes rows. `StorageUnavailable` may end it at any time; then it is opened again."""

    def __init__(self, address: Address, connection: Connection) -> None:
        self._address = address
        self._connection = connection
        self._top = 0
        """No partition reaches up to this id."""

    async def claim(self, source: Source) -> int:
        """Return the highest id that is there already, of a copy of this source.

        Raises `SettingsError` where anything else is there.
        """
        connection = self._connection
        with translated():
            if not await connection.fetchval(_FOLLOWER):
                raise SettingsError(f"{NAME}: a server uses that database; stop it first.")
            if await connection.fetchval(f"SELECT to_regclass('{UNFINISHED}')") is None:
                await self._begin(source)
            self._top = await connection.fetchval("SELECT max(upper) FROM partitions")
            count, highest = await connection.fetchrow(  # type: ignore[misc]
                "SELECT count(*), coalesce(max(id), 0) FROM readings"
            )
        if count != source.count(readings, highest):
            raise SettingsError(
                f"{NAME}: that database holds a part of another one; name an empty one."
            )
        return int(highest)

    async def add(self, rows: list[Row]) -> None:
        """Commit readings, in partitions that are made for them."""
        with translated():
            async with self._connection.transaction():
                for row in rows:
                    if row[0] >= self._top:
                        await self._make_partition(row[0])
                await self._copy(readings, rows)

    async def replace(self, table: Table, pages: Iterable[list[Row]]) -> None:
        """Put rows in the place of all that the table has."""
        with translated():
            async with self._connection.transaction():
                await self._connection.execute(f'DELETE FROM "{table.name}"')  # noqa: S608
                await self._copy(table, (row for page in pages for row in page))

    async def settle(self, given: Iterable[tuple[Table, int]]) -> None:
        """Have numbers go on after those that were given, and derive what only this one has."""
        with translated():
            for table, number in given:
                if table is readings and number + 1 >= self._top:
                    await self._make_partition(number + 1)
                if number:
                    await self._connection.execute(_GO_ON, table.name, numbered(table), number)
            await self._connection.execute(_LATEST)
        await maintain(self._address)
        with translated():
            await self._connection.execute("ANALYZE")

    async def pages(self, table: Table) -> AsyncIterator[list[Row]]:
        """All rows in the order in which the source gives them."""
        text = texts(table)
        order = ", ".join(
            f'"{column.name}" COLLATE "C"' if column.name in text else f'"{column.name}"'
            for column in table.primary_key
        )
        with translated():
            async with self._connection.transaction():
                cursor = await self._connection.cursor(select(table).format(order=order))
                while rows := await cursor.fetch(PAGE_ROWS):
                    yield [tuple(row) for row in rows]

    async def release(self) -> None:
        """It is whole: servers may use it."""
        with translated():
            await self._connection.execute(f"DROP TABLE {UNFINISHED}")

    async def _begin(self, source: Source) -> None:
        async with self._connection.transaction():
            if await self._connection.fetchval(_USED):
                raise SettingsError(f"{NAME}: that database is in use already; name an empty one.")
            await self._connection.execute(f"CREATE TABLE {UNFINISHED} ()")
            if (lower := source.oldest()) > 1:
                await self._connection.execute(_MOVE_FIRST.format(lower=lower))

    async def _make_partition(self, first: int) -> None:
        """The next one, or, if this id is beyond it as after a restore, one that begins there."""
        width = await self._connection.fetchval(_WIDTH)
        lower = self._top if first < self._top + width else first
        self._top = lower + width
        await self._connection.execute("SELECT make_partition($1, $2)", lower, self._top)

    async def _copy(self, table: Table, rows: Iterable[Row]) -> None:
        await self._connection.copy_records_to_table(
            table.name, records=rows, columns=[column.name for column in columns(table)]
        )


@asynccontextmanager
async def open_target(url: str) -> AsyncIterator[Target]:
    """The database at `url`, its schema up to date.

    Raises `SettingsError` for a URL that cannot be right, or `StorageUnavailable`.
    """
    if url.partition("://")[0] not in ("postgresql", "postgres"):
        raise SettingsError(f"{NAME}: write postgresql://user:password@host:5432/name.")
    address = parse(url, NAME)
    await upgrade_schema(address)
    connection = await connect(address)
    try:
        with translated():
            # The load wakes autovacuum, which gives way to who has waited for a second.
            await connection.execute(
                "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;"
                " SET lock_timeout = '1min'"
            )
        yield Target(address, connection)
    finally:
        connection.terminate()
