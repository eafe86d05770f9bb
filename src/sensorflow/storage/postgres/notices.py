"""Hearing of commits: a session of its own that listens to what every commit notifies."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from sensorflow.errors import StorageUnavailable
from sensorflow.storage.postgres.connection import Address, connect, limited, translated

CHANNEL: Final = "sensorflow"

ALIVE_INTERVAL: Final = 5.0
"""Seconds between two looks whether the session still answers."""

ALIVE_TIMEOUT: Final = 2.0


async def listen(
    address: Address, heard: Callable[[str], None], listening: Callable[[], None]
) -> None:
    """Call `listening` once the session listens, then `heard` with each notice's payload.

    Notices come in the order of commits. Runs until it is cancelled, or raises
    `StorageUnavailable` when the session has ended or does not answer any more.
    """
    connection = await connect(address)
    ended = asyncio.Event()

    def hear(_connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        heard(payload)

    connection.add_termination_listener(lambda _: ended.set())
    try:
        with translated(), limited(connection, ALIVE_TIMEOUT):
            await connection.add_listener(CHANNEL, hear)
        listening()
        while not ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), ALIVE_INTERVAL)
            if not ended.is_set():
                with translated(), limited(connection, ALIVE_TIMEOUT):
                    await connection.execute("SELECT 1")
        raise StorageUnavailable("the database has ended the session")
    finally:
        connection.terminate()
