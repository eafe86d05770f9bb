"""What every storage promises. `tests/contract/test_storage.py` holds each to it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from sensorflow.disk import Tier
from sensorflow.readings import Outcome, Reading
from sensorflow.sensors import (
    Change,
    Counts,
    Page,
    Place,
    Removed,
    Sensor,
    Slice,
    State,
    Summary,
    Wanted,
)


class Storage(Protocol):
    """Durable readings in one stream, ordered by id; the order of ids is the order of commits."""

    async def start(self) -> None:
        """Bring the schema up to date and make ready. Called once, before anything else."""

    async def append(
        self, readings: Sequence[Reading], token: UUID | None = None
    ) -> Sequence[Outcome]:
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
        self,
        after: int,
        until: int,
        limit: int,
        sensors: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[Reading]:
        """Up to `limit` readings with an id above `after`, up to `until`, in order of id.

        Only those of `sensors`, recorded from `start` on and before `end`, where these are named.
        """

    async def by_server_clock(self, times: Collection[tuple[str, datetime]]) -> list[Reading]:
        """The readings of these sensors at exactly these times by the server's clock."""

    async def recorded_before(
        self,
        place: tuple[datetime, int],
        since: datetime,
        until: int,
        limit: int,
        sensors: Sequence[str] | None,
    ) -> list[Reading]:
        """Up to `limit` readings below `place`, by (recorded_at, id), from the highest down.

        Only those recorded from `since` on, with an id up to `until`, of `sensors` where they are
        named. Looks at up to `limit` readings of each sensor.
        """

    async def measurement_names(self, limit: int, sensors: Sequence[str] | None) -> list[str]:
        """Up to `limit` names of what the sensors measured, as far as they have been followed."""

    async def oldest(self) -> int:
        """The id below which readings were removed; 1, or less than any, where none were."""

    async def lead(self) -> int | None:
        """The follower's cursor, if this process is the one that follows now.

        `lead`, `gathered`, `states`, `follow` and `count` must not overlap each other.
        """

    async def gathered(self, after: int, limit: int) -> Page:
        """The next up to `limit` readings with an id above `after`, summed up."""

    async def states(self, sensors: Sequence[int]) -> dict[int, State]:
        """The states of those of the sensors that have one, as they are written."""

    async def follow(self, page: Page, states: Mapping[int, State]) -> bool:
        """Write the states, roll the page up, move the follower's cursor: in one transaction.

        `page` is what `gathered` has returned. False where the cursor is not at `page.after` any
        more: nothing was written. States change in no other way, so those that were read while the
        cursor was there are the written ones.
        """

    async def count(self, counts: Counts, token: UUID, settled: UUID | None) -> None:
        """Add to the sensors' counts; a sensor that is not known yet is created.

        After `StorageUnavailable` the same counts under the same `token` are added at most once;
        `settled` is a token that will not be used again.
        """

    async def sensor(self, sensor_id: str) -> Sensor | None:
        """Everything that is known of a sensor."""

    async def sensors(self, limit: int, after: Place | None, containing: str) -> list[Sensor]:
        """Up to `limit` sensors from the highest place down, below `after`.

        Only those whose sensor_id or name holds `containing`.
        """

    async def describe(self, sensor_id: str, change: Change) -> bool:
        """Write what `change` makes of the sensor's details; False where it is not known.

        No other change comes in between. What `change` raises is raised, and nothing is written.
        """

    async def remove_some(self, sensor_id: str, limit: int) -> Removed | None:
        """Remove up to `limit` of the sensor's readings, and of each tier of its rollups.

        With the last of them goes everything that is known of it. None where it is not known. What
        it sends afterwards is that of a new sensor; until then all that it sends is removed too.
        """

    async def complete_from(self) -> Mapping[Tier, datetime | None]:
        """The moment from which on nothing was removed from a tier; None: nothing ever was."""

    async def summarised(
        self, wanted: Wanted, slices: Mapping[Tier, Sequence[Slice]]
    ) -> list[Summary] | None:
        """What the rollups of each slice come to, and the readings that are not rolled up yet.

        A summary's `at` is the beginning of its slice; of the readings' summaries, that of their
        minute, somewhere in the slices of all tiers, which join without a gap. All is of one
        moment: no reading is missing, none counted twice. None where more readings are not rolled
        up yet than may be looked at.
        """

    async def summarised_raw(
        self, wanted: Wanted, within: Slice, width: timedelta
    ) -> list[Summary] | None:
        """What the readings come to in buckets of `width`, the first at the slice's beginning.

        None where there are more of them than may be looked at.
        """

    async def ping(self) -> None:
        """Return if the storage answers now, else raise `StorageUnavailable`."""

    async def skip_ids(self) -> int:
        """After a restore: have ids go on far beyond all that may have been given.

        Returns the next one. Raises `StorageUnavailable`.
        """

    async def close(self) -> None:
        """Release everything. Idempotent."""
