"""What is kept how long, and within how much room: the rules, without a database.

By age: what is older than its tier's limit goes. For the budget: raw readings go first, the oldest
of the stream before the others, then rollups of minutes, then of hours, then of days.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from sensorflow.disk import WIDTHS, Fill, Held, Size, Tier

FULL: Final = 0.95
"""Of the budget: from there on something is dropped. The rest is for what comes meanwhile."""

RELIEVED: Final = 0.92
"""Of the budget: enough was dropped."""

PIECES: Final = 32
"""Parts of the budget, or of a limit's time, of which one is dropped at once."""

_SHORTEST: Final = timedelta(minutes=1)
_LONGEST: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Policy:
    """What the settings say."""

    limits: Mapping[Tier, timedelta] = field(default_factory=dict)
    """A tier without one is kept forever."""
    budget: int | None = None
    """Bytes."""

    @property
    def piece(self) -> int | None:
        """Bytes that are dropped at once for the budget, at least."""
        return None if self.budget is None else self.budget // PIECES

    def begun_before(self, now: datetime) -> datetime | None:
        """A piece of the stream that began earlier is left: it goes as a whole one day."""
        limit = self.limits.get(Tier.RAW)
        return None if limit is None else now - limit / PIECES * 2

    def pause(self, tier: Tier) -> timedelta:
        """Time between two looks for what is too old: a small part of the limit."""
        return min(max(self.limits[tier] / PIECES, _SHORTEST), _LONGEST)

    def expired(self, tier: Tier, now: datetime) -> datetime:
        """What is older goes. Of rollups: buckets that begin earlier."""
        before = now - self.limits[tier]
        return before if tier is Tier.RAW else _floored(before, WIDTHS[tier])

    def is_full(self, fill: Fill) -> bool:
        """Whether something has to go for the budget."""
        return self.budget is not None and fill.used > FULL * self.budget

    def excess(self, fill: Fill) -> int:
        """Bytes that have to go once it is full; 0 or less: enough was dropped."""
        return 0 if self.budget is None else fill.used - int(RELIEVED * self.budget)


def cut(held: Held, tier: Tier, excess: int, now: datetime) -> datetime | None:
    """Before which bucket a tier of rollups has to be cut to free so many bytes.

    Rows are taken to be spread evenly over time; who is wrong looks again. The last sixty of the
    smallest buckets stay: they are being written. None where there is nothing older than that.
    """
    if held.oldest is None or held.newest is None or held.bytes <= 0:
        return None
    width = WIDTHS[tier]
    latest = _floored(now - 60 * width, width)
    span = max(held.newest + timedelta(days=1) - held.oldest, width)
    before = _floored(held.oldest + span * min(1.0, excess / held.bytes) + width, width)
    before = min(before, latest)
    return before if before > held.oldest else None


def growth(sizes: list[Size]) -> float | None:
    """Bytes a day, over the time that is known; None where that is too short to tell."""
    if not sizes:
        return None
    first, last = sizes[0], sizes[-1]
    days = (last.at - first.at) / timedelta(days=1)
    return (last.used - first.used) / days if days > 0 else None


def reached(policy: Policy, used: int, per_day: float | None, now: datetime) -> datetime | None:
    """When the budget is used up if it goes on like this; None where it is not, or nobody knows."""
    if policy.budget is None or per_day is None or per_day <= 0:
        return None
    days = max(0.0, FULL * policy.budget - used) / per_day
    return now + timedelta(days=days) if days < _FORESEEN_DAYS else None


_FORESEEN_DAYS: Final = 36_525.0


def _floored(moment: datetime, width: timedelta) -> datetime:
    return moment - (moment - _EPOCH) % width
