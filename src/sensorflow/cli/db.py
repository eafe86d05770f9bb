"""`sensorflow db …`."""

import asyncio

from sensorflow.settings import Settings
from sensorflow.storage.engine import open_storage


def upgrade_database() -> None:
    """Apply the migrations that the database lacks. Refused while a server uses it."""
    settings = Settings()

    async def upgrade() -> None:
        storage = open_storage(settings.data_dir, settings.database_url)
        try:
            await storage.start()
        finally:
            await storage.close()

    asyncio.run(upgrade())
    print("The database is up to date.")
