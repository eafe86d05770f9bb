"""What became of the readings that were sent, in memory that does not grow with their number."""

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from math import ceil, log
from typing import Final

RECEIPTS: Final = {201: "stored", 202: "spooled", 200: "duplicate", 409: "conflict"}
"""The answers that tell what the database did with a reading."""

CONFLICT: Final = 409

_SHORTEST: Final = 0.0001
_STEP: Final = 1.1
_BUCKETS: Final = ceil(log(100.0 / _SHORTEST) / log(_STEP)) + 1


class ReplyTimes:
    """A histogram of reply times from 0.1 ms to 100 s; a quantile is at most 10 % too high."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._total = 0

    def add(self, seconds: float) -> None:
        """Count one reply."""
        bucket = ceil(log(max(seconds, _SHORTEST) / _SHORTEST) / log(_STEP))
        self._counts[min(bucket, _BUCKETS - 1)] += 1
        self._total += 1

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share of the replies came; None before the first reply."""
        if not self._total:
            return None
        bucket = bisect_left(list(accumulate(self._counts)), ceil(self._total * share))
        return _SHORTEST * float(_STEP**bucket)


class Tally:
    """Counts of readings by what became of them."""

    def __init__(self) -> None:
        self.sent = 0
        """Readings posted at least once."""
        self.receipts: Counter[int] = Counter()
        """By status; see `RECEIPTS`."""
        self.refused: Counter[str] = Counter()
        """By the name of the refusal's reason."""
        self.examples: dict[str, str] = {}
        """The first sentence told for each reason."""
        self.unreadable = 0
        """Rows of the file that hold no reading."""
        self.unanswered = 0
        """Readings posted, with no answer when the sending was stopped: stored or not."""
        self.retries = 0
        self.reply_times = ReplyTimes()
        self.trouble: str | None = None
        """Why nothing goes through just now; None while all is well."""

    def receipt(self, status: int, seconds: float) -> None:
        """Count one receipt that came within `seconds`."""
        self.receipts[status] += 1
        self.reply_times.add(seconds)

    def refuse(self, reason: str, sentence: str) -> None:
        """Count one reading that is not taken, and keep the first sentence of each reason."""
        self.refused[reason] += 1
        self.examples.setdefault(reason, sentence)

    @property
    def answered(self) -> int:
        """Readings whose fate is known."""
        return self.receipts.total() + self.refused.total()

    @property
    def done(self) -> int:
        """Everything that needs no more work."""
        return self.answered + self.unreadable

    @property
    def failed(self) -> bool:
        """Whether something was not taken, and sending it again would not help."""
        return bool(self.refused.total() or self.receipts[CONFLICT] or self.unreadable)
