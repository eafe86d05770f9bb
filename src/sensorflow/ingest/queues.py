"""Requests that wait for a commit, and which of them form the next batch."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from sensorflow.columns import together
from sensorflow.ingest.receipts import Answer
from sensorflow.readings import Reading

LARGE: Final = 64
"""Readings from which on a request is large: more than a device has to say of this moment."""


class Entry(msgspec.Struct, gc=False):
    """One request's readings, and the future of its answers."""

    readings: Sequence[Reading]
    answer: asyncio.Future[list[Answer]]


class Batch(NamedTuple):
    """What is committed together."""

    entries: Sequence[Entry]
    readings: Sequence[Reading]
    """Those of all entries, in their order."""


class Queues:
    """Small requests and large ones, each in the order in which they came."""

    def __init__(self) -> None:
        self._small: deque[Entry] = deque()
        self._large: deque[Entry] = deque()
        self._turn_of_large = False
        self.readings = 0
        """How many wait."""

    def __bool__(self) -> bool:
        return bool(self._small or self._large)

    def add(self, entry: Entry) -> None:
        """Queue a request behind those of its kind."""
        (self._small if len(entry.readings) < LARGE else self._large).append(entry)
        self.readings += len(entry.readings)

    def all(self) -> list[Entry]:
        """Everything that waits, which is left as it is."""
        return [*self._small, *self._large]

    def take(self, limit: int, *, turns: bool) -> Batch:
        """The next batch, of up to `limit` readings or one request. Something has to wait.

        With `turns` it is of small requests or of large ones; each kind has its turn where both
        wait. Else it is of all, the small ones first.
        """
        large = self._turn_of_large or not self._small
        queues = [self._large if large else self._small]
        if not turns:
            large = False
            queues = [queue for queue in (self._small, self._large) if queue]
        self._turn_of_large = not large and bool(self._large)
        entries = [queues[0].popleft()]
        number = len(entries[0].readings)
        for queue in queues:
            while queue and number + len(queue[0].readings) <= limit:
                entry = queue.popleft()
                entries.append(entry)
                number += len(entry.readings)
        self.readings -= number
        return Batch(entries, together([entry.readings for entry in entries]))
