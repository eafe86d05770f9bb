"""What a sensor's readings come to, one after another."""

from collections.abc import Iterable, MutableMapping
from typing import Final

from sensorflow.sensors import Latest, Measured, State

LATEST_KEPT: Final = 200
"""Measurements of a sensor whose latest values are kept: those recorded last."""


def follow(states: MutableMapping[int, State], page: Iterable[Measured]) -> None:
    """Take the readings into their sensors' states; sensors without one get it.

    It makes no difference how the stream is divided into pages.
    """
    for reading in page:
        state = states.get(reading.sensor)
        if state is None:
            state = State(0, reading.id, reading.received_at, {})
            states[reading.sensor] = state
        state.stored += 1
        state.last_id = reading.id
        if reading.received_at > state.last_seen:
            state.last_seen = reading.received_at
        latest = state.latest
        recorded_at = reading.recorded_at
        for name, value in reading.measurements.items():
            known = latest.get(name)
            # Of two at the same time the one that was stored later counts.
            if known is None or recorded_at >= known.recorded_at:
                latest[name] = Latest(value, recorded_at)
        if len(latest) > LATEST_KEPT:
            _forget_oldest(latest)


def _forget_oldest(latest: dict[str, Latest]) -> None:
    by_age = sorted(latest, key=lambda name: (latest[name].recorded_at, name))
    for name in by_age[: len(latest) - LATEST_KEPT]:
        del latest[name]
