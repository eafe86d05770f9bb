"""Bounds that belong to a key or to an address."""

from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Final

MAX_FAILURES: Final = 20
"""Wrong keys that one address may send in a row before it has to wait."""

SECONDS_PER_FAILURE: Final = 3.0
"""How long it takes for one failure to be forgotten."""

_ADDRESSES_KEPT: Final = 10_000


class FailureLimit:
    """Counts wrong keys by address; each address has a bucket that leaks with time.

    An address over its limit is refused whatever it sends, except by a key that it has used
    rightly before: a device with a wrong key must not shut out its neighbours behind the same
    router, and guessing gains nothing by it.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._clears_at: dict[str, float] = {}
        self._proven: dict[tuple[str, bytes], None] = {}

    def wait(self, address: str) -> float:
        """Seconds until the address may try a new key again; 0 where it may now."""
        if not self._clears_at:
            return 0.0
        over = self._clears_at.get(address, 0.0) - self._clock()
        return max(0.0, over - (MAX_FAILURES - 1) * SECONDS_PER_FAILURE)

    def proven(self, address: str, key: bytes) -> bool:
        """Whether this address has used this key rightly before."""
        return (address, key) in self._proven

    def failed(self, address: str) -> None:
        """Count one wrong key."""
        now = self._clock()
        clears_at = max(self._clears_at.pop(address, now), now) + SECONDS_PER_FAILURE
        _bound(self._clears_at)
        self._clears_at[address] = clears_at

    def succeeded(self, address: str, key: bytes) -> None:
        """Remember a right key."""
        if (address, key) not in self._proven:
            _bound(self._proven)
            self._proven[address, key] = None


class ConnectionLimit:
    """How many live connections each key may hold at once; 0 allows any number."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self._held: Counter[bytes] = Counter()

    def acquire(self, key: bytes) -> bool:
        """Take a place; False where none is left. Each True needs one `release`."""
        if self.allowed and self._held[key] >= self.allowed:
            return False
        self._held[key] += 1
        return True

    def release(self, key: bytes) -> None:
        """Give the place back."""
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]


def _bound(kept: dict[str, float] | dict[tuple[str, bytes], None]) -> None:
    """Make room for one entry by dropping the oldest."""
    if len(kept) >= _ADDRESSES_KEPT:
        del kept[next(iter(kept))]  # type: ignore[arg-type]
