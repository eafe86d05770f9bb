"""What readings take on disk, tier by tier, and what of it is dropped."""

from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Final, NamedTuple

import msgspec


class Tier(StrEnum):
    """How fine it is what is kept: the readings themselves, or what they come to."""

    RAW = "raw"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


WIDTHS: Final = {
    Tier.MINUTE: timedelta(minutes=1),
    Tier.HOUR: timedelta(hours=1),
    Tier.DAY: timedelta(days=1),
}
"""The tiers of rollups, from the finest on, each with the time of its buckets."""


class Why(StrEnum):
    """Why something was dropped."""

    AGE = "age"
    BUDGET = "budget"


class Fill(NamedTuple):
    """How full the disk is with what is ours."""

    used: int
    """Bytes that hold something."""
    on_disk: int
    """Bytes of the files: what was dropped may leave room in them, which is used again."""


class Held(msgspec.Struct, frozen=True):
    """What a tier holds."""

    bytes: int
    rows: int
    oldest: datetime | None
    newest: datetime | None
    """Of raw: `recorded_at` of the first and the last reading in the stream. Else buckets' days."""


class Dropped(msgspec.Struct, frozen=True):
    """What was removed at once."""

    tier: Tier
    rows: int
    bytes: int
    oldest: datetime | None
    newest: datetime | None
    """Of raw: the lowest and the highest `recorded_at`. Else: buckets were before `newest`."""


class Undroppable(Enum):
    """Why no reading can be dropped now."""

    NONE_LEFT = "none left"
    """But for the newest, which always stay; or for those that are not old enough."""
    NOT_FOLLOWED = "not followed"
    """What they come to is not written down yet."""


class Drop(msgspec.Struct, frozen=True):
    """A note of what was dropped, when and why."""

    at: datetime
    why: Why
    dropped: Dropped


class Size(NamedTuple):
    """How many bytes were used at a time."""

    at: datetime
    used: int
