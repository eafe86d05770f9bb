"""The bus within one process: commit and delivery share the event loop."""

from sensorflow.bus.base import Deliver
from sensorflow.readings import CommittedBatch


class MemoryBus:
    """Implements `bus.base.Bus` for storages that have a single writing process."""

    def __init__(self) -> None:
        self._deliver: Deliver | None = None

    async def start(self, deliver: Deliver) -> None:
        self._deliver = deliver

    def committed(self, batch: CommittedBatch) -> None:
        if self._deliver is not None:
            self._deliver(batch)

    async def stop(self) -> None:
        self._deliver = None
