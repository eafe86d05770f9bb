"""A certificate authority of the test's own: pebble, with its DNS; and certbot, which asks it."""

import json
import os
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.load import wait_until
from tests.ports import free_port
from tests.requirements import require


class Authority:
    """Serves ACME; its names all lead to 127.0.0.1, where it asks `http_port` for challenges."""

    def __init__(self, folder: Path, http_port: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._http_port = http_port
        self._port = free_port()
        self._management = free_port()
        self._dns = free_port()
        self.certificate = folder / "api.pem"
        """Of its own API, and who trusts it."""

    @contextmanager
    def running(self) -> Iterator["Authority"]:
        self._write()
        nowhere = ("-http01", "", "-https01", "", "-tlsalpn01", "")
        names = f"127.0.0.1:{self._dns}"
        management = f"127.0.0.1:{free_port()}"
        with ExitStack() as stack, (self.folder / "authority.log").open("ab") as output:
            commands: list[list[str | Path]] = [
                [
                    *(require("pebble-challtestsrv", "pebble"), "-dns01", names, *nowhere),
                    *("-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-management", management),
                ],
                [
                    *(require("pebble", "pebble"), "-config", self.folder / "config.json"),
                    *("-dnsserver", names),
                ],
            ]
            for command in commands:
                process = subprocess.Popen(
                    command,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"},
                )
                stack.callback(process.wait, 20)
                stack.callback(process.terminate)
            wait_until(self._answers)
            yield self

    def _write(self) -> None:
        key = self.folder / "api.key"
        made = subprocess.run(
            [
                *(require("openssl", "openssl"), "req", "-x509", "-nodes", "-days", "2"),
                *("-newkey", "rsa:2048", "-keyout", key, "-out", self.certificate),
                *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            ],
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        config = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(self.certificate),
            "privateKey": str(key),
            "httpPort": self._http_port,
            "tlsPort": free_port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }
        (self.folder / "config.json").write_text(json.dumps({"pebble": config}))

    def _answers(self) -> bool:
        try:
            self._get(self._port, "/dir")
            self._get(self._management, "/roots/0")
        except OSError:
            return False
        return True

    def _get(self, port: int, path: str) -> bytes:
        trust = ssl.create_default_context(cafile=str(self.certificate))
        with urllib.request.urlopen(f"https://127.0.0.1:{port}{path}", context=trust) as response:
            body: bytes = response.read()
            return body

    def trust(self) -> ssl.SSLContext:
        """Who trusts the certificates that it issues; no other is trusted."""
        return ssl.create_default_context(cadata=self.root())

    def root(self) -> str:
        return self._get(self._management, "/roots/0").decode()

    @property
    def directory(self) -> str:
        """Where it is asked."""
        return f"https://127.0.0.1:{self._port}/dir"

    def certbot(self, *arguments: str | Path) -> None:
        """Run certbot against this authority, with its files in a folder of this test."""
        ran = subprocess.run(
            [
                *(require("certbot", "certbot"), *arguments),
                *("--server", self.directory, "--non-interactive"),
                *("--config-dir", self.folder / "letsencrypt"),
                *("--work-dir", self.folder / "work", "--logs-dir", self.folder / "certbot-logs"),
            ],
            capture_output=True,
            text=True,
            env={**os.environ, "REQUESTS_CA_BUNDLE": str(self.certificate)},
            timeout=90,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr

    def live(self, domain: str) -> Path:
        """Where certbot keeps the domain's certificate."""
        return self.folder / "letsencrypt/live" / domain

    def logs(self) -> dict[str, str]:
        return {str(path): path.read_text() for path in self.folder.rglob("*.log*")}
