"""The form that is decoded quickly comes to the same as in the general way, or is left to it."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorflow.errors import Refusal
from sensorflow.ingest import formats
from sensorflow.ingest.plain import plain_reading
from sensorflow.readings import Reading

RECEIVED = datetime(2026, 1, 31, 12, tzinfo=UTC)
NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(("-0", "-0.0", "1e999", "1E5", "18446744073709551616", "9" * 400, "true")),
)
TIMES = st.one_of(
    st.integers(0, 1_900_000_000).map(str),
    st.integers(0, 1_900_000_000_000_000_000).map(str),
    st.floats(0, 1_900_000_000_000).map(repr),
    st.sampled_from(('"2026-01-31T09:00:00.25-03:00"', '"2026-01-31T09:00:00"', '"1769860800"')),
    st.sampled_from(("null", "false", "-1", "1e30", '"no time"', "[]")),
)
SENSORS = st.one_of(
    st.text(max_size=6).map(lambda text: msgspec.json.encode(text).decode()),
    st.sampled_from(('"cellar"', '"cellar"', '""', "null", "7", '"' + "x" * 129 + '"')),
)
STRINGS = st.sampled_from(('"21.5"', '"warm"', "{}"))
FIELDS = st.one_of(
    st.tuples(st.just("sensor_id"), SENSORS),
    st.tuples(st.just("recorded_at"), TIMES),
    st.tuples(st.sampled_from(("temperature", "humidity", "pressure")), NUMBERS),
    st.tuples(st.sampled_from(("temperature", "co2", "id", "age_ms")), NUMBERS | STRINGS),
)
"""Names may come twice."""


def general(body: bytes, sensor_id: str | None, *, whole: bool) -> tuple[Reading, int] | None:
    """What the general way makes of it; None for a refusal."""
    read = formats.original_reading if whole else formats.reading_from_fields
    try:
        return read(formats.decode_object(body), RECEIVED, "192.0.2.7", sensor_id)
    except Refusal:
        return None


def shown(reading: Reading) -> str:
    """All of it, and whether a zero is negative."""
    return repr(reading)


@given(st.lists(FIELDS, max_size=7), st.sampled_from((None, "of the address")), st.booleans())
def test_a_plain_reading_is_what_the_general_way_makes_of_it(
    fields: list[tuple[str, str]], sensor_id: str | None, whole: bool
) -> None:
    body = ("{" + ",".join(f'"{name}":{value}' for name, value in fields) + "}").encode()
    reading = plain_reading(body, RECEIVED, "192.0.2.7", sensor_id, whole=whole)
    if reading is None:
        return
    expected = general(body, sensor_id, whole=whole)
    assert expected is not None
    # The three are in the order of the reading in one way, and of the body in the other.
    expected[0].measurements = {
        name: expected[0].measurements[name] for name in reading.measurements
    }
    assert (shown(reading), 0) == (shown(expected[0]), expected[1])


@pytest.mark.parametrize("whole", [True, False])
def test_what_most_devices_send_is_plain(whole: bool) -> None:
    body = b'{"temperature":21,"humidity":50.5,"pressure":1013.25,"sensor_id":"cellar"}'
    assert plain_reading(body, RECEIVED, None, whole=whole) is not None
    with_time = body[:-1] + b',"recorded_at":"2026-01-31T11:59:59Z"}'
    assert plain_reading(with_time, RECEIVED, None, whole=whole) is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"sensor_id":"cellar"}',
        b'{"temperature":1}',
        b'{"sensor_id":"cellar","temperature":"1"}',
        b'{"sensor_id":"cellar","co2":1}',
        b'{"sensor_id":"cellar","temperature":1,"recorded_at":5}',
        b'{"sensor_id":' * 5_000,
    ],
)
def test_all_else_is_left_to_the_general_way(body: bytes) -> None:
    assert plain_reading(body, RECEIVED, None) is None
