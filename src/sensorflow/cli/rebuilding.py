"""`sensorflow db rebuild-rollups`."""

import asyncio
from typing import Final

from rich.console import Console

from sensorflow.settings import Settings
from sensorflow.storage.engine import open_rebuilder, open_storage
from sensorflow.storage.rebuilding import Rebuilt

TOLD: Final = 20
"""Days with differences that are told one by one."""


def rebuild_rollups() -> None:
    """Make all rollups anew, and tell what was wrong."""
    asyncio.run(_run(Settings(), Console(stderr=True)))


async def _run(settings: Settings, console: Console) -> None:
    storage = open_storage(settings.data_dir, settings.database_url)
    try:
        await storage.start()
        total = wrong = missing = surplus = different = 0
        with console.status("Making rollups anew …") as status:
            async for day in open_rebuilder(storage).run():
                status.update(f"Making rollups anew: sensor {day.sensor}, {day.day:%Y-%m-%d} …")
                total += day.rollups
                missing += day.missing
                surplus += day.surplus
                different += day.different
                if day.missing or day.surplus or day.different:
                    wrong += 1
                    if wrong <= TOLD:
                        _tell(day)
        if wrong > TOLD:
            print(f"… and {wrong - TOLD:,} more days of sensors.")
        if wrong:
            print(
                f"{total:,} rollups: {missing:,} were missing, {surplus:,} too many, "
                f"{different:,} different. All are right now."
            )
        else:
            print(f"{total:,} rollups: all are right.")
    finally:
        await storage.close()


def _tell(day: Rebuilt) -> None:
    print(
        f"sensor {day.sensor}, {day.day:%Y-%m-%d}: {day.missing:,} missing, "
        f"{day.surplus:,} too many, {day.different:,} different"
    )
