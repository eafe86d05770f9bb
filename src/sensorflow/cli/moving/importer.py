"""The original's readings, stored here where they lack, and compared."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from hashlib import blake2b
from time import monotonic
from typing import Final, Protocol, TypeAlias, TypeVar
from uuid import UUID, uuid4

import msgspec

from sensorflow.cli.moving.original import Fault, FaultyRow, Moments, to_reading
from sensorflow.errors import BatchRefused, StorageUnavailable
from sensorflow.readings import Outcome, Reading
from sensorflow.storage.original import Original, OriginalRow

PATIENCE: Final = 60.0
"""Seconds without any success after which a database that is away is given up."""

PAUSE: Final = 0.5
"""Seconds before it is tried again."""

T = TypeVar("T")

_Said: TypeAlias = tuple[str, datetime, datetime, tuple[tuple[str, float], ...], str | None]
"""All that a row says: rows that say the same are told apart by their number only."""

_NEVER: Final = datetime.min.replace(tzinfo=UTC)

_encode: Final = msgspec.msgpack.Encoder().encode


class Stores(Protocol):
    """The storage, as an import needs it; `storage.base.Storage` states the promises."""

    async def start(self) -> None: ...

    async def append(
        self, readings: Sequence[Reading], token: UUID | None = None
    ) -> Sequence[Outcome]: ...

    async def by_server_clock(self, times: set[tuple[str, datetime]]) -> list[Reading]: ...


class Importer:
    """One pass over the table stores what lacks, the next one compares. Holds what came of it.

    A row is there already if the storage has as many rows that say the same as the table has up
    to it. So whatever was stored before, by a run that was killed or one that ended, is not stored
    again, and rows that say the same are all kept.
    """

    def __init__(
        self,
        storage: Stores,
        zone: tzinfo,
        tell: Callable[[str], None],
        *,
        away: bool,
    ) -> None:
        """`away`: the database may be away for a while, and is waited for."""
        self._storage = storage
        self._moments = Moments(zone)
        self._now = datetime.now(UTC)
        self._tell = tell
        self._away = away
        self.read = 0
        """Rows of the table in this pass."""
        self.stored = 0
        self.there = 0
        """Rows that were stored before."""
        self.refused: Counter[Fault] = Counter()
        self.examples: dict[Fault, str] = {}
        """The first sentence for each."""
        self.twice = 0
        self.never = 0
        """Rows with a time that the clocks of the zone have shown twice, or never."""
        self.compared = 0
        self.lacking = 0
        """Rows that are not in the storage, of those that were compared."""
        self.sums = [0, 0]
        """Of the rows compared, in the table and in the storage: the same in whatever order."""
        self._last = _NEVER
        self._seen: Counter[_Said] = Counter()
        """What the table's rows of that last time have said."""

    async def store(self, original: Original) -> None:
        """Store what lacks. Raises `StorageUnavailable`; then it can be run again."""
        async for page in self._pages(original):
            readings = self._readings(page, noting=True)
            lacking = [reading for reading, kept in await self._matched(readings) if not kept]
            self.there += len(readings) - len(lacking)
            if lacking:
                await self._append(lacking, uuid4())

    async def compare(self, original: Original) -> None:
        """Compare each row of the table with the storage's, and sum both up."""
        async for page in self._pages(original):
            for reading, kept in await self._matched(self._readings(page, noting=False)):
                self.compared += 1
                summand = _summand(reading)
                self.sums[0] += summand
                if kept:
                    self.sums[1] += summand
                else:
                    self.lacking += 1

    async def _pages(self, original: Original) -> AsyncIterator[list[OriginalRow]]:
        self.read = 0
        self._last, self._seen = _NEVER, Counter()
        async for page in original.pages():
            yield page
            self.read += len(page)

    def _readings(self, page: Sequence[OriginalRow], *, noting: bool) -> list[Reading]:
        """Those rows that can be any; `noting` tells and counts the others."""
        readings = []
        for number, row in enumerate(page, self.read + 1):
            try:
                moment = self._moments.at(row.date_recorded, row.time_recorded)
                readings.append(to_reading(row, moment.at, self._now))
            except FaultyRow as faulty:
                if noting:
                    self._refuse(faulty.fault, f"row {_name(row, number)}: {faulty}")
                continue
            if noting:
                self.twice += moment.twice
                self.never += moment.never
        return readings

    async def _matched(self, readings: Sequence[Reading]) -> list[tuple[Reading, bool]]:
        """Each, and whether the storage has a row of its own for it."""
        times = {(reading.sensor_id, reading.recorded_at) for reading in readings}
        found = await self._patiently(lambda: self._storage.by_server_clock(times))
        kept = Counter(map(_said, found))
        # The last time's rows may go on in the next page.
        kept.subtract(self._seen)
        matched = []
        for reading in readings:
            said = _said(reading)
            number = kept[said]
            matched.append((reading, number > 0))
            kept[said] = number - 1
            if reading.recorded_at != self._last:
                self._last, self._seen = reading.recorded_at, Counter()
            self._seen[said] += 1
        return matched

    async def _append(self, readings: Sequence[Reading], token: UUID) -> None:
        try:
            await self._patiently(lambda: self._storage.append(readings, token))
        except BatchRefused as refused:
            if len(readings) == 1:
                (reading,) = readings
                at = f"{reading.sensor_id!r} at {reading.recorded_at.isoformat()}"
                self._refuse(Fault.STORAGE_REFUSED, f"{at}: {refused}")
                return
            half = len(readings) // 2
            await self._append(readings[:half], uuid4())
            await self._append(readings[half:], uuid4())
        else:
            # Also those of a commit whose answer got lost: nothing else is under this token.
            self.stored += len(readings)

    def _refuse(self, fault: Fault, sentence: str) -> None:
        self.refused[fault] += 1
        self.examples.setdefault(fault, sentence)
        self._tell(sentence)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """What `call` returns, as soon as the database is there."""
        until = monotonic() + PATIENCE
        while True:
            try:
                return await call()
            except StorageUnavailable:
                if not self._away or monotonic() > until:
                    raise
            await asyncio.sleep(PAUSE)
            with suppress(StorageUnavailable):
                await self._storage.start()


def _name(row: OriginalRow, number: int) -> str:
    return f"with the id {row.id}" if row.id is not None else f"{number:,} in order of time"


def _said(reading: Reading) -> _Said:
    return (
        reading.sensor_id,
        reading.recorded_at,
        reading.received_at,
        tuple(reading.measurements.items()),
        reading.client_ip,
    )


def _summand(reading: Reading) -> int:
    return int.from_bytes(blake2b(_encode(_said(reading)), digest_size=8).digest())
