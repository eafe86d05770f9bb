"""Where readings go while the database is away, and how they come back."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final
from uuid import UUID

import msgspec
import structlog

from sensorflow.errors import Refusal, StorageUnavailable
from sensorflow.ingest.committer import Committer
from sensorflow.ingest.database import Database
from sensorflow.ingest.receipts import Answer, Receipt, Status, not_stored
from sensorflow.ingest.segments import Record, Segment, groups
from sensorflow.ingest.spool import Spool, SpoolFull
from sensorflow.metrics import Metrics
from sensorflow.readings import Reading, WireForms
from sensorflow.sensors import DUPLICATE, SPOOLED

ADOPT_INTERVAL: Final = 5.0
"""Seconds between two looks for what other workers have left."""

DISK_PAUSE: Final = 5.0
"""Seconds after which the disk is tried again where draining failed because of it."""

QUARANTINE: Final = "quarantine.ndjson"
"""In DATA_DIR: readings that were acknowledged, and that the database then refused."""

log = structlog.get_logger()


class Shelter:
    """Keeps readings in the spool while the database is away, and drains it afterwards."""

    def __init__(
        self,
        spool: Spool,
        database: Database,
        committer: Committer,
        encode: Callable[[Reading], bytes],
        show: Callable[[Sequence[Reading], list[bytes]], None],
        quarantine: Path,
        metrics: Metrics,
    ) -> None:
        """`show` takes readings that were spooled, and the payloads of their provisional frames."""
        self._spool = spool
        self._database = database
        self._committer = committer
        self._encode = encode
        self._show = show
        self._quarantine = quarantine
        self._metrics = metrics
        self.refuses = False
        """Whether the last readings could not be kept."""
        self._stop = asyncio.Event()
        self._segment: Segment | None = None
        self._records: Iterator[Record] = iter(())
        self._record: Record | None = None
        self._not_before = 0.0
        metrics.spooled_readings.set_function(lambda: spool.readings)
        metrics.spooled_bytes.set_function(lambda: spool.bytes)

    @property
    def away(self) -> bool:
        """Whether readings have to go to the spool at once."""
        return not self._database.available

    @property
    def can_drain(self) -> bool:
        """Whether readings may wait and the database takes them."""
        return (
            self._database.available
            and not self._spool.empty
            and (not self._not_before or monotonic() >= self._not_before)
        )

    async def unavailable(
        self, readings: Sequence[Reading], token: UUID, error: StorageUnavailable
    ) -> list[Answer]:
        """Keep what the database has just failed to commit; nobody knows whether it did."""
        self._database.lost(error)
        return await self.keep(readings, token, tried=True)

    async def keep(
        self, readings: Sequence[Reading], token: UUID, *, tried: bool = False
    ) -> list[Answer]:
        """Have the readings on disk and shown, or say that they could not be kept.

        `tried` tells that they may have been committed under the token.
        """
        readings = list(readings)  # of columns, which make each anew
        for reading in readings:
            reading.id = None
        try:
            await asyncio.to_thread(self._spool.append, token, readings, tried=tried)
        except SpoolFull:
            self.refuses = True
            return [not_stored("the database is away and the spool is full")] * len(readings)
        except OSError as error:
            self.refuses = True
            why = f"the database is away and the spool cannot be written: {error.strerror}"
            return [not_stored(why)] * len(readings)
        self.refuses = False
        wire_forms = WireForms(readings, self._encode)
        receipts = [Receipt(Status.SPOOLED, wire_forms, place) for place in range(len(readings))]
        self._show(readings, [receipt.with_status() for receipt in receipts])
        return list(receipts)

    async def run(self, wake: Callable[[], None]) -> None:
        """Until `stop`, look now and then for what other workers have left; `wake` the drain."""
        while not self._stop.is_set():
            try:
                found = await asyncio.to_thread(self._spool.find)
            except OSError as error:
                log.error("the spool cannot be looked through", reason=str(error))
                found = []
            if found:
                self._spool.adopt(found)
                log.info("readings found in the spool", readings=self._spool.readings)
            wake()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), ADOPT_INTERVAL)

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

    def close(self) -> None:
        """Let go of the spool's folders."""
        self._spool.close()

    async def drain_one(self) -> None:
        """Commit the oldest readings that wait. Call only while `can_drain`."""
        try:
            if self._record is None:
                self._record = await asyncio.to_thread(self._next)
            if self._record is not None and await self._commit(self._record):
                self._record = None
            self._not_before = 0.0
        except OSError as error:
            # What waits stays where it is: new readings need neither this file nor this disk.
            self._not_before = monotonic() + DISK_PAUSE
            log.error("the spool cannot be drained now", reason=str(error))

    async def _commit(self, record: Record) -> bool:
        try:
            answers = await self._committer.commit(
                record.readings, record.token, _again, spooled=True
            )
        except StorageUnavailable as error:
            self._database.lost(error)
            return False
        finally:
            self._committer.announce()
        refused = [
            (reading, answer)
            for reading, answer in zip(record.readings, answers, strict=True)
            if isinstance(answer, Refusal)
        ]
        if refused:
            await asyncio.to_thread(self._set_aside, refused)
        self._metrics.drained.inc(len(answers) - len(refused))
        self._count_by_sensor(record.readings, answers)
        if self._segment is not None:
            self._segment.readings -= len(answers)
        return True

    def _count_by_sensor(self, readings: Sequence[Reading], answers: Sequence[Answer]) -> None:
        """Count each reading now that it is known what has become of it."""
        count = self._metrics.by_sensor.count
        for reading, answer in zip(readings, answers, strict=True):
            count(reading.sensor_id, SPOOLED)
            if isinstance(answer, Refusal):
                count(reading.sensor_id, answer.reason.value)
            elif answer.status is Status.DUPLICATE:
                count(reading.sensor_id, DUPLICATE)

    def _next(self) -> Record | None:
        """The next record that waits; a segment without any more of them is removed."""
        if self._segment is None:
            self._segment = self._spool.oldest()
            if self._segment is None:
                return None
            self._records = groups(self._segment)
        record = next(self._records, None)
        if record is None:
            if self._segment.damaged:
                log.error(
                    "a segment of the spool is damaged; it is set aside",
                    file=self._segment.path.name,
                )
            self._spool.done(self._segment)
            self._segment = None
        return record

    def _set_aside(self, refused: Sequence[tuple[Reading, Refusal]]) -> None:
        """Keep what turned out not to be storable, on disk, before it leaves the spool."""
        lines = [
            msgspec.json.encode(
                {"reason": refusal.reason.value, "detail": refusal.detail, "reading": reading}
            )
            for reading, refusal in refused
        ]
        with self._quarantine.open("ab") as file:
            file.write(b"\n".join([*lines, b""]))
            file.flush()
            os.fsync(file.fileno())
        self._metrics.quarantined.inc(len(refused))
        log.warning(
            "spooled readings cannot be stored; they are kept in the quarantine",
            readings=len(refused),
            file=self._quarantine.name,
        )


async def _again(
    _readings: Sequence[Reading], _token: UUID, error: StorageUnavailable
) -> list[Answer]:
    """Leave the whole batch where it is: its token tells later whether it was committed."""
    raise error
