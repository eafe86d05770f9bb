"""Who may do what: keys from the request, checked against the keyring."""

from base64 import b64decode
from collections.abc import Collection, Mapping
from math import ceil
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import cookie_parser

from sensorflow.errors import Reason, Refusal
from sensorflow.keys.keyring import VARIABLES, Keyring, Scope, digest
from sensorflow.keys.limits import FailureLimit
from sensorflow.keys.sessions import Sessions
from sensorflow.web import asgi

SESSION_COOKIE: Final = "sensorflow_session"

_DOES: Final = {
    Scope.INGEST: "send readings",
    Scope.READ: "read",
    Scope.ADMIN: "change anything",
}


class Gate:
    """Lets a request through for one scope, or raises the `Refusal` that says why not."""

    def __init__(self, keyring: Keyring, failures: FailureLimit, sessions: Sessions) -> None:
        self._keyring = keyring
        self._failures = failures
        self._sessions = sessions

    def require(
        self, scope: asgi.Scope, needed: Scope, headers: Mapping[bytes, bytes], *, url_key: bool
    ) -> bytes:
        """Return what identifies the key's holder.

        The key is taken from `X-API-Key`, else `Authorization: Bearer`, else, with `url_key`,
        from `?api-key=`.
        """
        key = headers.get(b"x-api-key") or _authorization(headers, b"bearer")
        if not key and url_key and scope["query_string"]:
            key = _query_key(scope["query_string"])
        return self._check(scope, needed, key)

    def require_of_influx(
        self, scope: asgi.Scope, needed: Scope, headers: Mapping[bytes, bytes]
    ) -> bytes:
        """As `require`, with the key also where Influx's clients put a token or a password."""
        key = (
            headers.get(b"x-api-key")
            or _authorization(headers, b"bearer")
            or _authorization(headers, b"token")
            or _password(headers)
        )
        if not key and scope["query_string"]:
            key = _query_key(scope["query_string"], ("api-key", "p"))
        return self._check(scope, needed, key)

    def _check(self, scope: asgi.Scope, needed: Scope, key: bytes | None) -> bytes:
        address = asgi.client_address(scope) or ""
        if not key:
            raise Refusal(
                Reason.KEY_MISSING,
                f"No API key was sent; put the {VARIABLES[needed]} into the X-API-Key header.",
            )
        wait = self._failures.wait(address)
        identity = digest(key)
        if wait and not self._failures.proven(address, identity):
            raise Refusal(
                Reason.TOO_MANY_FAILED_KEYS,
                "Too many wrong keys came from this address; wait, then send the right one.",
                retry_after=ceil(wait),
            )
        if self._keyring.allows(identity, needed):
            self._failures.succeeded(address, identity)
            return identity
        if self._keyring.scopes(identity):
            raise Refusal(
                Reason.KEY_NOT_ALLOWED,
                f"This key is known, but it may not {_DOES[needed]}; use the {VARIABLES[needed]}.",
            )
        self._failures.failed(address)
        raise Refusal(
            Reason.KEY_UNKNOWN,
            f"The API key is wrong; compare it with the server's {VARIABLES[needed]}.",
        )

    def require_reader(
        self, scope: asgi.Scope, headers: Mapping[bytes, bytes], *, url_key: bool = True
    ) -> bytes:
        """Let through who may read: by key, or by a browser session of our own origin.

        Returns what identifies the holder; a session's holder is the read key it stands for.
        Without `url_key` a key counts in a header only.
        """
        has_key = (
            b"x-api-key" in headers
            or b"authorization" in headers
            or (url_key and b"api-key" in scope["query_string"])
        )
        if has_key or not self.has_session(headers):
            return self.require(scope, Scope.READ, headers, url_key=url_key)
        if not _own_origin(scope, headers):
            raise Refusal(
                Reason.FOREIGN_ORIGIN,
                "A browser session is good for this server's own page only; other origins send "
                "the API_KEY_WS.",
            )
        return self._keyring.kept(Scope.READ)

    def has_session(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the request carries a session of ours that is still good."""
        # Tolerant, unlike http.cookies: other programs on this host set cookies as they like.
        cookies = cookie_parser(headers.get(b"cookie", b"").decode("latin-1"))
        return self._sessions.verify(cookies.get(SESSION_COOKIE, ""))

    def open_session(self) -> str:
        """A token for who has just shown the read key."""
        return self._sessions.issue()


def _authorization(headers: Mapping[bytes, bytes], wanted: bytes) -> bytes | None:
    kind, _, sent = headers.get(b"authorization", b"").partition(b" ")
    return sent.strip() if kind.lower() == wanted else None


def _password(headers: Mapping[bytes, bytes]) -> bytes | None:
    """That of basic authentication; whose it is does not matter."""
    encoded = _authorization(headers, b"basic")
    try:
        return b64decode(encoded, validate=True).partition(b":")[2] if encoded else None
    except ValueError:
        return None


def _query_key(query: bytes, names: Collection[str] = ("api-key",)) -> bytes | None:
    for name, value in parse_qsl(query.decode("latin-1"), encoding="latin-1"):
        if name in names:
            return value.encode("latin-1")
    return None


def _own_origin(scope: asgi.Scope, headers: Mapping[bytes, bytes]) -> bool:
    if b"origin" not in headers:
        if scope["type"] == "websocket":
            return False
        # Browsers send none with a plain GET to where the page comes from. Where they tell the site
        # it counts; they do not over plain HTTP. What a page of another origin gets without naming
        # itself it cannot read, and the cookie, SameSite=strict, is not sent from other sites.
        return headers.get(b"sec-fetch-site", b"same-origin") == b"same-origin"
    origin = urlsplit(headers.get(b"origin", b"").decode("latin-1"))
    return origin.netloc != "" and origin.netloc == headers.get(b"host", b"").decode("latin-1")
