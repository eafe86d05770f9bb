"""The wire form that receipts and frames share."""

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from sensorflow.readings import Clock, Reading, WireEncoder, WireForms
from tests.helpers import server_reading

READING = Reading(
    "sensor-01",
    {"temperature": 25.5, "co2": 417.0},
    datetime(2026, 1, 31, 1, 30, 59, 999_999, tzinfo=UTC),
    Clock.DEVICE,
    datetime(2026, 1, 31, 12, 0, 1, tzinfo=UTC),
    "192.0.2.7",
    42,
)


def test_every_field_in_the_order_of_the_contract() -> None:
    assert json.loads(WireEncoder(UTC)(READING), object_pairs_hook=tuple) == (
        ("id", 42),
        ("sensor_id", "sensor-01"),
        ("temperature", 25.5),
        ("co2", 417.0),
        ("recorded_at", "2026-01-31T01:30:59.999999Z"),
        ("received_at", "2026-01-31T12:00:01Z"),
        ("date_recorded", "2026-01-31"),
        ("time_recorded", "01:30:59"),
        ("client_ip", "192.0.2.7"),
    )


def test_the_originals_fields_are_in_the_timezone() -> None:
    frame = json.loads(WireEncoder(ZoneInfo("America/Sao_Paulo"))(READING))
    assert (frame["date_recorded"], frame["time_recorded"]) == ("2026-01-30", "22:30:59")
    assert frame["recorded_at"] == "2026-01-31T01:30:59.999999Z"


def test_wire_forms_are_made_for_who_asks_and_once() -> None:
    asked: list[str] = []

    def encode(reading: Reading) -> bytes:
        asked.append(reading.sensor_id)
        return reading.sensor_id.encode()

    forms = WireForms([server_reading(name) for name in "abcde"], encode)
    assert len(forms) == 5
    assert asked == []
    assert forms[3] == b"d"
    assert forms[-1] == b"e"
    assert forms[-2:] == [b"d", b"e"]
    assert asked == ["d", "e"]
    assert list(forms) == [b"a", b"b", b"c", b"d", b"e"]
    assert asked == ["d", "e", "a", "b", "c"]
    for beyond in (5, -6):
        with pytest.raises(IndexError):
            forms[beyond]
