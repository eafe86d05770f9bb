"""The stored readings themselves, page by page: newest first, or in the order of the stream.

Each page is found by key, so nothing is held between two of them but a cursor: no session, no
transaction. All pages end at the id that was the newest when the first was asked for.
"""

import asyncio
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Protocol

from sensorflow.errors import Reason, Refusal
from sensorflow.history.ranges import Range
from sensorflow.readings import Reading
from sensorflow.times import EPOCH

PAGE: Final = 1_000
"""Readings read at once, in some 10 ms."""

WINDOW: Final = 200_000
"""Ids that are looked through at once for some sensors or a range of time."""

READS_AT_ONCE: Final = 2
"""Of the storage's sessions, so that no crowd of readers keeps the others from it."""

FIRST_SLICE: Final = timedelta(minutes=1)
"""The first slice of time that is looked through; the next one is as wide as the readings lie."""

WIDENING: Final = 8
"""How much wider a slice may be than the one before; it may hold as many more readings."""

_NARROWEST: Final = timedelta(milliseconds=1)
_BEGINNING: Final = datetime(1, 1, 2, tzinfo=UTC)
_FUTURE: Final = datetime(9999, 12, 31, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_CURSOR: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,18})(?:@(-?[0-9]{1,18}))?")


class ReadsHistory(Protocol):
    """The storage, as the history needs it; `storage.base.Storage` states the promises."""

    async def between(
        self,
        after: int,
        until: int,
        limit: int,
        sensors: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[Reading]: ...

    async def recorded_before(
        self,
        place: tuple[datetime, int],
        since: datetime,
        until: int,
        limit: int,
        sensors: Sequence[str] | None,
    ) -> list[Reading]: ...

    async def measurement_names(self, limit: int, sensors: Sequence[str] | None) -> list[str]: ...

    async def newest(self) -> Reading | None: ...

    async def oldest(self) -> int: ...


class Selection(NamedTuple):
    """Which readings, and what of them; None: all."""

    sensors: tuple[str, ...] | None
    measurements: tuple[str, ...] | None
    """A reading that has none of them is left out; of another, these are told."""
    range: Range


class Cursor(NamedTuple):
    """Where a reader has come to, in readings with an id up to `until`."""

    until: int
    id: int
    recorded_at: datetime | None
    """What comes next is below (recorded_at, id); None: in the order of ids, above `id`."""

    def behind(self, reading: Reading) -> "Cursor":
        """The place just behind a reading."""
        assert reading.id is not None
        return Cursor(
            self.until, reading.id, None if self.recorded_at is None else reading.recorded_at
        )

    def text(self) -> str:
        """In the form that a client keeps."""
        text = f"{self.until}-{self.id}"
        if self.recorded_at is not None:
            text += f"@{(self.recorded_at - EPOCH) // _MICROSECOND}"
        return urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def of(cls, text: str) -> "Cursor":
        """What `text` was made of. Raises a `Refusal`."""
        try:
            plain = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
            if (found := _CURSOR.fullmatch(plain)) is not None:
                until, pk, at = found.groups()
                recorded_at = EPOCH + int(at) * _MICROSECOND if at else None
                return cls(int(until), int(pk), recorded_at)
        except (Error, ValueError, OverflowError):
            pass
        raise Refusal(
            Reason.BAD_CURSOR,
            "cursor must be `next` of the page before, unchanged.",
            field="cursor",
        )


class Gap(NamedTuple):
    """The readings after an id up to before another one were removed."""

    after: int
    oldest: int


class Page(NamedTuple):
    """What was found in one look; there may be nothing in it, and more behind it."""

    readings: list[Reading]
    cursor: Cursor
    more: bool
    """Whether anything may be behind `cursor`."""
    gap: Gap | None = None
    """What is missing before the page. Tells itself in the order of ids only."""


class History:
    """Reads a few pages at a time, whoever asks. Everything raises `StorageUnavailable`."""

    def __init__(self, storage: ReadsHistory) -> None:
        self._storage = storage
        self._turn = asyncio.Semaphore(READS_AT_ONCE)

    async def begin(self, selection: Selection, after: int | None) -> Cursor:
        """The cursor to begin with: above the id `after`, or else at the newest reading."""
        async with self._turn:
            newest = await self._storage.newest()
        until = newest.id or 0 if newest is not None else 0
        if after is not None:
            return Cursor(until, after, None)
        return Cursor(until, 0, selection.range.end or _FUTURE)

    async def names(self, selection: Selection, limit: int) -> list[str]:
        """Up to `limit` names of what the selected sensors have ever measured, by about a second.

        In alphabetical order.
        """
        async with self._turn:
            return await self._storage.measurement_names(limit, selection.sensors)

    async def pages(
        self, selection: Selection, cursor: Cursor, size: int = PAGE
    ) -> AsyncIterator[Page]:
        """What follows the cursor, in pages of up to `size` readings; at least one."""
        found = (
            self._in_order(selection, cursor, size)
            if cursor.recorded_at is None
            else self._newest_first(selection, cursor, cursor.recorded_at, size)
        )
        async for page in found:
            if selection.measurements is not None:
                page = page._replace(readings=_reduced(page.readings, selection.measurements))
            yield page

    async def _in_order(
        self, selection: Selection, cursor: Cursor, size: int
    ) -> AsyncIterator[Page]:
        until = cursor.until
        start, end = selection.range
        everything = selection.sensors is None and start is None and end is None
        reached = cursor.id
        while True:
            last = until if everything else min(until, reached + WINDOW)
            async with self._turn:
                readings = await self._storage.between(
                    reached, last, size, selection.sensors, start, end
                )
                # Asked last: what was removed before is not in `readings`.
                oldest = await self._storage.oldest()
                if not readings and last < until:
                    last = await self._next_id(last, until) - 1
            gap = Gap(reached, oldest) if oldest > reached + 1 else None
            reached = readings[-1].id or 0 if len(readings) == size else last
            if gap is not None:
                reached = max(reached, min(oldest - 1, until))
            yield Page(readings, Cursor(until, reached, None), reached < until, gap)
            if reached >= until:
                return

    async def _next_id(self, after: int, until: int) -> int:
        """The next id that there is, for ids may jump far; beyond `until` where there is none."""
        following = await self._storage.between(after, until, 1)
        return (following[0].id or 0) if following else until + 1

    async def _newest_first(
        self, selection: Selection, cursor: Cursor, before: datetime, size: int
    ) -> AsyncIterator[Page]:
        """Slice by slice of time, so that many sensors are not each read for a whole page."""
        sensors = selection.sensors
        start = selection.range.start or _BEGINNING
        place = (before, cursor.id)
        # A single sensor's readings lie in their order already: as many are read as are wanted.
        width = None if sensors is not None and len(sensors) == 1 else FIRST_SLICE
        while True:
            since = (
                start if width is None else _earlier(min(place[0], datetime.now(UTC)), width, start)
            )
            async with self._turn:
                readings = await self._storage.recorded_before(
                    place, since, cursor.until, size, sensors
                )
                if len(readings) == size:
                    place = _key(readings[-1])
                    if width is not None:
                        width = max(readings[0].recorded_at - place[0], _NARROWEST)
                    more = True
                else:
                    place = (since, 0)
                    more = since > start
                    if readings and width is not None:
                        width *= min(WIDENING, size / len(readings))
                if not readings and more:
                    # Nothing for a while: go on where there is something.
                    following = await self._storage.recorded_before(
                        place, start, cursor.until, 1, sensors
                    )
                    more = bool(following)
                    if following:
                        place = (following[0].recorded_at, (following[0].id or 0) + 1)
            if readings or not more:
                yield Page(readings, Cursor(cursor.until, place[1], place[0]), more)
            if not more:
                return


def _earlier(moment: datetime, by: timedelta, start: datetime) -> datetime:
    return moment - by if moment - start > by else start


def _key(reading: Reading) -> tuple[datetime, int]:
    return reading.recorded_at, reading.id or 0


def _reduced(readings: Sequence[Reading], names: Sequence[str]) -> list[Reading]:
    """The readings with only what is asked for, in the order it is asked for."""
    found = []
    for reading in readings:
        measured = reading.measurements
        wanted = {name: measured[name] for name in names if name in measured}
        if wanted:
            reading.measurements = wanted
            found.append(reading)
    return found
