"""When the next reading is due."""

from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import Final

MAX_ARREARS: Final = 1.0
"""Seconds that a steady pace catches up on; made-up readings of a long outage are not missed."""


class SteadyPace:
    """Readings evenly spaced, `rate` a second; a rate of 0 never waits."""

    def __init__(self, rate: float, clock: Callable[[], float] = monotonic) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._clock = clock
        self._due = clock()

    def wait(self) -> float:
        """Seconds until the next reading is due; each call stands for one reading."""
        if not self._interval:
            return 0.0
        now = self._clock()
        due = max(self._due, now - MAX_ARREARS)
        self._due = due + self._interval
        return max(0.0, due - now)


class RecordedPace:
    """Readings as far apart as they were recorded, `speed` times as fast; infinity never waits.

    What is late is due at once, so delays do not add up.
    """

    def __init__(self, speed: float, clock: Callable[[], float] = monotonic) -> None:
        self._speed = speed
        self._clock = clock
        self._first: datetime | None = None
        self._started = 0.0

    def wait(self, recorded_at: datetime) -> float:
        """Seconds until what was recorded at this time is due. The first is due at once."""
        if self._first is None:
            self._first = recorded_at
            self._started = self._clock()
        elapsed = (recorded_at - self._first).total_seconds() / self._speed
        return max(0.0, self._started + elapsed - self._clock())
