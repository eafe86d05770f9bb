"""Words that the tests share: making readings, and waiting for something to become true."""

import asyncio
import os
from array import array
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

from sensorflow.columns import ReadingColumns, Sender
from sensorflow.readings import Clock, Reading
from sensorflow.times import microseconds

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def device_reading(
    sensor_id: str = "kitchen", seconds: float = 0, **measurements: float
) -> Reading:
    """A reading with the device's own time, `seconds` after noon."""
    return Reading(
        sensor_id,
        measurements or {"temperature": 21.5},
        NOON + timedelta(seconds=seconds),
        Clock.DEVICE,
        NOON + timedelta(hours=1),
        "192.0.2.7",
    )


def server_reading(sensor_id: str = "kitchen", **measurements: float) -> Reading:
    """A reading from a device without a clock."""
    return Reading(
        sensor_id, measurements or {"temperature": 21.5}, NOON, Clock.SERVER, NOON, "192.0.2.7"
    )


def as_columns(readings: Sequence[Reading]) -> ReadingColumns:
    """Readings with the same clock and measurements; neighbours of one sender in one request."""
    requests = groupby(readings, key=lambda one: (one.received_at, one.client_ip))
    return ReadingColumns(
        readings[0].clock,
        [reading.sensor_id for reading in readings],
        [microseconds(reading.recorded_at) for reading in readings],
        {
            name: array("d", [reading.measurements[name] for reading in readings])
            for name in readings[0].measurements
        },
        [Sender(len(list(some)), *sender) for sender, some in requests],
    )


def promised(seconds: float) -> float:
    """The bound for what the program promises to do within so many seconds.

    A process that shares its processors with other tests waits for them too: then it is five times
    as long, still far from what a wait without a bound takes. `make test-long` is alone.
    """
    return seconds if os.environ.get("ALONE") == "1" else 5 * seconds


async def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return when the condition holds; fail after `seconds`, which is far more than it takes.

    For states that nothing announces, such as another task's progress.
    """
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
