"""What goes to PostgreSQL of columns is what goes there of their readings."""

import asyncio
from array import array
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from sensorflow.columns import ReadingColumns, Sender
from sensorflow.readings import Clock, Reading
from sensorflow.storage.postgres.copying import copy_columns, copy_data
from sensorflow.storage.postgres.rows import Batch
from sensorflow.times import microseconds
from tests.alike import alike
from tests.helpers import NOON, as_columns


def whole(pieces: AsyncIterator[bytes]) -> bytes:
    async def joined() -> bytes:
        return b"".join([piece async for piece in pieces])

    return asyncio.run(joined())


@given(alike(), st.integers(1, 2**62), st.data())
def test_columns_are_copied_as_their_readings_are(
    readings: list[Reading], first: int, data: st.DataObject
) -> None:
    numbers = st.integers(1, 2**62)
    sensors = data.draw(st.lists(numbers, min_size=len(readings), max_size=len(readings)))
    columns = as_columns(readings)
    assert whole(copy_columns(columns, sensors, first)) == whole(
        copy_data(readings, sensors, first)
    )


def test_more_than_a_piece_of_one_request_is_copied_whole() -> None:
    readings = [
        Reading(f"s{n}", {"humidity": float(n)}, NOON, Clock.DEVICE, NOON, None) for n in range(601)
    ]
    columns = ReadingColumns(
        Clock.DEVICE,
        [reading.sensor_id for reading in readings],
        [microseconds(NOON)] * 601,
        {"humidity": array("d", [reading.measurements["humidity"] for reading in readings])},
        [Sender(300, NOON, None), Sender(301, NOON, None)],
    )
    sensors = list(range(601))
    assert whole(copy_columns(columns, sensors, 7)) == whole(copy_data(readings, sensors, 7))


@given(alike())
def test_a_batch_of_columns_says_what_one_of_their_readings_says(readings: list[Reading]) -> None:
    one, other = Batch(as_columns(readings)), Batch(readings)
    for name in ("size", "names", "first_seen", "oldest", "newest", "repeats"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.arrays() == other.arrays()
    assert list(one.names) == list(other.names)
