"""API keys: what each may do, and how one is recognised without being kept.

Keys are made of 256 random bits or chosen by the operator; memory and disk hold only their
SHA-256. A slow hash would protect weak keys better but cost every request a commit's time; the
limit on failures in `keys.limits` is what stands against guessing.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from enum import StrEnum


class Scope(StrEnum):
    """What a key is for."""

    INGEST = "ingest"
    READ = "read"
    ADMIN = "admin"


VARIABLES = {Scope.INGEST: "API_KEY", Scope.READ: "API_KEY_WS", Scope.ADMIN: "ADMIN_KEY"}
"""The setting that gives each scope its key."""


def make_key() -> str:
    """A new key, safe in a URL, a header and a shell command."""
    return "sf_" + secrets.token_urlsafe(32)


def digest(key: str | bytes) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).digest()


class Keyring:
    """The digests of the keys in force. The same key may serve several scopes."""

    def __init__(self, digests: Mapping[Scope, bytes]) -> None:
        self._digests = dict(digests)

    def allows(self, given: bytes, scope: Scope) -> bool:
        """Whether the key with this digest is that of `scope`."""
        return hmac.compare_digest(given, self._digests[scope])

    def scopes(self, given: bytes) -> frozenset[Scope]:
        """What the key with this digest may do, in time that does not tell how close it came."""
        return frozenset(
            [scope for scope, kept in self._digests.items() if hmac.compare_digest(given, kept)]
        )

    def kept(self, scope: Scope) -> bytes:
        """The digest of the key of `scope`."""
        return self._digests[scope]
