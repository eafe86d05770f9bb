"""From Influx's lines to readings: whose they are, what they are called, what is merged."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorflow.errors import Reason, Refusal
from sensorflow.ingest.bodies import MAX_READINGS
from sensorflow.ingest.influx import MAX_LINES, NANOSECONDS, SENSOR_TAGS, Lines, split
from sensorflow.readings import MAX_MEASUREMENTS, Clock

NOW = datetime(2026, 1, 31, 12, 0, 0, 654_321, tzinfo=UTC)
SECONDS = 1_769_860_800  # 2026-01-31T12:00:00Z


async def taken(
    text: str | bytes, precision: str = "s", sensor_id: str | None = None, tag: str | None = None
) -> Lines:
    tags = SENSOR_TAGS if tag is None else (tag, *SENSOR_TAGS)
    lines = Lines(tags, sensor_id, NANOSECONDS[precision], NOW)
    await lines.read(text if isinstance(text, bytes) else text.encode())
    return lines


async def said(text: str, **options: Any) -> list[tuple[str, dict[str, float]]]:
    """Sensors and measurements; nothing may have been refused."""
    lines = await taken(text, **options)
    assert lines.refused == {}, lines.first_refusal
    return [(one.sensor_id, one.measurements) for one in lines.merged]


async def refusal(text: str, **options: Any) -> tuple[Reason, str]:
    """Why the only line is refused."""
    lines = await taken(text, **options)
    assert lines.merged == []
    (reason,) = lines.refused
    assert lines.refused[reason] == 1
    return reason, lines.first_refusal


@pytest.mark.parametrize(
    ("tags", "sensor", "name"),
    [
        ("sensor_id=a,sensor=b,device=c,host=d", "a", "m.c.d.b"),
        ("host=d,device=c,sensor=b", "b", "m.c.d"),
        ("device=c,host=d", "c", "m.d"),
        ("host=d", "d", "m"),
        ("room=kitchen,host=d,floor=1", "d", "m.1.kitchen"),
    ],
)
async def test_the_sensor_is_a_tag_and_the_others_are_in_the_name(
    tags: str, sensor: str, name: str
) -> None:
    assert await said(f"m,{tags} value=1") == [(sensor, {name: 1.0})]


async def test_a_setting_names_a_tag_that_comes_first() -> None:
    line = "m,entity_id=lamp,sensor_id=a value=1"
    assert await said(line, tag="entity_id") == [("lamp", {"m.a": 1.0})]
    assert await said("m,sensor_id=a value=1", tag="entity_id") == [("a", {"m": 1.0})]


async def test_the_address_names_the_sensor_where_no_tag_does() -> None:
    assert await said("m,room=a x=1", sensor_id="s") == [("s", {"m.a.x": 1.0})]
    assert await said("m,host=h x=1", sensor_id="s") == [("h", {"m.x": 1.0})]
    assert await refusal("m,room=a x=1") == (
        Reason.MISSING_FIELD,
        "line 1: No tag names the sensor: send sensor_id, sensor, device, host, or ?sensor_id= in "
        "the address.",
    )


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("temperature value=1", ["temperature"]),
        (
            "climate temperature=1,value=2,value_=3",
            ["climate.temperature", "climate", "climate.value_"],
        ),
        (r"my\ room,a=x\,y %\=é=1", ["my_room.x_y.___"]),
        ("1wire value=1", ["_1wire"]),
        ("-a value=1", ["_-a"]),
        ("°C value=1", ["_C"]),
        ("a/b:c value=1", ["a_b_c"]),
        ("a.b-c_d value=1", ["a.b-c_d"]),
        ("m" * 64 + " value=1", ["m" * 64]),
    ],
)
async def test_names(line: str, names: list[str]) -> None:
    [(_, measurements)] = await said(line, sensor_id="s")
    assert list(measurements) == names


async def test_a_refused_line_is_its_sensors_where_it_says_whose_it_is() -> None:
    lines = await taken(f"m,host=h a=1 5\nm a=1 5\nm,host=h a= 5\n{'m' * 70},host=i a=1")
    assert lines.refused_by_sensor == {
        ("h", Reason.CLOCK_NOT_SET): 1,
        ("i", Reason.BAD_MEASUREMENT_NAME): 1,
    }


async def test_a_name_that_is_too_long_is_refused_with_its_line() -> None:
    reason, detail = await refusal("m" * 63 + " a=1,value=2", sensor_id="s")
    assert reason is Reason.BAD_MEASUREMENT_NAME
    assert "this one has 65" in detail
    # Of a string there is no measurement to name.
    assert await said("m" * 63 + ' a="x",value=2', sensor_id="s") == [("s", {"m" * 63: 2.0})]


async def test_what_is_no_number_is_ignored_and_counted() -> None:
    lines = await taken('m,host=h a="x",b=t,c=1,d=F\nn,host=h a="x"\nstatus,host=h value=1')
    assert lines.refused == {}
    assert [one.measurements for one in lines.merged] == [{"m.c": 1.0}]
    assert lines.ignored == 5


@pytest.mark.parametrize(
    "name", ["id", "sensor_id", "recorded_at", "age_ms", "client_ip", "status"]
)
async def test_names_of_our_own_are_no_measurements(name: str) -> None:
    lines = await taken(f"{name},host=h value=1,x=2")
    assert [one.measurements for one in lines.merged] == [{f"{name}.x": 2.0}]
    assert lines.ignored == 1


@pytest.mark.parametrize(
    ("precision", "count", "microsecond"),
    [
        ("n", "1769860800123456789", 123_456),
        ("ns", "1769860800123456789", 123_456),
        ("u", "1769860800123456", 123_456),
        ("us", "1769860800123456", 123_456),
        ("ms", "1769860800123", 123_000),
        ("s", "1769860800", 0),
        ("m", "29497680", 0),
        ("h", "491628", 0),
    ],
)
async def test_precisions(precision: str, count: str, microsecond: int) -> None:
    [one] = (await taken(f"m,host=h x=1 {count}", precision)).merged
    assert one.recorded_at == datetime(2026, 1, 31, 12, 0, 0, microsecond, tzinfo=UTC)
    assert one.clock is Clock.DEVICE


async def test_without_a_timestamp_the_servers_time_counts() -> None:
    [one] = (await taken("m,host=h x=1\nm,host=h y=2")).merged
    assert (one.recorded_at, one.clock, one.lines) == (NOW, Clock.SERVER, 2)


@pytest.mark.parametrize(
    ("count", "reason"),
    [
        ("0", Reason.CLOCK_NOT_SET),
        ("-5", Reason.CLOCK_NOT_SET),
        ("1869860800", Reason.CLOCK_AHEAD),
        ("1769860800000000000", Reason.BAD_RECORDED_AT),
        ("9" * 1000, Reason.BAD_RECORDED_AT),
        ("-" + "9" * 1000, Reason.BAD_RECORDED_AT),
    ],
)
async def test_a_clock_that_cannot_be_right(count: str, reason: Reason) -> None:
    assert (await refusal(f"m,host=h x=1 {count}"))[0] is reason


async def test_lines_of_one_sensor_and_time_are_one_reading() -> None:
    text = f"""
    # a comment, host=h x=1
    a,host=h value=1 {SECONDS}
    b,host=h value=2 {SECONDS}
    a,host=other value=3 {SECONDS}
    a,host=h value=4 {SECONDS + 1}
    a,host=h value=5 {SECONDS}
    """
    assert await said(text) == [
        ("h", {"a": 5.0, "b": 2.0}),
        ("other", {"a": 3.0}),
        ("h", {"a": 4.0}),
    ]


async def test_what_is_wrong_with_a_line_does_not_concern_the_others() -> None:
    lines = await taken(b"m,host=h a=1\nm,host=h a=\n\n#\nm,host=\xff a=1\nm,host=h b=2")
    assert [one.measurements for one in lines.merged] == [{"m.a": 1.0, "m.b": 2.0}]
    assert lines.refused == {Reason.NOT_LINE_PROTOCOL: 1, Reason.BAD_SENSOR_ID: 1}
    assert not lines.refused_by_sensor
    assert lines.first_refusal.startswith("line 2: Fields are written as key=value")


async def test_many_measurements_are_several_readings() -> None:
    count = 2 * MAX_MEASUREMENTS + 1
    [one] = (
        await taken("\n".join(f"m{n},host=h value={n} {SECONDS}" for n in range(count)))
    ).merged
    readings = split(one, NOW, None)
    assert [len(reading.measurements) for reading in readings] == [64, 64, 1]
    assert {r.recorded_at for r in readings} == {datetime(2026, 1, 31, 12, tzinfo=UTC)}
    together: dict[str, float] = {}
    for reading in readings:
        together |= reading.measurements
    assert together == {f"m{n}": float(n) for n in range(count)}


@pytest.mark.parametrize("sensors", [True, False])
async def test_as_many_readings_as_are_allowed(sensors: bool) -> None:
    def text(readings: int) -> str:
        if sensors:
            return "\n".join(f"m,host=h{n} x=1" for n in range(readings))
        return "\n".join(f"m{n:x},host=h x=1" for n in range((readings - 1) * MAX_MEASUREMENTS + 1))

    most = MAX_READINGS if sensors else 300
    lines = await taken(text(most))
    assert sum(len(split(one, NOW, None)) for one in lines.merged) == most == lines.readings
    if sensors:
        with pytest.raises(Refusal) as refused:
            await taken(text(most + 1))
        assert refused.value.reason is Reason.BODY_TOO_LARGE


@pytest.mark.parametrize("line", ["m,host=h x=1\n", "m\n"])
async def test_as_many_lines_as_are_allowed(line: str) -> None:
    await taken("#\n" + line * MAX_LINES)
    with pytest.raises(Refusal) as refused:
        await taken(line * (MAX_LINES + 1))
    assert refused.value.reason is Reason.BODY_TOO_LARGE


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("m,host=h x=1\n" * 20_000, 60),
        ("\n" * 400_000, 90),
        ("#\n" * 100_000, 45),
        ("m\n" * 100_000, 45),
        ('m,host=h x="\n' * 30_000, 80),
        (("m,host=h " + "x=1," * 10_000 + "x=1\n") * 5, 4),
    ],
    ids=["points", "blank", "comments", "refused", "open strings", "fields"],
)
async def test_a_large_body_is_read_in_turns(text: str, least: int) -> None:
    turns = 0
    longest = 0.0

    async def count() -> None:
        nonlocal turns, longest
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - began)
            turns += 1

    counting = asyncio.create_task(count())
    await taken(text)
    counting.cancel()
    assert turns >= least
    assert longest < 0.5


LINES = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.text(st.sampled_from('am,= \\"1i#\n\t.e-'), max_size=30),
        st.sampled_from(['m,host=h x="', "m,host=h x=1 5", '"', "\\", "m,host=h x=1"]),
    ),
    max_size=12,
)


@given(LINES)
async def test_no_text_is_more_than_refused(parts: list[str]) -> None:
    body = "\n".join(parts).encode()
    lines = await taken(body + b"\nlast,host=last x=1")
    assert lines.refused.total() <= body.count(b"\n") + 2
    if b'"' not in body:
        assert [one for one in lines.merged if one.sensor_id == "last"]
