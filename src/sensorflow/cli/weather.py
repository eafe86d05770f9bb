"""Made-up sensors whose readings look like weather."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import pi, sin
from random import Random
from typing import Final

DAY: Final = 600.0
"""Seconds; a made-up day is short, so that a chart has a shape within the time of a demo."""

LOWEST_PRESSURE: Final = 980.0
USUAL_PRESSURE: Final = 1013.0
HIGHEST_PRESSURE: Final = 1040.0


class MadeUpSensor:
    """A place with its own climate. Equal names and seeds give equal values, reading by reading."""

    def __init__(self, name: str, seed: int | None) -> None:
        self.name = name
        # Weather, not secrets.
        self._chance = Random(None if seed is None else f"{seed}/{name}")  # noqa: S311
        self._usual_temperature = self._chance.uniform(16, 24)
        self._swing = self._chance.uniform(2, 5)
        self._phase = self._chance.uniform(-0.5, 0.5)
        self._usual_humidity = self._chance.uniform(45, 65)
        self._pressure = self._chance.uniform(1003, 1023)
        self._drift = 0.0
        self._last = datetime.min.replace(tzinfo=UTC)

    def reading(self, elapsed: float, now: datetime) -> dict[str, str | float]:
        """The next reading, `elapsed` seconds into the made-up weather, recorded at `now`.

        `recorded_at` ascends strictly, so that no two readings of a sensor are in conflict.
        """
        self._last = max(now, self._last + timedelta(microseconds=1))
        return {"sensor_id": self.name, "recorded_at": self._last.isoformat(), **self._at(elapsed)}

    def _at(self, elapsed: float) -> Mapping[str, float]:
        self._drift = 0.9 * self._drift + self._chance.gauss(0, 0.03)
        wave = self._swing * sin(2 * pi * elapsed / DAY + self._phase) + self._drift
        humidity = self._usual_humidity - 2.5 * wave + self._chance.gauss(0, 0.1)
        pull = 0.001 * (USUAL_PRESSURE - self._pressure)
        pressure = self._pressure + pull + self._chance.gauss(0, 0.05)
        self._pressure = min(max(pressure, LOWEST_PRESSURE), HIGHEST_PRESSURE)
        return {
            "temperature": round(self._usual_temperature + wave, 2),
            "humidity": round(min(max(humidity, 0), 100), 2),
            "pressure": round(self._pressure, 2),
        }


def made_up_sensors(number: int, seed: int | None) -> list[MadeUpSensor]:
    """Sensors named sim-01, sim-02 and so on."""
    width = max(2, len(str(number)))
    return [MadeUpSensor(f"sim-{n:0{width}}", seed) for n in range(1, number + 1)]
