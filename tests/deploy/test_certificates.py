"""As docs/deployment.md has it: nginx, a certificate from an authority, our site, a renewal."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.deploy.acme import Authority
from tests.load import wait_until
from tests.nginx import (
    DOMAIN,
    Nginx,
    no_secret_in,
    request,
    running,
    status,
    substituted,
)
from tests.proxied import write_site
from tests.servers import INGEST_KEY, READ_KEY, Server, serving

SUBSCRIBERS = 200
PAUSE = 0.1
"""Seconds between two readings."""
LAST = "the sensor that ends the test"
SOURCE = "127.0.0.77"
DEBIAN_SITE = Path("/etc/nginx/sites-available/default")


def write_debian_site(nginx: Nginx) -> None:
    """What nginx serves when it has just been installed."""
    nginx.write(
        "sites-enabled/default.conf",
        substituted(
            DEBIAN_SITE.read_text(),
            {
                r"listen \[::\]:80 .*\n": "",
                r"^\tlisten 80 ": f"\tlisten 127.0.0.1:{nginx.http_port} ",
                r"^\troot /var/www/html;": f"\troot {nginx.webroot};",
            },
        ),
    )


class Site:
    def __init__(self, authority: Authority, nginx: Nginx, server: Server) -> None:
        self.authority = authority
        self.nginx = nginx
        self.server = server
        self.trust = authority.trust()

    def serial(self) -> object:
        """Of the certificate that is served; None where none is that we trust."""
        try:
            return self.nginx.certificate(self.trust)["serialNumber"]
        except (OSError, ssl.SSLError):
            return None

    def post(self, n: int, sensor_id: str = "kitchen") -> int:
        """Send a reading as a device does, with a forged address; returns its id."""
        body = {"temperature": n, "humidity": 50, "pressure": 1000, "sensor_id": sensor_id}
        response = self.nginx.exchange(
            request(
                "POST",
                f"/api/temperature_reading?api-key={INGEST_KEY}",
                {"X-Forwarded-For": "203.0.113.9"},
                json.dumps(body),
            ),
            self.trust,
            source=SOURCE,
        )
        assert status(response) == 201, response
        found: int = json.loads(response.partition(b"\r\n\r\n")[2])["id"]
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """From an nginx that was just installed to our site with a certificate."""
    folder = tmp_path_factory.mktemp("certificates")
    nginx = Nginx(folder / "nginx")
    write_debian_site(nginx)
    authority = Authority(folder / "authority", nginx.http_port)
    with (
        serving(folder / "server", TRUSTED_PROXIES="127.0.0.1") as server,
        authority.running(),
        running(nginx, serves_tls=False),
    ):
        authority.certbot(
            *("certonly", "--webroot", "-w", nginx.webroot, "-d", DOMAIN),
            *("--agree-tos", "-m", f"admin@{DOMAIN}", "--no-eff-email"),
            *("--deploy-hook", f"kill -HUP {nginx.pid}"),
        )
        (nginx.folder / "sites-enabled/default.conf").unlink()
        write_site(nginx, server.port, authority.live(DOMAIN), "off")
        nginx.check()
        nginx.reload()
        found = Site(authority, nginx, server)
        wait_until(lambda: found.serial() is not None)
        yield found


class Screen:
    """A subscriber, and the ids of what it has been shown since it was greeted."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.shown: list[int] = []

    async def watch(self) -> None:
        """Read up to the first reading of `LAST`; fails where the connection is cut before."""
        sensor = None
        while sensor != LAST:
            reading = json.loads(await self._connection.recv())
            assert reading["client_ip"] == SOURCE
            self.shown.append(reading["id"])
            sensor = reading["sensor_id"]


@asynccontextmanager
async def screens(site: Site) -> AsyncIterator[list[Screen]]:
    """All of them connected over TLS and greeted."""
    site.post(0)
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(SUBSCRIBERS):
            connection = await stack.enter_async_context(
                connect(
                    f"wss://{DOMAIN}/ws/sensor_updates?api-key={READ_KEY}",
                    host="127.0.0.1",
                    port=site.nginx.https_port,
                    ssl=site.trust,
                    proxy=None,
                    compression=None,
                )
            )
            await connection.recv()
            found.append(Screen(connection))
        yield found


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(30, marks=pytest.mark.deploy),
        pytest.param(300, marks=[pytest.mark.long, pytest.mark.timeout(500)]),
    ],
)
async def test_subscribers_stay_through_a_renewal_and_miss_nothing(
    site: Site, seconds: float
) -> None:
    before = site.serial()
    sent: list[int] = []

    async def send() -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            sent.append(await asyncio.to_thread(site.post, len(sent)))
            await asyncio.sleep(PAUSE)
        sent.append(await asyncio.to_thread(site.post, len(sent), LAST))

    async def renew() -> None:
        await asyncio.to_thread(
            site.authority.certbot, "renew", "--force-renewal", "--no-random-sleep-on-renew"
        )
        await asyncio.to_thread(wait_until, lambda: site.serial() not in (None, before))

    async with screens(site) as watching, asyncio.TaskGroup() as tasks:
        for screen in watching:
            tasks.create_task(screen.watch())
        tasks.create_task(send())
        tasks.create_task(renew())
    print(f"\n{SUBSCRIBERS} subscribers over TLS, {seconds} s: {len(sent)} readings each")
    assert len(sent) > seconds
    assert all(screen.shown == sent for screen in watching)
    no_secret_in(
        {
            **site.nginx.logs(),
            **site.authority.logs(),
            "ours": site.server.log.read_text(),
        },
        INGEST_KEY,
        READ_KEY,
    )
