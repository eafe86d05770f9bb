"""Who is behind a proxy: what `X-Forwarded-For` and `-Proto` say, where the sender is trusted."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from sensorflow.web import asgi

Network = IPv4Network | IPv6Network

PEERS_KEPT: Final = 1_024
"""Peers of which it is remembered whether they are trusted; proxies are few."""

ADDRESSES_KEPT: Final = 4_096
"""Addresses from headers that are remembered as parsed; devices come again and again."""

_LONGEST: Final = 64
"""Bytes; an IPv6 address with brackets and a port has 53 at most."""

_SCHEMES: Final = {("http", b"https"): "https", ("websocket", b"https"): "wss"}


class Proxies:
    """Puts the client in the place of the proxy that passed its request on.

    Only a peer from one of the `trusted` networks is believed. Each proxy appends the address it
    sees to `X-Forwarded-For`, so the right-most one that is not a trusted proxy's own is the
    client's; whatever stands left of it anybody may have written. Where there is none, or no
    address stands there, the peer's address stays. A peer on a Unix socket has no address, and so
    is never trusted.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._networks = tuple(trusted)
        self.trusts = lru_cache(PEERS_KEPT)(self._is_trusted_peer)
        """Whether it is the address of a trusted proxy."""
        self._forwarded = lru_cache(ADDRESSES_KEPT)(self._read)

    def unwrap(self, scope: asgi.Scope) -> None:
        """Write the client's address and scheme into the scope of one request."""
        peer = asgi.client_address(scope)
        if peer is None or not self.trusts(peer):
            return
        # A proxy may append a line of its own in place of an entry to the one that is there.
        lines = []
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                lines.append(value)
            elif name == b"x-forwarded-proto":
                scope["scheme"] = _SCHEMES.get((scope["type"], value.lower()), scope["scheme"])
        address = self._client(b",".join(lines)) if lines else None
        if address is not None:
            scope["client"] = (address, 0)

    def _client(self, entries: bytes) -> str | None:
        for entry in reversed(entries.split(b",")):
            text = entry.strip()
            if len(text) > _LONGEST:
                return None
            address, trusted = self._forwarded(text)
            if not trusted:
                return address
        return None

    def _read(self, entry: bytes) -> tuple[str | None, bool]:
        """The entry's address, in its one way of writing, and whether it is a trusted proxy's."""
        address = _parse(entry)
        return (None, False) if address is None else (str(address), self._trusts(address))

    def _is_trusted_peer(self, peer: str) -> bool:
        try:
            return self._trusts(_plain(ip_address(peer)))
        except ValueError:
            return False

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def _parse(entry: bytes) -> IPv4Address | IPv6Address | None:
    """The address of `192.0.2.1`, `192.0.2.1:5000`, `2001:db8::1` or `[2001:db8::1]:5000`."""
    text = entry.decode("latin-1")
    if text.startswith("["):
        text, closed, rest = text[1:].partition("]")
        port = "0" if closed and not rest else rest.removeprefix(":")
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
    else:
        port = "0"
    # A zone after % may be any text; and it means nothing on another machine.
    if "%" in text or not (port.isascii() and port.isdigit()):
        return None
    try:
        return _plain(ip_address(text))
    except ValueError:
        return None


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address as itself, also where a socket for both families shows it as IPv6."""
    return getattr(address, "ipv4_mapped", None) or address
