"""What this process has counted by sensor, on its way into the database."""

from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol
from uuid import UUID, uuid4

from sensorflow.metrics.by_sensor import BySensor
from sensorflow.sensors import Counts

INTERVAL: Final = 2.0
"""Seconds between two times that counts are written down; a crash loses those since the last."""


class KeepsCounts(Protocol):
    """The storage, as the ledger needs it; `storage.base.Storage` states the promise."""

    async def count(self, counts: Counts, token: UUID, settled: UUID | None) -> None: ...


class Ledger:
    """Writes down what was counted; what could not be is kept and tried again."""

    def __init__(
        self,
        storage: KeepsCounts,
        by_sensor: BySensor,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._storage = storage
        self._by_sensor = by_sensor
        self._clock = clock
        self._pending: tuple[Counts, UUID] | None = None
        """What may have been written down under the token, for nobody has heard of it."""
        self._settled: UUID | None = None
        self._written = 0.0

    async def flush(self) -> None:
        """Write down what was counted, each once. Raises `StorageUnavailable`."""
        if self._pending is not None:
            await self._write(*self._pending)
        counts = self._by_sensor.take()
        if counts:
            self._pending = counts, uuid4()
            await self._write(*self._pending)

    async def flush_if_due(self) -> None:
        """Do so once an `INTERVAL`."""
        if self._clock() >= self._written + INTERVAL:
            await self.flush()
            self._written = self._clock()

    async def _write(self, counts: Counts, token: UUID) -> None:
        await self._storage.count(counts, token, self._settled)
        self._pending, self._settled = None, token
