"""What becomes of a sensor's readings where no row tells it: collected until it is written down."""

from typing import Final

from sensorflow.sensors import Counts

MAX_SENSORS: Final = 10_000
"""Sensors counted between two times that it is written down; of others only the totals count."""


class BySensor:
    """Counts by sensor and outcome. Costs nothing for readings that are simply stored."""

    def __init__(self) -> None:
        self._counts: Counts = {}

    def count(self, sensor_id: str, outcome: str, number: int = 1) -> None:
        """Count one reading, or several alike."""
        outcomes = self._counts.get(sensor_id)
        if outcomes is None:
            if len(self._counts) >= MAX_SENSORS:
                return
            self._counts[sensor_id] = outcomes = {}
        outcomes[outcome] = outcomes.get(outcome, 0) + number

    def take(self) -> Counts:
        """What was counted since the last time."""
        counts, self._counts = self._counts, {}
        return counts
