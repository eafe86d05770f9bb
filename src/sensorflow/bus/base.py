"""What every bus promises."""

from collections.abc import Callable
from typing import Protocol

from sensorflow.readings import CommittedBatch

Deliver = Callable[[CommittedBatch], None]


class Bus(Protocol):
    """Carries committed batches to every worker's hub."""

    async def start(self, deliver: Deliver) -> None:
        """From now on hand each batch to `deliver`: every reading once, in order of id.

        But for what other processes commit while nobody watches here, where a bus is told so.
        """

    def committed(self, batch: CommittedBatch) -> None:
        """Take over a batch that this process has just committed. Never blocks.

        Ownership passes to the bus; batches come in order of id.
        """

    async def stop(self) -> None:
        """Deliver nothing any more. Idempotent."""
