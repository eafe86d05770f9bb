"""What a sensor's readings come to, one page after another."""

from collections.abc import Mapping, MutableMapping
from typing import Final

from sensorflow.sensors import Latest, State

LATEST_KEPT: Final = 200
"""Measurements of a sensor whose latest values are kept: those recorded last."""


def follow(states: MutableMapping[int, State], sums: Mapping[int, State]) -> None:
    """Take a page's sums into their sensors' states; sensors without one get it.

    It makes no difference how the stream is divided into pages.
    """
    for sensor, page in sums.items():
        state = states.get(sensor)
        if state is None:
            state = State(0, page.last_id, page.last_seen, {})
            states[sensor] = state
        state.stored += page.stored
        state.last_id = max(state.last_id, page.last_id)
        state.last_seen = max(state.last_seen, page.last_seen)
        latest = state.latest
        for name, last in page.latest.items():
            known = latest.get(name)
            # Of two at the same time the one that was stored later counts.
            if known is None or last.recorded_at >= known.recorded_at:
                latest[name] = last
        if len(latest) > LATEST_KEPT:
            _forget_oldest(latest)


def _forget_oldest(latest: dict[str, Latest]) -> None:
    by_age = sorted(latest, key=lambda name: (latest[name].recorded_at, name))
    for name in by_age[: len(latest) - LATEST_KEPT]:
        del latest[name]
