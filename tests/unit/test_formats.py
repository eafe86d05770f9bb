"""What a device may send, and what each fault is called."""

import math
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorflow.errors import Reason, Refusal
from sensorflow.ingest import formats
from sensorflow.readings import Clock, Reading

RECEIVED = datetime(2026, 1, 31, 12, tzinfo=UTC)
GOOD: dict[str, object] = {
    "temperature": 25.5,
    "humidity": 60.2,
    "pressure": 1012.5,
    "sensor_id": "sensor-01",
}


def check(**changes: object) -> tuple[Reading, int]:
    return formats.original_reading({**GOOD, **changes}, RECEIVED, "192.0.2.7")


def refused(**changes: object) -> Refusal:
    with pytest.raises(Refusal) as caught:
        check(**changes)
    return caught.value


def test_the_original_body() -> None:
    reading, ignored = check()
    assert reading == Reading(
        "sensor-01",
        {"temperature": 25.5, "humidity": 60.2, "pressure": 1012.5},
        RECEIVED,
        Clock.SERVER,
        RECEIVED,
        "192.0.2.7",
    )
    assert ignored == 0


def test_the_pico_w_body() -> None:
    body = (
        b'{"temperature":23.45, "humidity":"56.78", "pressure":"1013.25", '
        b'"sensor_id":"E6614103E7452D2F"}'
    )
    reading, _ = formats.original_reading(formats.decode_object(body), RECEIVED, None)
    assert reading.measurements == {"temperature": 23.45, "humidity": 56.78, "pressure": 1013.25}


@pytest.mark.parametrize("name", ["temperature", "humidity", "pressure", "sensor_id"])
def test_each_of_the_four_is_required(name: str) -> None:
    fields = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(Refusal, match=name) as caught:
        formats.original_reading(fields, RECEIVED, None)
    assert (caught.value.reason, caught.value.field) == (Reason.MISSING_FIELD, name)


@pytest.mark.parametrize(
    ("text", "number"),
    [("56.78", 56.78), ("-4", -4.0), ("+.5", 0.5), ("5.", 5.0), ("1e3", 1000.0), (" 7 ", 7.0)],
)
def test_numeric_strings_are_numbers(text: str, number: float) -> None:
    reading, _ = check(humidity=text, co2=text)
    assert reading.measurements["humidity"] == reading.measurements["co2"] == number


NOT_NUMBERS: list[object] = [
    None,
    True,
    False,
    "",
    "warm",
    "nan",
    "NaN",
    "inf",
    "-Infinity",
    "1_000",
    "٣",
    "0x1f",
    {},
    [],
    [1.0],
    "1,5",
    # Hours, if every way to read the digits were tried.
    pytest.param("9" * 60_000 + "x", id="long integer"),
    pytest.param("9" * 30_000 + "." + "9" * 30_000 + "x", id="long fraction"),
]


@pytest.mark.parametrize("value", NOT_NUMBERS)
@pytest.mark.parametrize("name", ["temperature", "humidity", "pressure"])
def test_a_known_measurement_must_be_a_number(name: str, value: object) -> None:
    refusal = refused(**{name: value})
    assert (refusal.reason, refusal.field) == (Reason.NOT_A_NUMBER, name)
    assert name in refusal.detail


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_elsewhere_what_is_no_number_is_ignored_and_counted(value: object) -> None:
    reading, ignored = check(firmware=value)
    assert "firmware" not in reading.measurements
    assert ignored == 1


@pytest.mark.parametrize("value", ["1e400", "-1e999", 10**400])
@pytest.mark.parametrize("name", ["temperature", "co2"])
def test_beyond_a_double_is_refused_by_name(name: str, value: object) -> None:
    refusal = refused(**{name: value})
    assert (refusal.reason, refusal.field) == (Reason.OUT_OF_RANGE, name)


def test_the_servers_own_names_are_ignored() -> None:
    reading, ignored = check(
        id=7, received_at=1, date_recorded=1, time_recorded=1, client_ip=1, status=1
    )
    assert reading.measurements.keys() == {"temperature", "humidity", "pressure"}
    assert ignored == 6


@pytest.mark.parametrize("name", ["a", "_", "CO2", "flow.rate-1", "x" * 64])
def test_good_measurement_names(name: str) -> None:
    reading, _ = check(**{name: 1})
    assert reading.measurements[name] == 1.0


@pytest.mark.parametrize("name", ["", "1a", "-a", "a b", "a\n", "ä", "x" * 65, "a:b"])
def test_bad_measurement_names(name: str) -> None:
    assert refused(**{name: 1}).reason is Reason.BAD_MEASUREMENT_NAME


def test_how_many_measurements_fit() -> None:
    reading, _ = check(**{f"m{n}": n for n in range(61)})
    assert len(reading.measurements) == 64
    assert refused(**{f"m{n}": n for n in range(62)}).reason is Reason.TOO_MANY_MEASUREMENTS


@pytest.mark.parametrize("sensor_id", ["x", "ü" * 128, "with space", "😀", "a'b\"c", "\u00a0"])
def test_good_sensor_ids(sensor_id: str) -> None:
    assert check(sensor_id=sensor_id)[0].sensor_id == sensor_id


@pytest.mark.parametrize(
    "sensor_id", ["", "x" * 129, "a\nb", "a\x00", "\x7f", "\x85", "\ud800", 7, None, True, [], {}]
)
def test_bad_sensor_ids(sensor_id: object) -> None:
    refusal = refused(sensor_id=sensor_id)
    assert (refusal.reason, refusal.field) == (Reason.BAD_SENSOR_ID, "sensor_id")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T09:00:00.123456-03:00", datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)),
        ("2000-01-01T00:00:00Z", datetime(2000, 1, 1, tzinfo=UTC)),
        ("2026-02-01T12:00:00Z", datetime(2026, 2, 1, 12, tzinfo=UTC)),
    ],
)
def test_the_devices_time(text: str, expected: datetime) -> None:
    reading, _ = check(recorded_at=text)
    assert (reading.recorded_at, reading.clock) == (expected, Clock.DEVICE)
    assert reading.recorded_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("2026-01-31T12:00:00", Reason.BAD_RECORDED_AT),
        ("2026-01-31", Reason.BAD_RECORDED_AT),
        ("2026-02-30T12:00:00Z", Reason.BAD_RECORDED_AT),
        ("yesterday", Reason.BAD_RECORDED_AT),
        ("", Reason.BAD_RECORDED_AT),
        ("0001-01-01T00:00:00+14:00", Reason.BAD_RECORDED_AT),
        (None, Reason.BAD_RECORDED_AT),
        (True, Reason.BAD_RECORDED_AT),
        ("1970-01-01T00:00:09Z", Reason.CLOCK_NOT_SET),
        ("1999-12-31T23:59:59Z", Reason.CLOCK_NOT_SET),
        ("2026-02-01T12:00:00.000001Z", Reason.CLOCK_AHEAD),
    ],
)
def test_times_that_cannot_be_right(value: object, reason: Reason) -> None:
    refusal = refused(recorded_at=value)
    assert (refusal.reason, refusal.field) == (reason, "recorded_at")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"temperature=1", Reason.NOT_JSON),
        (b'{"temperature": NaN}', Reason.NOT_JSON),
        (b'{"temperature": -Infinity}', Reason.NOT_JSON),
        (b'{"sensor_id": "\xff"}', Reason.NOT_JSON),
        (b'{"sensor_id": "\\ud800"}', Reason.NOT_JSON),
        (b"[" * 50_000, Reason.NOT_JSON),
        (b'{"a":' * 10_000, Reason.NOT_JSON),
        (b'{"temperature": 1} x', Reason.NOT_JSON),
        (b'{"temperature": 1e400}', Reason.OUT_OF_RANGE),
        (b"[]", Reason.WRONG_SHAPE),
        (b"null", Reason.WRONG_SHAPE),
        (b'"text"', Reason.WRONG_SHAPE),
        (b"5", Reason.WRONG_SHAPE),
    ],
)
def test_bodies_that_are_no_object(body: bytes, reason: Reason) -> None:
    with pytest.raises(Refusal) as caught:
        formats.decode_object(body)
    assert caught.value.reason is reason


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(body: bytes) -> None:
    try:
        reading, _ = formats.original_reading(formats.decode_object(body), RECEIVED, None)
    except Refusal:
        return
    assert all(math.isfinite(value) for value in reading.measurements.values())


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from([*GOOD, "recorded_at", "id", "co2"]) | st.text(), json_values, max_size=8
    )
)
def test_any_object_gives_a_checked_reading_or_a_refusal(fields: dict[str, object]) -> None:
    try:
        decoded = formats.decode_object(msgspec.json.encode({**GOOD, **fields}))
        reading, _ = formats.original_reading(decoded, RECEIVED, None)
    except Refusal as refusal:
        assert refusal.detail.isprintable()
        assert len(refusal.detail) < 400
        return
    assert all(math.isfinite(value) for value in reading.measurements.values())
    assert 1 <= len(reading.sensor_id) <= 128
    assert reading.recorded_at.tzinfo is UTC
