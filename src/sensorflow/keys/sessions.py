"""Browser sessions: a signed cookie, so that a page need not keep the key itself."""

import hashlib
import hmac
from collections.abc import Callable
from time import time
from typing import Final

LIFETIME: Final = 30 * 24 * 3600
"""Seconds a session lasts."""


class Sessions:
    """Issues and verifies tokens `EXPIRY.MAC`.

    The MAC's key comes from the read key's digest: every worker agrees without shared state,
    and changing the read key ends all sessions.
    """

    def __init__(self, read_key_digest: bytes, clock: Callable[[], float] = time) -> None:
        self._secret = hmac.digest(read_key_digest, b"sensorflow session", hashlib.sha256)
        self._clock = clock

    def issue(self) -> str:
        """A token that is good for `LIFETIME`."""
        expiry = str(int(self._clock()) + LIFETIME)
        return f"{expiry}.{self._mac(expiry)}"

    def verify(self, token: str) -> bool:
        """Whether we issued the token and it has not expired."""
        expiry, _, mac = token.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(expiry).encode()):
            return False
        return int(expiry) > self._clock()

    def _mac(self, expiry: str) -> str:
        return hmac.new(self._secret, expiry.encode(), hashlib.sha256).hexdigest()
