"""What every storage promises. `tests/contract/test_storage.py` holds each to it."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from sensorflow.readings import Outcome, Reading


class Storage(Protocol):
    """Durable readings in one stream, ordered by id; the order of ids is the order of commits."""

    async def start(self) -> None:
        """Bring the schema up to date and make ready. Called once, before anything else."""

    async def append(self, readings: Sequence[Reading], token: UUID | None = None) -> list[Outcome]:
        """Commit the readings in one transaction; return their outcomes in the same order.

        On return every reading with outcome `Stored` is durable and has its id, and ids ascend
        in the order given. Only a device's own `recorded_at` takes part in the duplicate check,
        which also sees the readings earlier in this batch. Calls must not overlap.

        Raises `BatchRefused` where the storage will never commit this batch: nothing was stored.
        Raises `StorageUnavailable` where it cannot commit now. With PostgreSQL nobody may know
        then whether it has: the same readings under the same `token` are committed at most once,
        and are duplicates (or the conflicts that they were) the next time.
        """

    def settle(self, token: UUID) -> None:
        """Forget a token under which nothing will be appended again. Never blocks."""

    async def newest(self) -> Reading | None:
        """The reading with the highest id."""

    async def latest(self, sensors: Sequence[str], until: int) -> Reading | None:
        """Of each sensor's last reading by `recorded_at`, with no id above `until`, the newest."""

    async def after(self, cursor: int, limit: int) -> list[Reading]:
        """Up to `limit` readings with an id above `cursor`, in order of id."""

    async def between(
        self, after: int, until: int, limit: int, sensors: Sequence[str] | None = None
    ) -> list[Reading]:
        """Up to `limit` readings with an id above `after`, up to `until`, in order of id.

        Only those of `sensors` where they are named.
        """

    async def oldest(self) -> int:
        """The id below which readings were removed; 1, or less than any, where none were."""

    async def ping(self) -> None:
        """Return if the storage answers now, else raise `StorageUnavailable`."""

    async def skip_ids(self) -> int:
        """After a restore: have ids go on far beyond all that may have been given.

        Returns the next one. Raises `StorageUnavailable`.
        """

    async def close(self) -> None:
        """Release everything. Idempotent."""
