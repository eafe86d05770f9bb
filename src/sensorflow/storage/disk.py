"""What every database promises of the room it takes; `tests/contract/test_disk.py` holds it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from sensorflow.disk import Drop, Dropped, Fill, Held, Size, Tier, Undroppable


class Disk(Protocol):
    """The room that readings take, and how it is given back: the oldest of the stream first.

    The newest reading always stays, and so does all that is not followed yet. All of it raises
    `StorageUnavailable`.
    """

    async def lead(self) -> bool:
        """Whether this process, of all workers, is the one that drops now.

        `begin_piece`, `drop_raw`, `drop_rollups`, `note` and `measure` are for that one only.
        """

    async def fill(self) -> Fill:
        """How full it is now: tables, indexes, and SQLite's log; not the spool."""

    async def begin_piece(self, bytes: int | None, since: datetime | None) -> bool:  # noqa: A002
        """Where readings are dropped by the partition: begin the next one, if it is time.

        It is if the newest takes so many bytes, or holds a reading that was received before
        `since`.
        """

    async def drop_raw(self, before: datetime | None) -> Dropped | Undroppable:
        """Remove the oldest readings of the stream, as many as are removed at once.

        With `before` only if each one's `recorded_at` is older. Ingest waits no longer for it
        than for a batch.
        """

    async def drop_rollups(self, tier: Tier, before: datetime) -> Dropped:
        """Remove a tier's rows whose bucket is older, in steps for which nobody waits long."""

    async def note(self, drop: Drop) -> None:
        """Keep it among the last ones."""

    async def measure(self, size: Size, since: datetime) -> None:
        """Keep the size, and forget those from before `since`."""

    async def held(self) -> Mapping[Tier, Held]:
        """What each tier holds, estimated where counting would take long."""

    async def drops(self, limit: int) -> list[Drop]:
        """The last ones, newest first."""

    async def sizes(self) -> list[Size]:
        """All that are kept, oldest first."""

    async def close(self) -> None:
        """Release everything. Idempotent."""
