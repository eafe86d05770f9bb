"""Group commit: what arrives during a commit forms the next batch.

The cost of a commit is shared by everything that waited for the one before it, and nobody waits
longer than two commits. So there is neither a timer nor a batch size to tune: the busier the
server, the larger its batches. While commits are quick, large requests have batches of their own,
in turn with the small ones, so that a device which tells what it measures now hardly waits for what
others catch up with; then it may be three commits, which take no longer than two slow ones.
"""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Final
from uuid import UUID, uuid4

from sensorflow.columns import sensor_ids_of
from sensorflow.errors import Reason, Refusal, StorageUnavailable
from sensorflow.ingest.committer import Committer
from sensorflow.ingest.queues import Batch, Entry, Queues
from sensorflow.ingest.receipts import (
    RETRY_AFTER_STORAGE,
    Answer,
    Status,
    not_stored,
)
from sensorflow.ingest.shelter import Shelter
from sensorflow.metrics import Metrics
from sensorflow.readings import Reading
from sensorflow.sensors import DUPLICATE

MAX_QUEUED: Final = 20_000
"""Readings that may wait. At 10,000 readings/s the last of them waits for two seconds."""

MAX_BATCH: Final = 4_096
"""Readings in one commit: about 20 ms on SQLite, so that nobody's wait grows beyond that."""

RETRY_AFTER_QUEUE_FULL: Final = 1

LONG_ANNOUNCEMENT: Final = 0.001
"""Seconds: from some hundred subscribers on."""

SLOW_COMMIT: Final = 0.5
"""Seconds from which on there are no turns: a reading is to be answered within 3 s."""


class Writer:
    """The one way into the storage. `run` is its background task; `close` ends it."""

    def __init__(
        self,
        committer: Committer,
        metrics: Metrics,
        shelter: Shelter | None = None,
        *,
        max_queued: int = MAX_QUEUED,
        max_batch: int = MAX_BATCH,
    ) -> None:
        """Without a `shelter` there is no spool: what cannot be committed is refused."""
        self._committer = committer
        self._metrics = metrics
        self._shelter = shelter
        self._max_queued = max_queued
        self._max_batch = max_batch
        self._queues = Queues()
        self._commit_took = 0.0
        """Seconds, of the last one."""
        self._wake = asyncio.Event()
        self._closing = False
        # Asking for the running loop costs a system call each time on Python 3.11.
        self._loop: asyncio.AbstractEventLoop | None = None
        metrics.queued.set_function(lambda: self._queues.readings)

    def submit(self, readings: Sequence[Reading]) -> asyncio.Future[list[Answer]]:
        """Queue one request's readings. The future resolves, in their order, once they are durable.

        Raises a `Refusal` at once where the queue is full or the writer is closing; what was
        submitted before is still committed and answered. Cancelling the future changes nothing.
        """
        if self._closing:
            raise self._refusal(
                Reason.SHUTTING_DOWN,
                "The server is stopping; send the reading again in a moment.",
                RETRY_AFTER_STORAGE,
                readings,
            )
        if self._queues.readings + len(readings) > self._max_queued:
            raise self._refusal(
                Reason.QUEUE_FULL,
                "More readings arrive than can be stored; send this one again in a moment.",
                RETRY_AFTER_QUEUE_FULL,
                readings,
            )
        answer: asyncio.Future[list[Answer]] = asyncio.Future(loop=self._loop)
        self._queues.add(Entry(readings, answer))
        self._wake.set()
        return answer

    async def run(self) -> None:
        """Commit batch after batch until `close`, then what is still queued, and return.

        While spooled readings wait and the database takes them, every other batch is theirs.
        """
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                if self._queues:
                    await self._commit_next()
                elif self._closing:
                    return
                elif self._shelter is None or not self._shelter.can_drain:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                if self._shelter is not None and self._shelter.can_drain and not self._closing:
                    await self._shelter.drain_one()
        except BaseException:
            self._closing = True
            self._fail(self._queues.all())
            raise

    def wake(self) -> None:
        """Have `run` look whether there is something to drain."""
        self._wake.set()

    def close(self) -> None:
        """Refuse new readings; `run` returns when all that were taken are answered."""
        self._closing = True
        self._wake.set()

    async def _commit_next(self) -> None:
        draining = self._shelter is not None and self._shelter.can_drain
        turns = not draining and self._commit_took <= SLOW_COMMIT
        batch = self._queues.take(self._max_batch, turns=turns)
        started = monotonic()
        try:
            answers = await self._commit(batch.readings)
            self._commit_took = monotonic() - started
            self._settle(batch, answers)
        except BaseException:
            self._fail(batch.entries)
            raise
        await self._announce()

    def _settle(self, batch: Batch, answers: list[Answer]) -> None:
        """Give each request its answers."""
        self._count(batch.readings, answers)
        taken = 0
        for entry in batch.entries:
            size = len(entry.readings)
            if not entry.answer.done():
                entry.answer.set_result(answers[taken : taken + size])
            taken += size

    async def _announce(self) -> None:
        """Have the committed readings shown; with many screens, between two turns of the others.

        A thousand writes take so long that the receipts go first. And whatever arrived meanwhile is
        read before the next batch is formed: the more readings share the writes the better.
        """
        many_watch = self._committer.announcing_took > LONG_ANNOUNCEMENT
        try:
            if many_watch:
                await asyncio.sleep(0)
        finally:
            self._committer.announce()
        if many_watch:
            # One turn for the sockets to be read, one for the requests to be taken.
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    def _fail(self, entries: Sequence[Entry]) -> None:
        """Leave nobody waiting when `run` dies of something unforeseen."""
        refusal = Refusal(
            Reason.INTERNAL_ERROR, "The server failed while it stored the reading; send it again."
        )
        for entry in entries:
            if not entry.answer.done():
                entry.answer.set_result([refusal] * len(entry.readings))

    async def _commit(self, readings: Sequence[Reading]) -> list[Answer]:
        """Make the readings durable, in the database or in the spool."""
        token = uuid4()
        if self._shelter is None:
            return await self._committer.commit(readings, token, _refuse, spooled=False)
        if self._shelter.away:
            return await self._shelter.keep(readings, token)
        return await self._committer.commit(
            readings, token, self._shelter.unavailable, spooled=False
        )

    def _count(self, readings: Sequence[Reading], answers: Sequence[Answer]) -> None:
        """Count the receipts, and by sensor what leaves no row."""
        receipts = [answer.status for answer in answers if not isinstance(answer, Refusal)]
        plain = 0
        for status, counter in (
            (Status.STORED, self._metrics.stored),
            (Status.SPOOLED, self._metrics.spooled),
        ):
            if number := receipts.count(status):
                counter.inc(number)
                plain += number
        if plain < len(answers):
            self._count_by_sensor(readings, answers)

    def _count_by_sensor(self, readings: Sequence[Reading], answers: Sequence[Answer]) -> None:
        """Count what leaves no row; spooled readings are counted when they are drained."""
        count = self._metrics.by_sensor.count
        for sensor_id, answer in zip(sensor_ids_of(readings), answers, strict=True):
            if isinstance(answer, Refusal):
                count(sensor_id, answer.reason.value)
            elif answer.status is Status.DUPLICATE:
                self._metrics.duplicate.inc(1)
                count(sensor_id, DUPLICATE)

    def _refusal(
        self, reason: Reason, detail: str, retry_after: int, readings: Sequence[Reading]
    ) -> Refusal:
        """One answer for all of the readings, each counted for its sensor."""
        for sensor_id in sensor_ids_of(readings):
            self._metrics.by_sensor.count(sensor_id, reason.value)
        return Refusal(reason, detail, retry_after=retry_after)


async def _refuse(
    readings: Sequence[Reading], _token: UUID, error: StorageUnavailable
) -> list[Answer]:
    return [not_stored(error)] * len(readings)
