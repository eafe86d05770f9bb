"""Group commit: what arrives during a commit forms the next batch.

The cost of a commit is shared by everything that waited for the one before it, and nobody waits
longer than two commits. So there is neither a timer nor a batch size to tune: the busier the
server, the larger its batches.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from time import perf_counter
from typing import Final, Protocol

import msgspec

from sensorflow.errors import BatchRefused, Reason, Refusal, StorageUnavailable
from sensorflow.metrics import Metrics
from sensorflow.readings import (
    CommittedBatch,
    Conflict,
    Duplicate,
    Outcome,
    Reading,
    Stored,
)

MAX_QUEUED: Final = 20_000
"""Readings that may wait. At 10,000 readings/s the last of them waits for two seconds."""

MAX_BATCH: Final = 4_096
"""Readings in one commit: about 20 ms on SQLite, so that nobody's wait grows beyond that."""

RETRY_AFTER_QUEUE_FULL: Final = 1
RETRY_AFTER_STORAGE: Final = 5


class Status(StrEnum):
    """What a receipt says became of the reading."""

    STORED = "stored"
    DUPLICATE = "duplicate"


class Receipt(msgspec.Struct, gc=False, frozen=True):
    """The answer for one reading that is safe. `encoded` is the stored reading's wire form."""

    status: Status
    encoded: bytes


Answer = Receipt | Refusal


class Appends(Protocol):
    """The storage, as the writer needs it; `storage.base.Storage.append` states the promise."""

    async def append(self, readings: Sequence[Reading]) -> list[Outcome]: ...


class TakesBatches(Protocol):
    """The bus, as the writer needs it; `bus.base.Bus.committed` states the promise."""

    def committed(self, batch: CommittedBatch) -> None: ...


class _Entry(msgspec.Struct, gc=False):
    readings: Sequence[Reading]
    answer: asyncio.Future[list[Answer]]


class Writer:
    """The one way into the storage. `run` is its background task; `close` ends it."""

    def __init__(
        self,
        storage: Appends,
        bus: TakesBatches,
        encode: Callable[[Reading], bytes],
        metrics: Metrics,
        *,
        max_queued: int = MAX_QUEUED,
        max_batch: int = MAX_BATCH,
    ) -> None:
        self._storage = storage
        self._bus = bus
        self._encode = encode
        self._metrics = metrics
        self._max_queued = max_queued
        self._max_batch = max_batch
        self._entries: deque[_Entry] = deque()
        self._queued = 0
        self._wake = asyncio.Event()
        self._closing = False
        # Asking for the running loop costs a system call each time on Python 3.11.
        self._loop: asyncio.AbstractEventLoop | None = None
        metrics.queued.set_function(lambda: self._queued)

    def submit(self, readings: Sequence[Reading]) -> asyncio.Future[list[Answer]]:
        """Queue one request's readings. The future resolves, in their order, once they are durable.

        Raises a `Refusal` at once where the queue is full or the writer is closing; what was
        submitted before is still committed and answered. Cancelling the future changes nothing.
        """
        if self._closing:
            raise Refusal(
                Reason.SHUTTING_DOWN,
                "The server is stopping; send the reading again in a moment.",
                retry_after=RETRY_AFTER_STORAGE,
            )
        if self._queued + len(readings) > self._max_queued:
            raise Refusal(
                Reason.QUEUE_FULL,
                "More readings arrive than can be stored; send this one again in a moment.",
                retry_after=RETRY_AFTER_QUEUE_FULL,
            )
        answer: asyncio.Future[list[Answer]] = asyncio.Future(loop=self._loop)
        self._entries.append(_Entry(readings, answer))
        self._queued += len(readings)
        self._wake.set()
        return answer

    async def run(self) -> None:
        """Commit batch after batch until `close`, then what is still queued, and return."""
        self._loop = asyncio.get_running_loop()
        while True:
            if not self._entries:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            entries, readings = self._take()
            try:
                answers = await self._commit(readings)
            except BaseException:
                self._closing = True
                self._fail([*entries, *self._entries])
                raise
            taken = 0
            for entry in entries:
                size = len(entry.readings)
                if not entry.answer.done():
                    entry.answer.set_result(answers[taken : taken + size])
                taken += size

    def close(self) -> None:
        """Refuse new readings; `run` returns when all that were taken are answered."""
        self._closing = True
        self._wake.set()

    def _fail(self, entries: Sequence[_Entry]) -> None:
        """Leave nobody waiting when `run` dies of something unforeseen."""
        refusal = Refusal(
            Reason.INTERNAL_ERROR, "The server failed while it stored the reading; send it again."
        )
        for entry in entries:
            if not entry.answer.done():
                entry.answer.set_result([refusal] * len(entry.readings))

    def _take(self) -> tuple[list[_Entry], list[Reading]]:
        entries = [self._entries.popleft()]
        readings = list(entries[0].readings)
        while self._entries and len(readings) + len(self._entries[0].readings) <= self._max_batch:
            entry = self._entries.popleft()
            entries.append(entry)
            readings += entry.readings
        self._queued -= len(readings)
        return entries, readings

    async def _commit(self, readings: Sequence[Reading]) -> list[Answer]:
        """Make the readings durable, announce them, and say what became of each."""
        started = perf_counter()
        try:
            outcomes = await self._storage.append(readings)
        except StorageUnavailable as error:
            refusal = Refusal(
                Reason.STORAGE_UNAVAILABLE,
                f"The reading could not be stored ({error}); send it again in a moment.",
                retry_after=RETRY_AFTER_STORAGE,
            )
            return [refusal] * len(readings)
        except BatchRefused:
            return await self._isolate(readings)
        self._metrics.commit_seconds.observe(perf_counter() - started)
        self._metrics.batch_size.observe(len(readings))
        return self._answers(outcomes)

    async def _isolate(self, readings: Sequence[Reading]) -> list[Answer]:
        """Commit by halves, so that one reading the storage refuses fails alone."""
        if len(readings) == 1:
            return [
                Refusal(Reason.STORAGE_REFUSED, "The database refuses a value of this reading.")
            ]
        half = len(readings) // 2
        return [*await self._commit(readings[:half]), *await self._commit(readings[half:])]

    def _answers(self, outcomes: Sequence[Outcome]) -> list[Answer]:
        answers: list[Answer] = []
        committed: list[Reading] = []
        encoded: list[bytes] = []
        duplicates = 0
        for outcome in outcomes:
            match outcome:
                case Stored(reading):
                    wire = self._encode(reading)
                    committed.append(reading)
                    encoded.append(wire)
                    answers.append(Receipt(Status.STORED, wire))
                case Duplicate(reading):
                    duplicates += 1
                    answers.append(Receipt(Status.DUPLICATE, self._encode(reading)))
                case Conflict(reading, measurement):
                    answers.append(_conflict(reading, measurement))
        if committed:
            self._metrics.stored.inc(len(committed))
            self._bus.committed(CommittedBatch(committed, encoded))
        if duplicates:
            self._metrics.duplicate.inc(duplicates)
        return answers


def _conflict(stored: Reading, measurement: str) -> Refusal:
    return Refusal(
        Reason.CONFLICT,
        f"{measurement} of this sensor at this recorded_at is already "
        f"{stored.measurements[measurement]!r} (reading {stored.id}); the first value stays.",
        field=measurement,
    )
