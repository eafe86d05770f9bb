"""Older readings, read from the storage in pages that many may share."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from sensorflow.live.frames import Frames
from sensorflow.readings import Reading

PAGE: Final = 1_000
"""Ids in a page; a page is read and encoded at once, in some 10 ms."""

PAGES_KEPT: Final = 16
"""Pages kept for others at the same place, as after a restart of many screens."""

WINDOW: Final = 200_000
"""Ids that are looked through at once for some sensors."""

READS_AT_ONCE: Final = 2
"""Of the storage's sessions, so that no crowd of subscribers keeps the others from it."""


class ReadsStream(Protocol):
    """The storage, as the stream's past needs it; `storage.base.Storage` states the promises."""

    async def between(
        self, after: int, until: int, limit: int, sensors: Sequence[str] | None = None
    ) -> list[Reading]: ...

    async def newest(self) -> Reading | None: ...

    async def latest(self, sensors: Sequence[str], until: int) -> Reading | None: ...

    async def oldest(self) -> int: ...


class Page(NamedTuple):
    """What follows a cursor."""

    frames: Frames
    last: int
    """Nothing up to this id is missing, but for what was removed."""
    oldest: int
    """The lowest id that had not been removed when this had been read."""


class Pages:
    """Reads the stream's past, a few pages at a time whoever asks."""

    def __init__(self, storage: ReadsStream, encode: Callable[[Reading], bytes]) -> None:
        self._storage = storage
        self._encode = encode
        self._turn = asyncio.Semaphore(READS_AT_ONCE)
        self._kept: OrderedDict[int, asyncio.Task[Page]] = OrderedDict()

    async def after(self, cursor: int, until: int, sensors: frozenset[str] | None) -> Page:
        """What follows the cursor, as far as it is read at once; never beyond `until`.

        Only what of `sensors` is in `frames`, where they are named. Raises `StorageUnavailable`.
        """
        if sensors is not None:
            return await self._window(cursor, until, sorted(sensors))
        number = cursor // PAGE
        if (number + 1) * PAGE <= until:
            page = await self._shared(number)
            rest = page.frames.after(cursor)
            if rest.ids:
                return page._replace(frames=rest)
        # The newest page still grows. And where ids jump, as after a restore, what comes next may
        # be any number of pages away.
        return await self._read(cursor, until, None)

    async def newest_id(self) -> int:
        """The highest id in the storage, 0 where there is none. Raises `StorageUnavailable`."""
        async with self._turn:
            newest = await self._storage.newest()
        return newest.id or 0 if newest is not None else 0

    async def newest(self, sensors: frozenset[str] | None, until: int) -> Frames | None:
        """The newest reading, or that of some sensors, up to the id `until`.

        None where there is none, or where among all sensors a newer one has come meanwhile. Raises
        `StorageUnavailable`.
        """
        async with self._turn:
            if sensors is not None:
                found = await self._storage.latest(sorted(sensors), until)
            else:
                found = await self._storage.newest()
        if found is None or (found.id or 0) > until:
            return None
        return Frames.of([found], [self._encode(found)])

    async def _shared(self, number: int) -> Page:
        """A whole page: read once, however many ask for it at the same time."""
        task = self._kept.get(number)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            first = number * PAGE
            task = asyncio.create_task(self._read(first, first + PAGE, None), name="live-page")
            task.add_done_callback(_heard)
            self._kept[number] = task
            if len(self._kept) > PAGES_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        # Whoever waits may leave; the others still wait.
        return await asyncio.shield(task)

    async def _window(self, cursor: int, until: int, sensors: Sequence[str]) -> Page:
        page = await self._read(cursor, min(until, cursor + WINDOW), sensors)
        if page.frames.ids or page.last == until:
            return page
        async with self._turn:
            (following,) = await self._storage.between(page.last, until, 1) or (None,)
        if following is None or following.id is None:
            return page._replace(last=until)
        return page._replace(last=following.id - 1)

    async def _read(self, after: int, until: int, sensors: Sequence[str] | None) -> Page:
        async with self._turn:
            readings = await self._storage.between(after, until, PAGE, sensors)
            oldest = await self._storage.oldest()
        last = readings[-1].id if len(readings) == PAGE else until
        assert last is not None
        frames = Frames.of(readings, [self._encode(reading) for reading in readings])
        return Page(frames, last, oldest)


def _heard(page: asyncio.Task[Page]) -> None:
    """Python complains of failures that nobody asks for; here all who asked may have left."""
    if not page.cancelled():
        page.exception()
