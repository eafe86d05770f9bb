"""The room that the embedded database takes.

The file never becomes smaller: what is removed leaves pages in it that are used again before it
grows. Rows are removed in the writing thread, between two batches.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sensorflow.disk import WIDTHS, Drop, Dropped, Fill, Held, Size, Tier, Undroppable, Why
from sensorflow.storage.folder import FILE_NAME
from sensorflow.storage.ids import STRIDE
from sensorflow.storage.sqlite import SqliteStorage
from sensorflow.times import microseconds, moment

LEAST_STEP: Final = 500
"""Readings removed at once: a few milliseconds."""

LARGEST_STEP: Final = 6_144
"""Half more than a batch can hold."""

SERIES_AT_ONCE: Final = 100
"""Series of which rollups are removed at once."""

DROPS_KEPT: Final = 100
"""Notes of drops."""

ROLLUP_BYTES: Final = 100
"""Of a row of rollups, about."""

_FOREVER: Final = 2**63 - 1

_PAGES: Final = (
    "SELECT page_count, freelist_count, page_size"
    " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
_OLDEST: Final = """
WITH first AS (
    SELECT id, recorded_at FROM readings
    WHERE id <= (SELECT min(cursor) FROM followers) AND id < (SELECT max(id) FROM readings)
    ORDER BY id LIMIT ?
)
SELECT max(id), count(*), min(recorded_at), max(recorded_at) FROM first
WHERE id < coalesce((SELECT min(id) FROM first WHERE recorded_at >= ?), 9223372036854775807)
"""
_NOT_FOLLOWED: Final = (
    "SELECT (SELECT min(cursor) FROM followers) < min(id) AND min(id) < max(id) FROM readings"
)
_MOVE: Final = "UPDATE tiers SET complete_from = max(coalesce(complete_from, ?), ?) WHERE name = ?"
_HELD: Final = """
SELECT coalesce(sum(CASE WHEN bucket >= ? THEN min(count, 1440) END), 0),
    coalesce(sum(CASE WHEN bucket >= ? THEN min(count, 24) END), 0),
    count(*), min(bucket), max(bucket) FROM rollups_day
"""


class SqliteDisk:
    """Implements `storage.disk.Disk` for a storage that has started."""

    def __init__(self, storage: SqliteStorage, data_dir: Path) -> None:
        self._storage = storage
        self._beside = [data_dir / f"{FILE_NAME}{suffix}" for suffix in ("-wal", "-shm")]
        self._stored = 0
        """The highest id when readings were removed the last time."""

    async def lead(self) -> bool:
        return True

    async def fill(self) -> Fill:
        ((pages, free, page_size),) = await self._storage.rows(_PAGES)
        beside = sum(path.stat().st_size for path in self._beside if path.exists())
        # What was written to the log alone will be in the file soon.
        return Fill((pages - free) * page_size + beside, pages * page_size + beside)

    async def begin_piece(self, bytes: int | None, since: datetime | None) -> bool:  # noqa: A002
        """Readings go one by one."""
        return False

    async def drop_raw(self, before: datetime | None) -> Dropped | Undroppable:
        limit = _FOREVER if before is None else microseconds(before)
        return await self._storage.in_transaction(self._drop_raw, limit)

    async def drop_rollups(self, tier: Tier, before: datetime) -> Dropped:
        limit = microseconds(before)
        place: tuple[int, int] | None = (-1, -1)
        rows = 0
        while place is not None:
            place, removed = await self._storage.in_transaction(_drop_rollups, tier, limit, place)
            rows += removed
        return Dropped(tier, rows, rows * ROLLUP_BYTES, None, before)

    async def note(self, drop: Drop) -> None:
        await self._storage.in_transaction(_note, drop)

    async def measure(self, size: Size, since: datetime) -> None:
        await self._storage.in_transaction(_measure, size, since)

    async def held(self) -> Mapping[Tier, Held]:
        rows = await self._storage.rows("SELECT name, coalesce(complete_from, 0) FROM tiers")
        begin = {Tier(name): int(complete_from) for name, complete_from in rows}
        ((minutes, hours, days, oldest, newest),) = await self._storage.rows(
            _HELD, (begin[Tier.MINUTE], begin[Tier.HOUR])
        )
        held = {}
        for tier, count in zip(WIDTHS, (minutes, hours, days), strict=True):
            held[tier] = Held(
                count * ROLLUP_BYTES,
                count,
                moment(max(oldest, begin[tier])) if count else None,
                moment(newest) if count else None,
            )
        fill = await self.fill()
        raw = max(0, fill.used - sum(tier.bytes for tier in held.values()))
        return {Tier.RAW: await self._held_raw(raw), **held}

    async def drops(self, limit: int) -> list[Drop]:
        rows = await self._storage.rows(
            "SELECT at, tier, why, rows, bytes, oldest, newest FROM drops ORDER BY at DESC LIMIT ?",
            (limit,),
        )
        return [
            Drop(moment(at), Why(why), Dropped(Tier(tier), count, room, _moment(old), _moment(new)))
            for at, tier, why, count, room, old, new in rows
        ]

    async def sizes(self) -> list[Size]:
        rows = await self._storage.rows("SELECT at, used FROM sizes ORDER BY at")
        return [Size(moment(at), used) for at, used in rows]

    async def close(self) -> None:
        """Nothing is held: the storage is not ours."""

    def _drop_raw(self, cursor: sqlite3.Cursor, before: int) -> Dropped | Undroppable:
        """As many as keep pace with what is stored, so ingest waits for about a batch's time."""
        row = cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = 'readings'").fetchone()
        stored = row[0] if row else 0
        step = min(max(LEAST_STEP, (stored - self._stored) * 3 // 2), LARGEST_STEP)
        self._stored = stored
        last, rows, oldest, newest = cursor.execute(_OLDEST, (step, before)).fetchone()
        if last is None:
            (waits,) = cursor.execute(_NOT_FOLLOWED).fetchone()
            return Undroppable.NOT_FOLLOWED if waits else Undroppable.NONE_LEFT
        free = _free_bytes(cursor)
        cursor.execute("DELETE FROM readings WHERE id <= ?", (last,))
        cursor.execute(_MOVE, (newest + 1, newest + 1, Tier.RAW))
        return Dropped(Tier.RAW, rows, _free_bytes(cursor) - free, moment(oldest), moment(newest))

    async def _held_raw(self, bytes: int) -> Held:  # noqa: A002
        """Ids are without gaps, but for those that a restore has left out."""
        ((first, last),) = await self._storage.rows("SELECT min(id), max(id) FROM readings")
        if first is None:
            return Held(bytes, 0, None, None)
        count = 0
        lower = first
        while lower is not None:
            beyond = (lower // STRIDE + 1) * STRIDE
            ((upper, following),) = await self._storage.rows(
                "SELECT (SELECT max(id) FROM readings WHERE id < ?),"
                " (SELECT min(id) FROM readings WHERE id >= ?)",
                (beyond, beyond),
            )
            count += upper - lower + 1
            lower = following
        times = await self._storage.rows(
            "SELECT recorded_at FROM readings WHERE id IN (?, ?) ORDER BY id", (first, last)
        )
        return Held(bytes, count, moment(times[0][0]), moment(times[-1][0]))


def _drop_rollups(
    cursor: sqlite3.Cursor, tier: Tier, before: int, place: tuple[int, int]
) -> tuple[tuple[int, int] | None, int]:
    """One step, from a series on; tell where the next begins, and how many rows went."""
    cursor.execute(_MOVE, (before, before, tier))
    table = f"rollups_{tier}"
    rows = 0
    following: Sequence[Any] | None = place
    for _ in range(SERIES_AT_ONCE):
        following = cursor.execute(
            f"SELECT sensor, measurement FROM {table}"  # noqa: S608
            " WHERE (sensor, measurement) > (?, ?) ORDER BY sensor, measurement LIMIT 1",
            place,
        ).fetchone()
        if following is None:
            return None, rows
        rows += cursor.execute(
            f"DELETE FROM {table} WHERE sensor = ? AND measurement = ? AND bucket IN"  # noqa: S608
            f" (SELECT bucket FROM {table} WHERE sensor = ? AND measurement = ? AND bucket < ?"
            " ORDER BY bucket LIMIT ?)",
            (*following, *following, before, LARGEST_STEP - rows),
        ).rowcount
        if rows >= LARGEST_STEP:
            # The same series may have more.
            return place, rows
        place = (following[0], following[1])
    return place, rows


def _note(cursor: sqlite3.Cursor, drop: Drop) -> None:
    dropped = drop.dropped
    times = [
        None if time is None else microseconds(time) for time in (dropped.oldest, dropped.newest)
    ]
    cursor.execute(
        "INSERT OR REPLACE INTO drops (at, tier, why, rows, bytes, oldest, newest)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (microseconds(drop.at), dropped.tier, drop.why, dropped.rows, dropped.bytes, *times),
    )
    cursor.execute(
        "DELETE FROM drops WHERE at < (SELECT at FROM drops ORDER BY at DESC LIMIT 1 OFFSET ?)",
        (DROPS_KEPT,),
    )


def _measure(cursor: sqlite3.Cursor, size: Size, since: datetime) -> None:
    cursor.execute(
        "INSERT OR REPLACE INTO sizes (at, used) VALUES (?, ?)", (microseconds(size.at), size.used)
    )
    cursor.execute("DELETE FROM sizes WHERE at < ?", (microseconds(since),))


def _free_bytes(cursor: sqlite3.Cursor) -> int:
    pages, page_size = cursor.execute(
        "SELECT freelist_count, page_size FROM pragma_freelist_count, pragma_page_size"
    ).fetchone()
    return int(pages * page_size)


def _moment(stored: int | None) -> datetime | None:
    return None if stored is None else moment(stored)
