"""The keeper: one of all workers drops what is too old, or does not fit into the budget."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import nan
from typing import Final, Protocol

import structlog

from sensorflow.disk import WIDTHS, Drop, Dropped, Fill, Held, Size, Tier, Undroppable, Why
from sensorflow.errors import StorageUnavailable
from sensorflow.history.retention import Policy, cut
from sensorflow.metrics import Metrics

BUDGET_INTERVAL: Final = 0.5
"""Seconds between two looks where there is a budget."""

INTERVAL: Final = 60.0
"""Seconds between two looks where there is none, or where another worker drops."""

LONGEST_PAUSE: Final = 30.0
"""Seconds between two attempts while the database is away, or somebody holds a lock."""

MEASURE_INTERVAL: Final = timedelta(minutes=10)
"""Time between two sizes that are kept."""

MEASURED_FOR: Final = timedelta(days=7)
"""Time for which sizes are kept: the growth is that of a week."""

TELL_INTERVAL: Final = timedelta(minutes=1)
"""Time between two lines in the log while the budget is not kept."""

log = structlog.get_logger()


class Dropping(Protocol):
    """The database's room, as the keeper needs it; `storage.disk.Disk` states the promise."""

    async def lead(self) -> bool: ...

    async def fill(self) -> Fill: ...

    async def begin_piece(self, bytes: int | None, since: datetime | None) -> bool: ...  # noqa: A002

    async def drop_raw(self, before: datetime | None) -> Dropped | Undroppable: ...

    async def drop_rollups(self, tier: Tier, before: datetime) -> Dropped: ...

    async def note(self, drop: Drop) -> None: ...

    async def measure(self, size: Size, since: datetime) -> None: ...

    async def held(self) -> Mapping[Tier, Held]: ...


class Keeper:
    """The background task."""

    def __init__(self, disk: Dropping, policy: Policy, metrics: Metrics) -> None:
        self._disk = disk
        self._policy = policy
        self._metrics = metrics
        self._used = nan
        """In use, as far as this is the one that drops."""
        self._measured: datetime | None = None
        self._looked: dict[Tier, datetime] = {}
        self._relieved: list[Dropped] = []
        """Dropped for the budget, and not told yet."""
        self._told_at = datetime.min.replace(tzinfo=UTC)
        self._vain_since: datetime | None = None
        self._stop = asyncio.Event()
        metrics.storage_bytes.set_function(lambda: self._used)
        metrics.disk_budget.set_function(lambda: policy.budget or 0)

    async def run(self) -> None:
        """Look, and drop, until `stop`; what is under way then is cut off."""
        ending = asyncio.ensure_future(self._stop.wait())
        reason = ""
        pause = 0.0
        while not self._stop.is_set():
            try:
                turn = asyncio.ensure_future(self.turn(datetime.now(UTC)))
                await asyncio.wait((turn, ending), return_when=asyncio.FIRST_COMPLETED)
                turn.cancel()
                leads = await turn
                reason = ""
                pause = BUDGET_INTERVAL if leads and self._policy.budget else INTERVAL
            except StorageUnavailable as error:
                if str(error) != reason and self._policy != Policy():
                    reason = str(error)
                    log.warning("dropping what is too much is put off", reason=reason)
                pause = min(max(2 * pause, BUDGET_INTERVAL), LONGEST_PAUSE)
            except asyncio.CancelledError:
                if not self._stop.is_set():
                    raise
            await asyncio.wait((ending,), timeout=pause)

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

    async def turn(self, now: datetime) -> bool:
        """Drop everything that is due, if this is the one that drops; tell whether it is.

        Raises `StorageUnavailable`.
        """
        if not await self._disk.lead():
            self._used = nan
            return False
        fill = await self._look()
        if self._measured is None or now - self._measured >= MEASURE_INTERVAL:
            await self._disk.measure(Size(now, fill.used), now - MEASURED_FOR)
            self._measured = now
        await self._disk.begin_piece(self._policy.piece, self._policy.begun_before(now))
        for tier in self._policy.limits:
            looked = self._looked.get(tier)
            if looked is None or now - looked >= self._policy.pause(tier):
                await self._drop_expired(tier, now)
                self._looked[tier] = now
        if self._policy.is_full(fill):
            await self._relieve(now)
        return True

    async def _look(self) -> Fill:
        fill = await self._disk.fill()
        self._used = fill.used
        return fill

    async def _drop_expired(self, tier: Tier, now: datetime) -> None:
        before = self._policy.expired(tier, now)
        if tier is not Tier.RAW:
            await self._told([await self._disk.drop_rollups(tier, before)], Why.AGE, now)
            return
        pieces: list[Dropped] = []
        try:
            while not self._stop.is_set():
                dropped = await self._disk.drop_raw(before)
                if isinstance(dropped, Undroppable):
                    break
                pieces.append(dropped)
        finally:
            await self._told(pieces, Why.AGE, now)

    async def _relieve(self, now: datetime) -> None:
        """Drop until the budget is kept, the finest first."""
        excess = 0
        try:
            while not self._stop.is_set():
                if excess <= 0:
                    # What was dropped is known well enough to look only when it seems to do.
                    excess = self._policy.excess(await self._look())
                if excess <= 0:
                    self._vain_since = None
                    break
                dropped = await self._disk.drop_raw(None)
                if dropped is Undroppable.NONE_LEFT:
                    dropped = await self._thin(excess, now)
                if isinstance(dropped, Undroppable):
                    self._tell_in_vain(dropped, now)
                    break
                self._relieved.append(dropped)
                excess -= dropped.bytes
        finally:
            # Where it goes on only slowly, as readings are followed, it is told now and then.
            if self._vain_since is None or now - self._told_at >= TELL_INTERVAL:
                pieces, self._relieved = self._relieved, []
                self._told_at = now
                await self._told(pieces, Why.BUDGET, now)

    async def _thin(self, excess: int, now: datetime) -> Dropped | Undroppable:
        """Drop the oldest rollups of the finest tier that has some."""
        held = await self._disk.held()
        for tier in WIDTHS:
            before = cut(held[tier], tier, excess, now)
            if before is not None:
                dropped = await self._disk.drop_rollups(tier, before)
                if dropped.rows:
                    return dropped
        return Undroppable.NONE_LEFT

    async def _told(self, pieces: list[Dropped], why: Why, now: datetime) -> None:
        """Log, count and note what was dropped in this turn, each tier by itself."""
        for tier in Tier:
            dropped = _together([piece for piece in pieces if piece.tier is tier and piece.rows])
            if dropped is None:
                continue
            log.info(
                "dropped for its age" if why is Why.AGE else "dropped for DISK_BUDGET",
                tier=tier.value,
                rows=dropped.rows,
                bytes=dropped.bytes,
                until=dropped.newest.isoformat() if dropped.newest else None,
            )
            self._metrics.dropped_rows.labels(tier.value).inc(dropped.rows)
            self._metrics.dropped_bytes.labels(tier.value).inc(dropped.bytes)
            if not self._stop.is_set():
                await self._disk.note(Drop(now, why, dropped))

    def _tell_in_vain(self, why: Undroppable, now: datetime) -> None:
        if self._vain_since is None:
            self._vain_since = now
            log.warning("DISK_BUDGET is not kept: nothing more can be dropped", reason=why.value)


def _together(pieces: list[Dropped]) -> Dropped | None:
    if not pieces:
        return None
    oldest = [piece.oldest for piece in pieces if piece.oldest is not None]
    newest = [piece.newest for piece in pieces if piece.newest is not None]
    return Dropped(
        pieces[0].tier,
        sum(piece.rows for piece in pieces),
        sum(piece.bytes for piece in pieces),
        min(oldest, default=None),
        max(newest, default=None),
    )
