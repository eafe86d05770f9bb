"""Bounds that belong to a key or to an address."""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv6Address
from pathlib import Path
from random import randrange
from tempfile import TemporaryFile
from time import monotonic
from typing import Final

import structlog

from sensorflow.errors import SettingsError

MAX_FAILURES: Final = 20
"""Wrong keys that one address may send in a row before it has to wait."""

SECONDS_PER_FAILURE: Final = 3.0
"""How long it takes for one failure to be forgotten."""

_ADDRESSES_KEPT: Final = 10_000

PLACES_TRIED: Final = 1_000
"""Places tried for one live connection; where no more are allowed, none that is free is missed."""

_NEAR: Final = 100
"""Of those the ones that follow each other, where there are more than it may try."""

_MOST_PLACES: Final = 2**31 - 1
"""A place is an offset in a file."""

log = structlog.get_logger()


class FailureLimit:
    """Counts wrong keys by address; each address has a bucket that leaks with time.

    An IPv6 address counts as its /64, which is what one customer has: whoever may choose among
    2^64 addresses must not get a bucket for each.

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
        over = self._clears_at.get(_counted_as(address), 0.0) - self._clock()
        return max(0.0, over - (MAX_FAILURES - 1) * SECONDS_PER_FAILURE)

    def proven(self, address: str, key: bytes) -> bool:
        """Whether this address has used this key rightly before."""
        return (_counted_as(address), key) in self._proven

    def failed(self, address: str) -> None:
        """Count one wrong key."""
        now = self._clock()
        address = _counted_as(address)
        clears_at = max(self._clears_at.pop(address, now), now) + SECONDS_PER_FAILURE
        _bound(self._clears_at)
        self._clears_at[address] = clears_at

    def succeeded(self, address: str, key: bytes) -> None:
        """Remember a right key."""
        address = _counted_as(address)
        if (address, key) not in self._proven:
            _bound(self._proven)
            self._proven[address, key] = None


class ConnectionLimit:
    """How many live connections each key may hold at once; 0 allows any number.

    The limit holds over all processes that share `folder`, and the places of a process that is
    killed are free at once: a place is one byte of the key's file under a record lock, which the
    kernel drops with its process. Such locks belong to the process that takes them, so a limit is
    of no use to a process forked from its own.
    """

    def __init__(self, allowed: int, folder: Path) -> None:
        """Raises `SettingsError` where `folder` cannot be made, written or locked in."""
        self._allowed = min(allowed, _MOST_PLACES)
        self._folder = folder
        self._places: dict[bytes, _Places] = {}
        if allowed:
            _check(folder)

    def acquire(self, key: bytes) -> bool:
        """Take a place; False where none is found. Each True needs one `release`.

        At most `PLACES_TRIED` are tried: beyond that number an almost full key may seem full.
        """
        if not self._allowed:
            return True
        if key not in self._places:
            self._places[key] = _Places(self._allowed, self._folder / key[:8].hex())
        return self._places[key].take()

    def release(self, key: bytes) -> None:
        """Give the place back."""
        if self._allowed:
            self._places[key].give_back()


class _Places:
    """The places of one key, and which of them this process holds.

    Where the file fails in a way that has nothing to do with other processes, this process
    counts alone: a full disk is no reason to turn screens away.
    """

    def __init__(self, allowed: int, path: Path) -> None:
        self._allowed = allowed
        self._held: set[int] = set()
        # Each process begins somewhere else, so that it finds a free place at the first try, and
        # the kernel has few ranges to remember.
        self._next = randrange(allowed)  # noqa: S311
        self._counts_alone = False
        # Never closed: closing any descriptor of the file would drop all locks on it.
        self._file: int | None = None
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._count_alone(error)

    def take(self) -> bool:
        if len(self._held) >= self._allowed:
            return False
        for tried in range(min(self._allowed, PLACES_TRIED)):
            if tried < _NEAR or self._allowed <= PLACES_TRIED:
                place = (self._next + tried) % self._allowed
            else:
                place = randrange(self._allowed)  # noqa: S311
            # Own locks are no obstacle to this process, so only we know of them.
            if place not in self._held and self._lock(place):
                self._held.add(place)
                self._next = (place + 1) % self._allowed
                return True
        return False

    def give_back(self) -> None:
        place = self._held.pop()
        self._next = place
        if self._file is not None:
            with suppress(OSError):
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def _lock(self, place: int) -> bool:
        if self._file is not None:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            except (BlockingIOError, PermissionError):  # POSIX allows either
                return False
            except OSError as error:
                self._count_alone(error)
        return True

    def _count_alone(self, error: OSError) -> None:
        if not self._counts_alone:
            self._counts_alone = True
            log.warning("live connections are counted in this process alone", error=str(error))


def _check(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as probe:
            fcntl.lockf(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise SettingsError(
            f"DATA_DIR: {str(folder)!r} cannot be used ({error.strerror}); it counts live "
            "connections for MAX_WS_CONNECTIONS_PER_KEY."
        ) from None


def _counted_as(address: str) -> str:
    return _network(address) if ":" in address else address


@lru_cache(_ADDRESSES_KEPT)
def _network(address: str) -> str:
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    # A socket for both families shows IPv4 so; all of it would be one /64.
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64))


def _bound(kept: dict[str, float] | dict[tuple[str, bytes], None]) -> None:
    """Make room for one entry by dropping the oldest."""
    if len(kept) >= _ADDRESSES_KEPT:
        del kept[next(iter(kept))]  # type: ignore[arg-type]
