"""The newest readings of the stream, kept in memory."""

from bisect import bisect_right
from typing import Final, NamedTuple

from sensorflow.live.frames import Frames

RING_VALUES: Final = 100_000
"""Measured values: some 33,000 readings, so that a restart's reconnects need no database.

Their wire forms are made where somebody asks for them; with these they take some 30 MB.
"""


class _Batch(NamedTuple):
    frames: Frames
    last: int
    values: int


def _last(batch: _Batch) -> int:
    return batch.last


class Ring:
    """Batches in order, the oldest dropped beyond `max_values`."""

    def __init__(self, cursor: int, max_values: int = RING_VALUES) -> None:
        """Begins after `cursor`, with nothing."""
        self._floor = cursor
        self._max_values = max_values
        self._values = 0
        self._batches: list[_Batch] = []

    def append(self, frames: Frames, last: int, values: int) -> None:
        """Add the next batch, which ends with the id `last` and holds so many values."""
        self._batches.append(_Batch(frames, last, values))
        self._values += values
        dropped = 0
        while self._values > self._max_values:
            self._values -= self._batches[dropped].values
            self._floor = self._batches[dropped].last
            dropped += 1
        del self._batches[:dropped]

    def covers(self, cursor: int) -> bool:
        """Whether everything after the cursor is here."""
        return cursor >= self._floor

    def after(self, cursor: int) -> tuple[Frames, int]:
        """The first batch that goes beyond the cursor, or its rest; and its last id.

        Only for a cursor that the ring covers, and that is not the ring's end.
        """
        batch = self._batches[bisect_right(self._batches, cursor, key=_last)]
        return batch.frames.after(cursor), batch.last

    def newest(self, sensors: frozenset[str]) -> Frames | None:
        """The newest reading of some sensors, if it is here."""
        for batch in reversed(self._batches):
            found = batch.frames.only(sensors)
            if found is not None:
                return found.last()
        return None
