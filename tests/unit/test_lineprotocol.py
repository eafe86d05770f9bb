"""Influx's line protocol: what is written by its rules is read back as it was meant."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorflow.errors import Reason, Refusal
from sensorflow.ingest.lineprotocol import MAX_LINE, Point, next_line, point_at

# The protocol knows no line breaks in names, nor a backslash at their end.
names = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12).filter(
    lambda name: not name.endswith("\\")
)
strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**63 - 1),
)
points = st.fixed_dictionaries(
    {
        "measurement": names.filter(lambda name: name[0] != "#"),
        "tags": st.dictionaries(names, names, max_size=4),
        "fields": st.dictionaries(
            names, st.one_of(numbers, strings, st.booleans()), min_size=1, max_size=5
        ),
        "time": st.none() | st.integers(-(2**63), 2**63 - 1),
    }
)


def escaped(text: str, special: str) -> str:
    return "".join(f"\\{character}" if character in special else character for character in text)


def written_value(value: object) -> str:
    match value:
        case bool():
            return str(value)
        case int():
            return f"{value}i"
        case float():
            return repr(value)
        case _:
            return '"' + escaped(str(value), '"\\') + '"'


def written(point: dict[str, Any]) -> str:
    """The line, by the letter of the protocol's description."""
    key = escaped(point["measurement"], ", ")
    for tag, value in point["tags"].items():
        key += f",{escaped(tag, ',= ')}={escaped(value, ',= ')}"
    fields = ",".join(
        f"{escaped(field, ',= ')}={written_value(value)}"
        for field, value in point["fields"].items()
    )
    return f"{key} {fields}" + ("" if point["time"] is None else f" {point['time']}")


def meant(point: dict[str, Any]) -> Point:
    fields = {
        field: None if isinstance(value, bool | str) else float(value)
        for field, value in point["fields"].items()
    }
    return Point(point["measurement"], point["tags"], fields, point["time"])


@given(st.lists(points, min_size=1, max_size=4), st.sampled_from(["\n", "\r\n", " \n"]))
def test_what_is_written_is_read_back(said: list[dict[str, Any]], end: str) -> None:
    text = end.join(map(written, said))
    read = []
    at = 0
    while at < len(text):
        point, at = point_at(text, at)
        read.append(point)
    assert read == list(map(meant, said))


def fields_of(line: str) -> dict[str, float | None]:
    point, end = point_at(line, 0)
    assert end == len(line)
    return point.fields


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("1", 1.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.5e3", -1500.0),
        ("1E-2", 0.01),
        ("1e+2", 100.0),
        ("+1", 1.0),
        ("7i", 7.0),
        ("-7i", -7.0),
        ("7u", 7.0),
        ("18446744073709551615u", 18446744073709551615.0),
        ("1e-400", 0.0),
        *((word, None) for word in ("t", "T", "true", "True", "TRUE")),
        *((word, None) for word in ("f", "F", "false", "False", "FALSE")),
        ('""', None),
        ('"a\nb"', None),
        ('"a\\"b, c=1\\\\"', None),
    ],
)
def test_a_value_is_a_number_or_none(value: str, number: float | None) -> None:
    assert fields_of(f"m a={value},b=2 5") == {"a": number, "b": 2.0}


@pytest.mark.parametrize(
    "value",
    ["1x", "1_0", "nan", "inf", "-", "e5", "0x1", "1ii", "1.5i", "-1u", "TrUe", "٣", "1e", "yes"],
)
def test_anything_else_is_no_value(value: str) -> None:
    with pytest.raises(Refusal) as refused:
        point_at(f"m a={value}", 0)
    assert refused.value.reason is Reason.NOT_LINE_PROTOCOL
    assert "is no number" in refused.value.detail


@pytest.mark.parametrize("value", ["1e999", "-1e999", "9" * 400 + "i", "9" * 5000])
def test_what_no_double_holds_is_refused(value: str) -> None:
    with pytest.raises(Refusal) as refused:
        point_at(f"m a={value}", 0)
    assert refused.value.reason is Reason.OUT_OF_RANGE


@pytest.mark.parametrize(
    "line",
    [
        "m",
        "m,",
        "m,a",
        "m,a=",
        "m,=b x=1",
        "m,a=b",
        "m,a=b ",
        "m,a=b,c x=1",
        "m,a=b=c x=1",
        ",a=b x=1",
        "m x",
        "m x=",
        "m =1",
        "m x=1,",
        "m x=1,y",
        "m x=1 y=2",
        'm x="open',
        'm x="a"b',
        'm x=1"b"',
        "m x=1 12.5",
        "m x=1 soon",
        "m x=1 5 6",
        "m x=1 5i",
        "m  ",
        "m x =1",
        r"m\ x=1",
    ],
)
def test_what_is_no_point_is_refused_with_a_sentence(line: str) -> None:
    with pytest.raises(Refusal) as refused:
        point_at(f"{line}\ngood x=1", 0)
    assert refused.value.reason is Reason.NOT_LINE_PROTOCOL
    assert point_at(f"{line}\ngood x=1", next_line(f"{line}\ngood x=1", 0))[0].measurement == "good"


def test_a_backslash_escapes_only_what_it_may() -> None:
    point, _ = point_at(r"a\,b\ c\=d\x,t\ a=v\,\=\y f\=g=1", 0)
    assert point == Point(r"a,b c\=d\x", {"t a": r"v,=\y"}, {"f=g": 1.0}, None)


def test_spaces_around_do_no_harm() -> None:
    assert point_at("m   x=1   5  \t\r\n", 0) == (Point("m", {}, {"x": 1.0}, 5), 16)


def test_of_what_a_line_says_twice_the_last_counts() -> None:
    assert point_at("m,a=1,a=2 x=1,x=2", 0)[0] == Point("m", {"a": "2"}, {"x": 2.0}, None)


@pytest.mark.parametrize(
    "line",
    [
        "m" * MAX_LINE + " x=1",
        "m " + ",".join(f"x{n}=1" for n in range(MAX_LINE // 5)),
        "m x=1" + "0" * MAX_LINE,
        f'm x="{"a" * MAX_LINE}"',
        "m x=1 " + "1" * MAX_LINE,
        "m x=1" + " " * MAX_LINE,
    ],
)
def test_a_line_has_a_bound(line: str) -> None:
    for text in (line, f"{line}\nm x=1"):
        with pytest.raises(Refusal) as refused:
            point_at(text, 0)
        assert refused.value.reason is Reason.BODY_TOO_LARGE


@pytest.mark.parametrize(
    "value", ["9" * 60_000 + "x", "1e" + "9" * 60_000 + "x"], ids=["integer", "exponent"]
)
def test_a_long_number_that_is_none_is_refused_at_once(value: str) -> None:
    with pytest.raises(Refusal) as refused:
        point_at(f"m x={value}", 0)
    assert refused.value.reason is Reason.NOT_LINE_PROTOCOL


def test_a_line_may_be_as_long_as_its_bound() -> None:
    line = "m x=1".ljust(MAX_LINE - 1)
    assert point_at(f"{line} ", 0)[1] == MAX_LINE
    assert point_at(f"{line}\nm x=1", 0)[1] == MAX_LINE
