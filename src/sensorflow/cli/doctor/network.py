"""The port, and what answers there or at a URL."""

import base64
import http.client
import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from sensorflow.cli.doctor.findings import Finding, faulted, passed, warned
from sensorflow.cli.listening import listen
from sensorflow.errors import SettingsError
from sensorflow.settings import Settings
from sensorflow.web.edge import LIVE_PATH
from sensorflow.web.proxies import Network, Proxies

ANSWER_TIMEOUT: Final = 5.0
"""Seconds for each answer."""

FIRST_FRAME_TIMEOUT: Final = 1.0
"""Seconds for the close of a connection with a wrong key; without readings nothing comes."""

CLAIMED: Final = "192.0.2.1"
"""An address that nobody has (RFC 5737): what a device might claim that wants to be another."""

RENEW_DAYS: Final = 14
"""A certificate that is good for less was not renewed in time."""

_LOCAL: Final = ("127.0.0.1", "::1", "localhost")


def local_url(settings: Settings) -> str:
    """Where a server with these settings answers on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def check_port(settings: Settings, key: str | None) -> list[Finding]:
    """Whether the port is free for the server, or answered by it."""
    try:
        for listener in listen(settings.host, settings.port, 1):
            listener.close()
    except SettingsError as error:
        if str(error).startswith("HOST"):
            return [faulted("port", str(error), "Set HOST to an address of this machine.")]
        if "in use" not in str(error):
            return [faulted("port", str(error), "Or let the server's user have this one.")]
        url = local_url(settings)
        if not _is_ours(url):
            return [
                faulted(
                    "port",
                    f"{settings.port} is used by another program",
                    "Stop that one, or set another PORT.",
                )
            ]
        return [passed("port", f"our server answers at {url}"), *_readiness(url, key)]
    return [passed("port", f"{settings.port} is free; no server runs here")]


def check_url(url: str, key: str | None, trusted: Sequence[Network]) -> list[Finding]:
    """Whether the server is reached at `url`, by requests and by live connections.

    And whether it knows who asks, where a proxy stands in between; `trusted` are TRUSTED_PROXIES.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return [faulted("url", f"{url} is no address", "Write https://sensors.example.net.")]
    try:
        with _connected(parts) as connection:
            days = _days_left(connection)
            status, headers, body = _get(connection, parts, "/healthz")
    except (OSError, http.client.HTTPException) as error:
        return [
            faulted(
                "url",
                f"{parts.hostname} does not answer ({_told(error)})",
                "Look at the name, at the proxy, and at its certificate.",
            )
        ]
    if status != 200 or _parsed(body).get("status") != "ok":
        return [
            faulted(
                "url",
                f"{url} does not lead to our server (/healthz: {status})",
                "Look at what the proxy passes on, and where to.",
            )
        ]
    found = [passed("url", f"our server answers at {url}")]
    if days is not None and days < RENEW_DAYS:
        found = [
            warned("url", f"the certificate ends in {days} days", "Look at why it is not renewed.")
        ]
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        found.append(warned("url", "keys and readings go over the network in clear", "Use HTTPS."))
    return [*found, _proxy(parts, headers, key, trusted), _live(parts, key)]


def _proxy(
    parts: SplitResult, headers: dict[str, str], key: str | None, trusted: Sequence[Network]
) -> Finding:
    """Our server names neither itself nor a way: who does stands in between. Some do not."""
    name = headers.get("via") or headers.get("server")
    told = _told_client(parts, key) if key and trusted else None
    if told is not None:
        return judged(name, *told, Proxies(trusted))
    if name is None:
        return passed("proxy", "none is to be seen")
    if trusted:
        return passed("proxy", f"{name}; TRUSTED_PROXIES is set")
    return warned(
        "proxy",
        f"{name} stands before the server, and readings carry its address instead of the client's",
        "Set TRUSTED_PROXIES to the proxy's address.",
    )


def judged(name: str | None, client: str, own: str, proxies: Proxies) -> Finding:
    """What a proxy has made of a request from `own` that claimed to come from elsewhere."""
    # What comes by way of a trusted address is believed: it tells nothing of others' requests.
    from_inside = proxies.trusts(own) or (ip_address(own).is_loopback and proxies.trusts(client))
    if not from_inside and client == CLAIMED:
        return faulted(
            "proxy",
            f"{name or 'a proxy'} passes on the X-Forwarded-For that a client sends, so anybody "
            "can have readings carry any address",
            "Have it set X-Forwarded-For to the address of the client.",
        )
    if not from_inside and client != own and proxies.trusts(client):
        return warned(
            "proxy",
            f"{name or 'a proxy'} does not tell who asks, and readings carry {client}, which is "
            "a proxy's address",
            "Have it set X-Forwarded-For to the address of the client.",
        )
    if name is None:
        return passed("proxy", "none is to be seen")
    if from_inside:
        return passed("proxy", f"{name}; whether it tells who asks is seen from other machines")
    return passed("proxy", f"{name}; the server sees that {client} asks")


def _told_client(parts: SplitResult, key: str) -> tuple[str, str] | None:
    """The address under which the server knows this machine, and the one it has here.

    None where the server does not say. The request claims to come from elsewhere.
    """
    try:
        with _connected(parts) as connection:
            own: str = connection.sock.getsockname()[0]
            more = {"X-Forwarded-For": CLAIMED}
            _, _, body = _get(connection, parts, "/readyz", key, more)
    except (OSError, http.client.HTTPException):
        return None
    client = _parsed(body).get("client_ip")
    return None if client is None else (str(client), own)


def _live(parts: SplitResult, key: str | None) -> Finding:
    """A WebSocket handshake, as a screen does it. The key goes where no proxy logs it."""
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **({"X-API-Key": key} if key else {}),
    }
    try:
        with _connected(parts) as connection:
            connection.request("GET", parts.path.rstrip("/") + LIVE_PATH, headers=headers)
            sock = connection.sock
            response = connection.getresponse()
            if response.status != 101:
                return faulted(
                    "live stream",
                    f"the WebSocket handshake was answered with {response.status}",
                    "Have the proxy pass on Upgrade and Connection.",
                )
            if key is None:
                return passed("live stream", "WebSockets get through; no key to try it with")
            sock.settimeout(FIRST_FRAME_TIMEOUT)
            try:
                # By the rules of HTTP it has no content, so `read` would return nothing.
                first = response.fp.read1(256)
            except TimeoutError:
                first = b""
    except (OSError, http.client.HTTPException) as error:
        return faulted("live stream", f"it breaks ({_told(error)})", "Look at the proxy's log.")
    if first[:1] == b"\x88":
        return faulted(
            "live stream",
            f"it was closed: {first[4:].decode(errors='replace')}",
            "Give the server's API_KEY_WS with --api-key-ws.",
        )
    return passed("live stream", "WebSockets get through")


def _readiness(url: str, key: str | None) -> list[Finding]:
    parts = urlsplit(url)
    try:
        with _connected(parts) as connection:
            status, _, body = _get(connection, parts, "/readyz", key)
            if key and status in (401, 403):
                found = warned(
                    "ready",
                    "the running server does not take the API_KEY_WS of these settings",
                    "Restart it, if the key has changed since its start.",
                )
                return [found]
    except (OSError, http.client.HTTPException) as error:
        return [faulted("ready", f"no answer ({_told(error)})", "Look at the server's log.")]
    state = _parsed(body).get("status")
    if state == "ok":
        return [passed("ready", "readings are stored")]
    if state == "spooling":
        return [warned("ready", "readings go to the spool", "See the database's line, or the log.")]
    return [faulted("ready", "readings are refused", "Look at the disk, and at the server's log.")]


def _is_ours(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with _connected(parts) as connection:
            status, headers, body = _get(connection, parts, "/healthz")
    except (OSError, http.client.HTTPException):
        return False
    return status == 200 and _parsed(body) == {"status": "ok"} and "server" not in headers


@contextmanager
def _connected(parts: SplitResult) -> Iterator[http.client.HTTPConnection]:
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=ANSWER_TIMEOUT)
    with closing(connection):
        connection.connect()
        yield connection


def _get(
    connection: http.client.HTTPConnection,
    parts: SplitResult,
    path: str,
    key: str | None = None,
    more: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    headers = {**({"X-API-Key": key} if key else {}), **(more or {})}
    connection.request("GET", parts.path.rstrip("/") + path, headers=headers)
    response = connection.getresponse()
    body = response.read(65_536)
    return response.status, {name.lower(): value for name, value in response.getheaders()}, body


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _days_left(connection: http.client.HTTPConnection) -> int | None:
    """How long the certificate is good for."""
    if not isinstance(connection.sock, ssl.SSLSocket):
        return None
    certificate = connection.sock.getpeercert() or {}
    end = str(certificate["notAfter"])
    return int((ssl.cert_time_to_seconds(end) - time.time()) / 86_400)


def _told(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_TIMEOUT:.0f} s"
    return str(error) or type(error).__name__
