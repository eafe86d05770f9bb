"""The schema in PostgreSQL, and whether it may be used."""

from typing import Final

from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from sensorflow.storage.migrations import upgrade
from sensorflow.storage.postgres.connection import Address, connect, limited, translated
from sensorflow.storage.postgres.session import Connection

MIGRATION_TIMEOUT: Final = 60.0
"""Seconds for the migrations, of this process or of another that is at them already."""

UNFINISHED: Final = "unfinished_copy"
"""An empty table that is there while another database is copied into this one."""


async def upgrade_schema(address: Address) -> None:
    """Apply the migrations that lack, in a session of its own. Raises `StorageUnavailable`."""
    own = await connect(address)

    async def existing() -> Connection:
        return own

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=existing, poolclass=NullPool
    )
    try:
        with limited(own, MIGRATION_TIMEOUT), translated():
            async with engine.begin() as connection:
                await connection.run_sync(upgrade)
    finally:
        own.terminate()
