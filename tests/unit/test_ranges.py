"""The range of time that a history route is asked for."""

from datetime import UTC, datetime, timedelta

import pytest

from sensorflow.errors import Reason, Refusal
from sensorflow.history.ranges import Range, parse_range

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T12:00:00Z", NOON),
        ("2026-01-31T13:30:00+01:30", NOON),
        ("2026-01-31T13:30:00 01:30", NOON),
        ("2026-01-31T13:30:00.000 0130", NOON),
        ("2026-01-31T12:00:00.000001Z", NOON + timedelta(microseconds=1)),
        ("1769860800", NOON),
        ("1769860800000", NOON),
        ("1769860800.5", NOON + timedelta(seconds=0.5)),
        ("0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1900-01-01T00:00:00Z", datetime(1900, 1, 1, tzinfo=UTC)),
        ("now", NOW),
        ("-45s", NOW - timedelta(seconds=45)),
        ("-30m", NOW - timedelta(minutes=30)),
        ("-24h", NOW - timedelta(hours=24)),
        ("-7d", NOW - timedelta(days=7)),
        ("-2w", NOW - timedelta(days=14)),
        ("-1y", NOW - timedelta(days=365)),
    ],
)
def test_a_bound_in_every_way(text: str, moment: datetime) -> None:
    assert parse_range(text, None, NOW) == Range(moment, None)
    assert parse_range(None, text, NOW) == Range(None, moment)


def test_nothing_given_is_no_bound() -> None:
    assert parse_range(None, None, NOW) == Range(None, None)


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2026-01-31", "2026-01-31T12:00:00", "0001-01-01T00:00:00+23:00"),
        *("30m", "-m", "-1M", "-1.5h", "- 1h", "-999999999y", "now-1h"),
        *("1e9", "NaN", "-5", "9" * 21, "\u0661"),
    ],
)
def test_what_is_no_time_is_refused_by_name(text: str) -> None:
    for name, start, end in (("start", text, None), ("end", None, text)):
        with pytest.raises(Refusal) as caught:
            parse_range(start, end, NOW)
        assert (caught.value.reason, caught.value.field) == (Reason.BAD_RANGE, name)


def test_a_long_text_is_told_short() -> None:
    with pytest.raises(Refusal) as caught:
        parse_range("x" * 10_000, None, NOW)
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize(("start", "end"), [("now", "now"), ("-1h", "-2h"), ("now", "-1s")])
def test_a_range_that_ends_before_it_starts_is_refused(start: str, end: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_range(start, end, NOW)
    assert (caught.value.reason, caught.value.field) == (Reason.BAD_RANGE, "start")
