"""The newest readings of the stream, kept in memory."""

from bisect import bisect_right
from typing import Final, NamedTuple

from sensorflow.live.frames import Frames

RING_BYTES: Final = 16_777_216
"""Bytes of memory, about: 13,000 batches of one reading, or 24,000 readings in large batches.

So a restart's reconnects need no database.
"""

# What they take beside each other in memory, about; whether there are wire forms makes little odds.
_OF_A_BATCH: Final = 600
_OF_A_READING: Final = 350
_OF_A_VALUE: Final = 110


class _Batch(NamedTuple):
    frames: Frames
    last: int
    bytes: int


def _last(batch: _Batch) -> int:
    return batch.last


class Ring:
    """Batches in order, the oldest dropped beyond some `max_bytes`."""

    def __init__(self, cursor: int, max_bytes: int = RING_BYTES) -> None:
        """Begins after `cursor`, with nothing."""
        self._floor = cursor
        self._max_bytes = max_bytes
        self._bytes = 0
        self._batches: list[_Batch] = []

    def append(self, frames: Frames, last: int, values: int) -> None:
        """Add the next batch, which ends with the id `last` and holds so many values."""
        size = _OF_A_BATCH + _OF_A_READING * len(frames.ids) + _OF_A_VALUE * values
        self._batches.append(_Batch(frames, last, size))
        self._bytes += size
        dropped = 0
        while self._bytes > self._max_bytes:
            self._bytes -= self._batches[dropped].bytes
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
