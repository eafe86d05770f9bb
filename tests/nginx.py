"""A real nginx, with configuration files of ours, for a test; ended by its id."""

import os
import re
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.load import wait_until
from tests.ports import free_port
from tests.requirements import require

ROOT = Path(__file__).parents[1]
DOMAIN = "sensors.example.net"

MAIN = """
daemon off;
{user}
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 4096; }}
http {{
    include /etc/nginx/mime.types;
    access_log {folder}/other-access.log;
    client_body_temp_path {folder}/tmp-body;
    proxy_temp_path {folder}/tmp-proxy;
    fastcgi_temp_path {folder}/tmp-fastcgi;
    uwsgi_temp_path {folder}/tmp-uwsgi;
    scgi_temp_path {folder}/tmp-scgi;
    include {folder}/sites-enabled/*.conf;
}}
"""
"""As Debian's, but in a folder of the test's. Errors that our site does not keep would be here."""


class Nginx:
    """One nginx whose whole configuration is in `folder`, beside its logs."""

    def __init__(self, folder: Path) -> None:
        self._program = require("nginx", "nginx-light")
        self.folder = folder
        self.http_port = free_port()
        self.https_port = free_port()
        self.webroot = folder / "webroot"
        self.webroot.mkdir(parents=True)
        user = "user root;" if os.geteuid() == 0 else ""  # pytest's folders are its owner's alone
        self.write("nginx.conf", MAIN.format(folder=folder, user=user))
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def check(self) -> str:
        """What `nginx -t` says; it must be content."""
        tested = subprocess.run(
            [self._program, "-t", "-c", self.folder / "nginx.conf"], capture_output=True, text=True
        )
        assert tested.returncode == 0, tested.stderr
        return tested.stderr

    def start(self, *, serves_tls: bool) -> None:
        with (self.folder / "stderr.log").open("ab") as output:
            self._process = subprocess.Popen(
                [self._program, "-c", self.folder / "nginx.conf"], stdout=output, stderr=output
            )
        ports = [self.http_port, self.https_port] if serves_tls else [self.http_port]
        wait_until(lambda: self._listens(ports))

    def _listens(self, ports: Iterable[int]) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "stderr.log").read_text()
        for port in ports:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return False
        return True

    def reload(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def logs(self) -> dict[str, str]:
        """All that it has written, by file."""
        return {
            str(path.relative_to(self.folder)): path.read_text(errors="replace")
            for path in self.folder.rglob("*.log")
        }

    def exchange(
        self, request: bytes, tls: ssl.SSLContext | None = None, source: str = "127.0.0.1"
    ) -> bytes:
        """Send bytes over a new connection, encrypted or not; return the one response to them."""
        port = self.http_port if tls is None else self.https_port
        with socket.create_connection(("127.0.0.1", port), 20, (source, 0)) as plain:
            if tls is None:
                plain.sendall(request)
                return _read_response(plain)
            with tls.wrap_socket(plain, server_hostname=DOMAIN) as connection:
                connection.sendall(request)
                return _read_response(connection)

    def certificate(self, tls: ssl.SSLContext) -> dict[str, Any]:
        """The certificate that is served, as `tls` trusts it."""
        with (
            socket.create_connection(("127.0.0.1", self.https_port), 20) as plain,
            tls.wrap_socket(plain, server_hostname=DOMAIN) as connection,
        ):
            return dict(connection.getpeercert() or {})

    def agreed(self, tls: ssl.SSLContext) -> tuple[str | None, str | None]:
        """Protocol and TLS version that come out of a handshake."""
        with (
            socket.create_connection(("127.0.0.1", self.https_port), 20) as plain,
            tls.wrap_socket(plain, server_hostname=DOMAIN) as connection,
        ):
            return connection.selected_alpn_protocol(), connection.version()


def _read_response(connection: socket.socket) -> bytes:
    """Up to its end, for which nginx may wait longer than it takes to come."""
    response = b""
    while part := connection.recv(65_536):
        response += part
        head, found, body = response.partition(b"\r\n\r\n")
        if found and len(body) >= int(fields(head).get("content-length", "1000000000")):
            break
    return response


def substituted(text: str, replacements: Mapping[str, str]) -> str:
    """The text with each pattern replaced; every one of them must be there."""
    for pattern, replacement in replacements.items():
        text, found = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert found, pattern
    return text


def self_signed(folder: Path) -> ssl.SSLContext:
    """Make a certificate as certbot names its files; returns who trusts it."""
    folder.mkdir(parents=True)
    made = subprocess.run(
        [
            *(require("openssl", "openssl"), "req", "-x509", "-nodes", "-days", "2"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"),
            *("-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName=DNS:{DOMAIN}"),
        ],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    return ssl.create_default_context(cafile=str(folder / "fullchain.pem"))


@contextmanager
def running(nginx: Nginx, *, serves_tls: bool = True) -> Iterator[Nginx]:
    nginx.check()
    try:
        nginx.start(serves_tls=serves_tls)
        yield nginx
    finally:
        nginx.stop()


def request(
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: str = "",
    host: str = DOMAIN,
) -> bytes:
    fields = {"Host": host, "Connection": "close", **(headers or {})}
    if body:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", body]).encode()


def status(response: bytes) -> int:
    assert response.startswith(b"HTTP/1.1 "), response[:200]
    return int(response[9:12])


def fields(response: bytes) -> dict[str, str]:
    """The response's headers, by name in small letters."""
    head = response.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head)
    }


def no_secret_in(texts: Mapping[str, str], *secrets: str) -> None:
    for name, text in texts.items():
        for secret in secrets:
            if secret in text:
                line = next(line for line in text.splitlines() if secret in line)
                pytest.fail(f"{name}: {line}")
