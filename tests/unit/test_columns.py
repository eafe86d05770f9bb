"""Columns are the readings that they were made of, one by one, together and numbered."""

from collections.abc import Sequence
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorflow.columns import (
    AllStored,
    ReadingColumns,
    ids_of,
    sensor_ids_of,
    together,
    values_of,
)
from sensorflow.readings import Clock, Reading, Stored, WireEncoder, WireForms
from tests.alike import alike
from tests.helpers import as_columns, device_reading, server_reading


@given(alike())
def test_columns_are_a_sequence_of_their_readings(readings: list[Reading]) -> None:
    columns = as_columns(readings)
    assert len(columns) == len(readings)
    assert list(columns) == readings
    assert columns[-1] == readings[-1]
    assert columns[1:] == readings[1:]
    assert columns[::-2] == readings[::-2]
    for beyond in (len(readings), -len(readings) - 1):
        with pytest.raises(IndexError):
            columns[beyond]


@given(alike(), st.integers(1, 2**62))
def test_they_are_numbered_together(readings: list[Reading], first: int) -> None:
    columns = as_columns(readings)
    assert ids_of(columns) == ids_of(readings) == [None] * len(readings)
    columns.first_id = first
    for pk, reading in enumerate(readings, first):
        reading.id = pk
    assert list(columns) == readings
    assert list(ids_of(columns)) == ids_of(readings)
    outcomes = AllStored(columns)
    assert list(outcomes) == list(map(Stored, readings))
    assert outcomes[1:] == list(map(Stored, readings[1:]))
    assert outcomes[-1] == Stored(readings[-1])
    encode = WireEncoder(UTC)
    assert list(WireForms(columns, encode)) == list(map(encode, readings))


@given(alike())
def test_what_is_told_of_all_is_what_each_says(readings: list[Reading]) -> None:
    columns = as_columns(readings)
    assert sensor_ids_of(columns) == sensor_ids_of(readings) == [r.sensor_id for r in readings]
    assert values_of(columns) == values_of(readings)
    assert values_of(readings) == len(readings) * len(readings[0].measurements)


@given(st.lists(st.booleans() | alike() | alike(Clock.DEVICE), min_size=1, max_size=4))
def test_requests_together_are_their_readings_in_order(
    drawn: Sequence[bool | list[Reading]],
) -> None:
    requests: list[Sequence[Reading]] = [
        [device_reading() if one else server_reading(flow=1.0)]
        if isinstance(one, bool)
        else as_columns(one)
        for one in drawn
    ]
    assert list(together(requests)) == [reading for request in requests for reading in request]


def test_columns_stay_columns_beside_others_of_their_kind() -> None:
    one = as_columns([device_reading(temperature=1.0, humidity=2.0)] * 2)
    other = as_columns([device_reading(temperature=1.0, pressure=2.0)] * 2)
    by_server = as_columns([server_reading(temperature=1.0, humidity=2.0)])
    assert together([one]) is one
    assert isinstance(together([one, one, one]), ReadingColumns)
    for requests in ([one, other], [one, by_server], [one, [device_reading()]]):
        assert isinstance(together(requests), list)
