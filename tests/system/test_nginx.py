"""The real program behind a real nginx with our files: both ways pass the same tests."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from sensorflow.web.http import MAX_MESSAGE
from tests.devices import PICO_REQUEST
from tests.nginx import DOMAIN, fields, no_secret_in, request, status
from tests.proxied import KINDS, Site, site
from tests.servers import INGEST_KEY, READ_KEY

BODY = '{"temperature": 1, "humidity": 2, "pressure": 3, "sensor_id": "kitchen"}'
KEY = {"X-API-Key": INGEST_KEY}
INGEST = "/api/temperature_reading"
GLUED = ["?api-key=", "%3Fapi-key=", "&api-key=", ";api-key=", "%0aapi-key="]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Our site file for nginx, or our files for nginx-proxy."""
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def shared(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for the tests that leave it as it is."""
    with site(tmp_path_factory.mktemp("site"), kind) as found:
        yield found


@pytest.fixture(scope="module")
def with_devices(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same with the switch for devices without TLS."""
    with site(tmp_path_factory.mktemp("site"), kind, devices="on") as found:
        yield found


def receipt(response: bytes) -> dict[str, Any]:
    assert status(response) == 201, response
    found: dict[str, Any] = json.loads(response.partition(b"\r\n\r\n")[2])
    return found


async def test_a_reading_goes_in_and_comes_out_over_tls(shared: Site) -> None:
    async with shared.watch() as screen:
        sent = receipt(shared.send("POST", INGEST, KEY, BODY))
        while (seen := json.loads(await screen.recv()))["id"] != sent["id"]:
            pass
    assert seen == {name: value for name, value in sent.items() if name != "status"}


def test_the_site_is_valid_and_gives_no_warning(shared: Site) -> None:
    assert "warn" not in shared.nginx.check()


def test_browsers_are_told_to_stay_with_tls(shared: Site) -> None:
    for path in ("/healthz", "/nowhere"):
        assert fields(shared.send("GET", path))["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in fields(shared.send_plain("GET", "/healthz"))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_http_2_is_spoken_and_nothing_older_than_tls_1_2(shared: Site) -> None:
    tls = ssl.create_default_context(
        cafile=str(shared.nginx.folder.parent / "certificates/fullchain.pem")
    )
    tls.set_alpn_protocols(["h2", "http/1.1"])
    assert shared.nginx.agreed(tls) == ("h2", "TLSv1.3")
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shared.nginx.agreed(tls) == ("h2", "TLSv1.2")
    tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_1
    tls.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        shared.nginx.agreed(tls)


def test_the_client_is_known_and_cannot_say_it_is_another(shared: Site) -> None:
    forged = {**KEY, "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    from_elsewhere = shared.nginx.exchange(
        request("POST", INGEST, KEY, BODY), shared.tls, source="127.0.0.77"
    )
    assert receipt(from_elsewhere)["client_ip"] == "127.0.0.77"
    from_elsewhere = shared.nginx.exchange(
        request("POST", INGEST, forged, BODY), shared.tls, source="127.0.0.77"
    )
    assert receipt(from_elsewhere)["client_ip"] == "127.0.0.77"


async def test_a_session_over_tls_is_secure(shared: Site) -> None:
    response = shared.send("POST", "/api/session", {"X-API-Key": READ_KEY})
    assert status(response) == 204
    cookie = fields(response)["set-cookie"]
    assert "secure" in cookie.lower().split("; ")
    session = {"Cookie": cookie.partition(";")[0]}
    assert status(shared.send("GET", "/api/session", session)) == 204
    async with shared.watch("", origin=f"https://{DOMAIN}", additional_headers=session) as screen:
        receipt(shared.send("POST", INGEST, KEY, BODY))
        assert json.loads(await screen.recv())["sensor_id"] == "kitchen"


def test_nginx_takes_what_the_server_takes_and_no_more(shared: Site) -> None:
    assert status(shared.send("POST", INGEST, KEY, BODY + " " * 70_000)) == 413
    assert b"application/problem+json" in shared.send("POST", INGEST, KEY, BODY + " " * 70_000)
    at_most = {**KEY, "Content-Length": str(MAX_MESSAGE)}
    announced = request("POST", INGEST, {**at_most, "Expect": "100-continue"})
    assert b"application/problem+json" in shared.nginx.exchange(
        announced + b" " * MAX_MESSAGE, shared.tls
    )
    beyond = shared.send("POST", INGEST, {**KEY, "Content-Length": str(MAX_MESSAGE + 1)})
    assert (status(beyond), b"problem+json" in beyond) == (413, False)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("host", [DOMAIN, "192.168.1.100"])
@pytest.mark.parametrize("path", ["/", "/docs?x=1", "/ws/sensor_updates", "/api/session"])
def test_port_80_leads_to_tls(
    shared: Site, with_devices: Site, method: str, host: str, path: str
) -> None:
    for one in (shared, with_devices):
        response = one.send_plain(method, path, host=host)
        assert status(response) == 308
        assert fields(response)["location"] == f"https://{DOMAIN}{path}"


def test_a_device_without_tls_is_refused(shared: Site) -> None:
    before = shared.server.rows()
    response = shared.nginx.exchange(PICO_REQUEST)
    assert status(response) == 308
    assert shared.server.rows() == before


def test_a_device_without_tls_is_let_in_by_the_switch(with_devices: Site) -> None:
    response = with_devices.nginx.exchange(PICO_REQUEST, source="127.0.0.77")
    assert receipt(response)["client_ip"] == "127.0.0.77"
    assert fields(response)["connection"] == "close"
    assert len(response) <= 1023  # all that the firmware reads
    forged = request("POST", INGEST, {**KEY, "X-Forwarded-For": "203.0.113.9"}, BODY)
    assert receipt(with_devices.nginx.exchange(forged))["client_ip"] == "127.0.0.1"


@pytest.mark.parametrize("path", ["/api/readings", "/write", "/api/v2/write"])
def test_the_other_ingest_routes_are_let_in_too(with_devices: Site, path: str) -> None:
    assert "location" not in fields(with_devices.send_plain("POST", path, KEY, BODY))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", INGEST),
        ("PUT", INGEST),
        ("POST", INGEST + "/"),
        ("POST", INGEST + "/../session"),
        ("POST", "/x" + INGEST),
        ("POST", "/api/session?/api/readings"),
        ("POST", "//api/session"),
        ("GET", f"/ws/sensor_updates?api-key={READ_KEY}"),
    ],
)
def test_the_switch_lets_in_nothing_else(with_devices: Site, method: str, path: str) -> None:
    assert status(with_devices.send_plain(method, path, KEY)) == 308


def test_a_challenge_of_the_certificate_authority_is_answered(shared: Site) -> None:
    folder = shared.nginx.webroot / ".well-known/acme-challenge"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text("the answer")
    response = shared.send_plain("GET", "/.well-known/acme-challenge/token", host="192.0.2.1")
    assert response.endswith(b"the answer")


async def test_no_key_is_in_any_log_whatever_goes_wrong(kind: str, tmp_path: Path) -> None:
    with site(tmp_path, kind, devices="on") as found:
        nginx = found.nginx

        def try_everything() -> None:
            for glued in GLUED:
                for key in (INGEST_KEY, READ_KEY):
                    for path in (INGEST, "/ws/sensor_updates", "/nowhere", "/metrics"):
                        address = path + glued + key
                        found.send("POST", address, body=BODY)
                        found.send_plain("POST", address, body=BODY)
                        found.send("GET", address, {"Upgrade": "websocket"})
            for key in (INGEST_KEY, READ_KEY):
                too_large = {"Content-Length": str(MAX_MESSAGE + 1)}
                for method, path in [("POST", INGEST), ("GET", "/.well-known/acme-challenge/x")]:
                    address = f"{path}?api-key={key}"
                    found.send(method, address, too_large)
                    found.send_plain(method, address, too_large)
                    found.send(method, address, {"Referer": f"https://{DOMAIN}{address}"})
                    nginx.exchange(f"{method} {address} HTTP/9.9\r\n\r\n".encode(), found.tls)
                    nginx.exchange(f"{method} {address}\r\nHost: a\r\nx\r\n\r\n".encode())
                    nginx.exchange(request(method, address), None)
                    found.send(method, address, {"Host": "a b"})

        try_everything()
        async with found.watch() as screen:
            json.loads(await screen.recv())  # the newest reading
            found.server.kill()  # an answer that breaks off
            with pytest.raises(ConnectionClosed):
                await screen.recv()
        try_everything()
        refused = found.send("POST", f"{INGEST}?api-key={INGEST_KEY}", body=BODY)
        assert status(refused) == 502
        nginx.stop()
        logs = {**nginx.logs(), "ours": found.server.log.read_text()}
        # What an operator needs to know of it is there.
        line = f'"POST {INGEST} HTTP/1.1" 502 '
        wanted = [text for text in logs["sensorflow.log"].splitlines() if line in text]
        assert f"server: 127.0.0.1:{found.server.port} 502" in wanted[-1]
        no_secret_in(logs, INGEST_KEY, READ_KEY)


def test_a_server_that_comes_back_is_found_at_once(kind: str, tmp_path: Path) -> None:
    with site(tmp_path, kind) as found:
        receipt(found.send("POST", INGEST, KEY, BODY))
        found.server.terminate()
        assert status(found.send("POST", INGEST, KEY, BODY)) == 502
        found.server.start()
        receipt(found.send("POST", INGEST, KEY, BODY))


def test_connections_to_the_server_are_kept(shared: Site) -> None:
    def to_the_server() -> set[object]:
        return {
            connection.laddr
            for connection in psutil.net_connections("tcp")
            if shared.server.port in connection.raddr
            and connection.status == psutil.CONN_ESTABLISHED
        }

    for _ in range(20):
        receipt(shared.send("POST", INGEST, KEY, BODY))
    kept = to_the_server()
    for _ in range(20):
        receipt(shared.send("POST", INGEST, KEY, BODY))
    # Each of nginx's two processes has its own; none is made anew once both have one.
    assert len(kept) >= 1
    assert kept <= to_the_server()
    assert len(to_the_server()) <= 2
