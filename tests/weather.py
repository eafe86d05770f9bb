"""23,386 real readings: a year of weather at three airports."""

from pathlib import Path

from sensorflow.cli.recording import Recording, Row
from sensorflow.readings import Clock, Reading

WEATHER = Path(__file__).parent / "data/nyc-weather-2013.csv.gz"


def weather() -> list[Row]:
    return [row for row in Recording(WEATHER).rows() if isinstance(row, Row)]


def as_reading(row: Row) -> Reading:
    """As from a device with a clock, received when it was measured."""
    return Reading(
        row.sensor_id,
        row.measurements,
        row.recorded_at,
        Clock.DEVICE,
        row.recorded_at,
        "192.0.2.7",
    )
