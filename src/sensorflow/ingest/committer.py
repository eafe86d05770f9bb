"""One batch into the storage: committed, announced, and an answer for each reading."""

from collections.abc import Awaitable, Callable, Container, Sequence
from itertools import repeat
from time import perf_counter
from typing import Final, Protocol
from uuid import UUID, uuid5

from sensorflow.columns import AllStored, ReadingColumns
from sensorflow.errors import BatchRefused, Reason, Refusal, StorageUnavailable
from sensorflow.ingest.receipts import Answer, Receipt, Status, conflict
from sensorflow.metrics import Metrics
from sensorflow.readings import (
    CommittedBatch,
    Conflict,
    Duplicate,
    Outcome,
    Reading,
    Stored,
    WireForms,
)

FEW: Final = 512
"""Outcomes of a commit below which most are asked for by a receipt each, unless they are of
columns: their wire forms are made at once, and the readings themselves need not be kept."""


class Appends(Protocol):
    """The storage, as a commit needs it; `storage.base.Storage.append` states the promise."""

    async def append(
        self, readings: Sequence[Reading], token: UUID | None = None
    ) -> Sequence[Outcome]: ...

    def settle(self, token: UUID) -> None: ...


class TakesBatches(Protocol):
    """The bus, as a commit needs it; `bus.base.Bus.committed` states the promise."""

    def committed(self, batch: CommittedBatch) -> None: ...


Unavailable = Callable[[Sequence[Reading], UUID, StorageUnavailable], Awaitable[list[Answer]]]
"""What is done with readings that the storage could not commit under this token."""


class Committer:
    """Commits batches; calls must not overlap."""

    def __init__(
        self,
        storage: Appends,
        bus: TakesBatches,
        encode: Callable[[Reading], bytes],
        metrics: Metrics,
    ) -> None:
        self._storage = storage
        self._bus = bus
        self._encode = encode
        self._metrics = metrics
        self._unannounced: list[CommittedBatch] = []
        self.announcing_took = 0.0
        """Seconds that the last announcement has held up the event loop."""

    async def commit(
        self, readings: Sequence[Reading], token: UUID, unavailable: Unavailable, *, spooled: bool
    ) -> list[Answer]:
        """Make the readings durable, and say what became of each; `announce` has to follow.

        One that the storage refuses fails alone. Where the storage is not available, the answers
        are those of `unavailable`. The token of what is `spooled` is kept: after a crash it may
        be asked for again.
        """
        started = perf_counter()
        try:
            outcomes = await self._storage.append(readings, token)
        except StorageUnavailable as error:
            return await unavailable(readings, token, error)
        except BatchRefused:
            return await self._isolate(readings, token, unavailable, spooled=spooled)
        if not spooled:
            self._storage.settle(token)
        self._metrics.commit_seconds.observe(perf_counter() - started)
        self._metrics.batch_size.observe(len(readings))
        return self._answers(outcomes, _own_rows(readings, outcomes) if spooled else ())

    async def _isolate(
        self, readings: Sequence[Reading], token: UUID, unavailable: Unavailable, *, spooled: bool
    ) -> list[Answer]:
        """Commit by halves, each under a token that is the same whenever this is done again."""
        if len(readings) == 1:
            return [
                Refusal(Reason.STORAGE_REFUSED, "The database refuses a value of this reading.")
            ]
        answers: list[Answer] = []
        half = len(readings) // 2
        for name, part in (("first half", readings[:half]), ("second half", readings[half:])):
            answers += await self.commit(part, uuid5(token, name), unavailable, spooled=spooled)
        return answers

    def _answers(self, outcomes: Sequence[Outcome], own: Container[int]) -> list[Answer]:
        """`own` are the places of those that a commit before has stored already."""
        if isinstance(outcomes, AllStored):
            return self._all_stored(outcomes.readings)
        answers: list[Answer] = []
        committed: list[Reading] = []
        encoded: list[bytes] = []
        few = len(outcomes) < FEW
        wire_forms = encoded if few else WireForms(committed, self._encode)
        for place, outcome in enumerate(outcomes):
            # By exact type: a `match` takes as long as all the rest.
            kind = type(outcome)
            if kind is Stored:
                answers.append(Receipt(Status.STORED, wire_forms, len(committed)))
                committed.append(outcome.reading)
                if few:
                    encoded.append(self._encode(outcome.reading))
            elif isinstance(outcome, Conflict):
                answers.append(conflict(outcome.reading, outcome.measurement))
            else:
                status = Status.STORED if place in own else Status.DUPLICATE
                before = WireForms((outcome.reading,), self._encode)
                answers.append(Receipt(status, before, 0))
        if committed:
            self._unannounced.append(CommittedBatch(committed, wire_forms))
        return answers

    def _all_stored(self, readings: ReadingColumns) -> list[Answer]:
        wire_forms = WireForms(readings, self._encode)
        self._unannounced.append(CommittedBatch(readings, wire_forms))
        places = range(len(readings))
        return list(map(Receipt, repeat(Status.STORED), repeat(wire_forms), places))

    def announce(self) -> None:
        """Hand over to the bus what was committed since the last time."""
        batches, self._unannounced = self._unannounced, []
        started = perf_counter()
        for batch in batches:
            self._bus.committed(batch)
        self.announcing_took = perf_counter() - started


def _own_rows(readings: Sequence[Reading], outcomes: Sequence[Outcome]) -> set[int]:
    """Where in a spooled batch a duplicate is one of the reading's own row.

    If a batch was committed before, and the answer got lost, nothing of it is stored now, and what
    was stored then is told as duplicates. A row has the time at which its reading was received.
    """
    own: set[int] = set()
    claimed: set[int | None] = set()
    for place, (sent, outcome) in enumerate(zip(readings, outcomes, strict=True)):
        match outcome:
            case Stored():
                return set()
            case Duplicate(row) if row is sent or (
                row.received_at == sent.received_at and row.id not in claimed
            ):
                own.add(place)
                claimed.add(row.id)
    return own
