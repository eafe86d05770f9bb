"""`sensorflow simulate`: made-up sensors that send to a running server."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import count as count_up
from time import monotonic

import msgspec

from sensorflow.cli.load import deliver, usable_key
from sensorflow.cli.pacing import SteadyPace
from sensorflow.cli.progress import Display
from sensorflow.cli.remote import Server
from sensorflow.cli.sending import Outgoing
from sensorflow.cli.tally import Tally
from sensorflow.cli.weather import MadeUpSensor, made_up_sensors


def simulate(
    *,
    sensors: int,
    rate: float,
    url: str,
    api_key: str | None,
    duration: float | None,
    count: int | None,
    concurrency: int,
    seed: int | None,
) -> int:
    """Send made-up readings until there are enough, or until Ctrl-C. Returns the exit code.

    It is 0 also after Ctrl-C; 1 where readings were not taken; 2 where none could be sent.
    """
    server, key = Server.at(url), usable_key("API_KEY", api_key)
    tally = Tally()
    display = Display(tally, f"{sensors} made-up sensor{'s' if sensors > 1 else ''}")
    if count is not None:
        display.expect(count)
    readings = _readings(made_up_sensors(sensors, seed), rate, duration, count)
    delivery = asyncio.run(deliver(readings, server, key, tally, display, concurrency))
    if delivery.stopped:
        return 1 if tally.receipts else 2
    return 1 if tally.failed else 0


async def _readings(
    sensors: list[MadeUpSensor], rate: float, duration: float | None, count: int | None
) -> AsyncIterator[Outgoing]:
    """Readings when they are due, from each sensor in turn."""
    pace = SteadyPace(rate)
    # As fast as replies come, the weather changes as if each sensor sent once a second.
    spacing = 1 / (rate or len(sensors))
    end = None if duration is None else monotonic() + duration
    for n in count_up() if count is None else range(count):
        wait = pace.wait()
        if end is not None and (left := end - monotonic()) <= wait:
            await asyncio.sleep(max(0.0, left))
            return
        await asyncio.sleep(wait)
        sensor = sensors[n % len(sensors)]
        yield Outgoing(msgspec.json.encode(sensor.reading(n * spacing, datetime.now(UTC))))
