"""The form that is decoded quickly comes to the same as in the general way, or is left to it."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorflow.errors import Refusal
from sensorflow.ingest import formats
from sensorflow.ingest.plain import (
    plain_array,
    plain_columns,
    plain_lines,
    plain_reading,
    readings_of,
)
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
FINITE = st.floats(allow_nan=False, allow_infinity=False).map(repr)
PLAIN = st.fixed_dictionaries(
    {"sensor_id": st.just('"cellar"'), "temperature": FINITE},
    optional={
        "humidity": FINITE,
        "pressure": st.integers(-(2**63), 2**63).map(str),
        "recorded_at": st.one_of(
            st.sampled_from(("1769860800", "1769860800123", '"2026-01-31T11:00:00Z"')),
            st.integers(946_684_800_000, 1_769_860_800_000).map(str),
        ),
    },
).flatmap(lambda fields: st.permutations(list(fields.items())))
"""What the quick way is there for."""


def general(body: bytes, sensor_id: str | None, *, whole: bool) -> tuple[Reading, int] | None:
    """What the general way makes of it; None for a refusal."""
    read = formats.original_reading if whole else formats.reading_from_fields
    try:
        return read(formats.decode_object(body), RECEIVED, "192.0.2.7", sensor_id)
    except Refusal:
        return None


def same(reading: Reading, expected: tuple[Reading, int] | None) -> bool:
    """Whether they are equal, zeros' signs included, and nothing was ignored.

    The measurements are in the order of the tables in one way, and of the body in the other.
    """
    if expected is None:
        return False
    other, ignored = expected
    if reading.measurements.keys() != other.measurements.keys():
        return False
    other.measurements = {name: other.measurements[name] for name in reading.measurements}
    return not ignored and repr(reading) == repr(other)


def as_body(fields: Sequence[tuple[str, str]]) -> bytes:
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields) + "}").encode()


@given(PLAIN)
def test_a_reading_of_known_names_is_plain_and_the_same(fields: list[tuple[str, str]]) -> None:
    body = as_body(fields)
    reading = plain_reading(body, RECEIVED, "192.0.2.7")
    assert reading is not None
    assert same(reading, general(body, None, whole=False))


@given(st.lists(PLAIN, min_size=1, max_size=5))
def test_an_array_of_plain_readings_is_each_of_them(
    readings: list[list[tuple[str, str]]],
) -> None:
    bodies = [as_body(fields) for fields in readings]
    decoded = plain_array(b"[%b]" % b", ".join(bodies))
    assert readings_of(decoded, RECEIVED, "192.0.2.7", None) == [
        plain_reading(body, RECEIVED, "192.0.2.7") for body in bodies
    ]


@pytest.mark.parametrize(
    "odd",
    [
        b"{}",
        b'{"sensor_id":"","temperature":1}',
        b'{"sensor_id":"cellar","temperature":1,"recorded_at":"no"}',
    ],
)
def test_an_array_is_read_up_to_the_first_that_is_refused(odd: bytes) -> None:
    plain = b'{"sensor_id":"cellar","temperature":1}'
    decoded = plain_array(b"[%b,%b,%b]" % (plain, odd, plain))
    assert len(decoded) == 3
    assert readings_of(decoded, RECEIVED, None, None) == [plain_reading(plain, RECEIVED, None)]


@given(
    st.lists(PLAIN, min_size=1, max_size=5)
    | st.lists(st.lists(FIELDS, max_size=4), min_size=1, max_size=2),
    st.sampled_from((None, "of the address")),
)
def test_columns_are_the_readings_of_an_array(
    readings: Sequence[list[tuple[str, str]]], sensor_id: str | None
) -> None:
    decoded = plain_lines(map(as_body, readings))
    columns = plain_columns(decoded, RECEIVED, "192.0.2.7", sensor_id) if decoded else None
    if columns is not None:
        made = readings_of(decoded, RECEIVED, "192.0.2.7", sensor_id)
        assert repr(list(columns)) == repr(made)


@pytest.mark.parametrize(
    ("measured", "times"),
    [
        ('"temperature":21.5', ()),
        ('"temperature":21,"pressure":1e3,"humidity":50', ()),
        ('"humidity":50', ("1769860800", "1769860799")),
        ('"humidity":50', ("1769860800123", "1769860000124")),
        ('"humidity":50', ("1769860800123456", "1769860000000000")),
        ('"humidity":50', ("1769860800123456789", "1769860799999999999")),
        ('"humidity":50', ("1769860800123", "1769860800")),
        ('"humidity":50', ("1769860800123.5", '"2026-01-31T09:00:00-03:00"')),
        # An hour ahead of the server's clock.
        ('"pressure":1', ("1769864400", "1769864400")),
    ],
)
def test_readings_that_are_alike_become_columns(measured: str, times: Sequence[str]) -> None:
    ends = [f',"recorded_at":{time}' for time in times] or ["", ""]
    bodies = [f'{{"sensor_id":"s{n}",{measured}{end}}}'.encode() for n, end in enumerate(ends)]
    decoded = plain_lines(bodies)
    columns = plain_columns(decoded, RECEIVED, None, None)
    assert columns is not None
    expected = readings_of(decoded, RECEIVED, None, None)
    assert len(expected) == 2
    assert list(columns) == expected


@pytest.mark.parametrize(
    "other",
    [
        '"sensor_id":"a","humidity":1,"temperature":2',
        '"sensor_id":"a","temperature":2',
        '"sensor_id":"a","humidity":1,"recorded_at":1769860800',
        '"sensor_id":"","humidity":1',
        '"sensor_id":"a"',
        '"humidity":1',
    ],
)
def test_readings_that_differ_or_are_refused_become_none(other: str) -> None:
    decoded = plain_lines([b'{"sensor_id":"a","humidity":1}', f"{{{other}}}".encode()])
    assert len(decoded) == 2
    assert plain_columns(decoded, RECEIVED, None, None) is None


@pytest.mark.parametrize("at", ["5", "-1", "1769950000", "1e300", '"no"', "9" * 23])
def test_columns_with_a_time_that_cannot_be_are_none(at: str) -> None:
    bodies = [
        f'{{"sensor_id":"a","humidity":1,"recorded_at":{one}}}'.encode() for one in (at, 1769860800)
    ]
    for some in (bodies, bodies[::-1], bodies[:1]):
        decoded = plain_lines(some)
        assert not decoded or plain_columns(decoded, RECEIVED, None, None) is None


@pytest.mark.parametrize("odd", [b'{"co2":1}', b"7", b'{"temperature":"1"}', b"[]", b"{", b"\xff"])
def test_an_array_with_another_form_in_it_is_left_to_the_general_way(odd: bytes) -> None:
    plain = b'{"sensor_id":"cellar","temperature":1}'
    assert len(plain_array(b"[%b,%b]" % (plain, plain))) == 2
    assert not plain_array(b"[%b,%b]" % (plain, odd))
    assert not plain_array(plain)


@given(st.lists(FIELDS, max_size=7), st.sampled_from((None, "of the address")), st.booleans())
def test_a_plain_reading_is_what_the_general_way_makes_of_it(
    fields: list[tuple[str, str]], sensor_id: str | None, whole: bool
) -> None:
    body = as_body(fields)
    reading = plain_reading(body, RECEIVED, "192.0.2.7", sensor_id, whole=whole)
    assert reading is None or same(reading, general(body, sensor_id, whole=whole))


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
