"""docker-compose.yml: what it asks of the images that it names, and of our own settings."""

import re
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from sensorflow import settings
from sensorflow.cli.serve import STOP_TIMEOUT
from sensorflow.web.edge import INGEST_PATH

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
PROGRAMS = Path(sys.executable).parent

# From the "Configuration summary" in docs/README.md of github.com/nginx-proxy/nginx-proxy, 1.11.6:
# what the proxy's own container takes,
OF_NGINX_PROXY = {"DEFAULT_HOST", "LOG_FORMAT", "TRUST_DOWNSTREAM_PROXY"}
# and what is read from the containers that it passes on to, as variables and as labels.
OF_PROXIED = {"VIRTUAL_HOST", "VIRTUAL_PORT", "HTTPS_METHOD"}
LABELS_OF_PROXIED = {"com.github.nginx-proxy.nginx-proxy.keepalive"}
# From the tables "Proxy-wide" and "Per-VIRTUAL_HOST configuration" there: where files belong;
# and from docs/Basic-usage.md of github.com/nginx-proxy/acme-companion, 2.8.2.
FILES_OF_NGINX_PROXY = {
    "/etc/nginx/conf.d/sensorflow.conf",
    "/etc/nginx/vhost.d/default",
    "/etc/nginx/certs",
    "/usr/share/nginx/html",
    "/tmp/docker.sock",
}
# From docs/Environment-variables-reference.md of acme-companion 2.8.2: its own container's,
OF_ACME_COMPANION = {"DEFAULT_EMAIL"}
# those of the containers that need a certificate,
OF_CERTIFIED = {"ACME_HOST", "ACME_EMAIL"}
# and from its docs/Getting-containers-IDs.md, how it finds nginx-proxy.
LABELS_OF_NGINX_PROXY = {"com.github.nginx-proxy.nginx"}
FILES_OF_ACME_COMPANION = {
    "/etc/nginx/certs",
    "/usr/share/nginx/html",
    "/etc/acme.sh",
    "/var/run/docker.sock",
}

ORIGINALS = """
API_KEY=SUA_CHAVE_DE_API_SECRETA_HTTP
API_KEY_WS=SUA_CHAVE_DE_API_SECRETA_WEBSOCKET
DATABASE_URL=postgresql://user:password@db:5432/sensordb
MAX_WS_CONNECTIONS_PER_KEY=5
DOMAIN=sensors.example.net
LETSENCRYPT_EMAIL=admin@example.net
"""
"""The original's `.env`, and what is added to it."""


def filled(text: str, variables: dict[str, str]) -> str:
    """The text as Compose fills it: `${NAME}`, `${NAME:-default}`, `${NAME:?complaint}`, `$$`."""

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        if variables.get(found["name"]):
            return variables[found["name"]]
        if found["sign"] == ":?":
            raise LookupError(found["name"])
        return found["rest"] or ""

    inner = r"\$\$|\$\{(?P<name>\w+)(?:(?P<sign>:[-?])(?P<rest>[^${}]*))?\}"
    while (replaced := re.sub(inner, value, text)) != text:
        text = replaced
    return text


def services(variables: dict[str, str] | None = None) -> dict[str, Any]:
    given = dict(line.split("=", 1) for line in ORIGINALS.split())
    found = yaml.safe_load(filled(FILE.read_text(), {**given, **(variables or {})}))
    services: dict[str, Any] = found["services"]
    return services


def targets(service: dict[str, Any]) -> set[str]:
    return {
        volume["target"] if isinstance(volume, dict) else volume.split(":")[1]
        for volume in service["volumes"]
    }


def test_it_follows_the_specification() -> None:
    done = subprocess.run(
        [PROGRAMS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", FILE],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_and_label_is_one_that_somebody_reads() -> None:
    found = services()
    ours = set(settings.fields())
    assert found["nginx-proxy"]["environment"].keys() == OF_NGINX_PROXY
    assert found["acme-companion"]["environment"].keys() == OF_ACME_COMPANION
    assert found["api"]["environment"].keys() - ours == OF_PROXIED | OF_CERTIFIED
    assert found["api"]["labels"].keys() == LABELS_OF_PROXIED
    assert found["nginx-proxy"]["labels"].keys() == LABELS_OF_NGINX_PROXY


def test_every_file_is_where_somebody_reads_it() -> None:
    found = services()
    included = {"/etc/nginx/sensorflow-devices.conf"}
    assert targets(found["nginx-proxy"]) == FILES_OF_NGINX_PROXY | included
    assert targets(found["acme-companion"]) == FILES_OF_ACME_COMPANION
    shared = (ROOT / "deploy/nginx-proxy/http.conf").read_text()
    assert all(f"include {path};" in shared for path in included)
    for volume in found["nginx-proxy"]["volumes"]:
        source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
        if source.startswith("./"):
            assert (ROOT / source).is_file()


def test_the_originals_settings_are_enough() -> None:
    found = services()
    api = found["api"]["environment"]
    assert api["DATABASE_URL"] == "postgresql://user:password@db:5432/sensordb"
    assert found["db"]["environment"] == {
        "POSTGRES_USER": "user",
        "POSTGRES_PASSWORD": "password",
        "POSTGRES_DB": "sensordb",
    }
    assert (api["VIRTUAL_HOST"], api["ACME_HOST"]) == ("sensors.example.net",) * 2
    assert (api["ACME_EMAIL"], api["WORKERS"]) == ("admin@example.net", 1)
    assert found["nginx-proxy"]["environment"]["DEFAULT_HOST"] == "sensors.example.net"


@pytest.mark.parametrize("name", ["DOMAIN", "LETSENCRYPT_EMAIL"])
def test_what_must_be_set_is_asked_for(name: str) -> None:
    with pytest.raises(LookupError, match=name):
        services({name: ""})


def test_only_its_own_network_is_trusted() -> None:
    text = FILE.read_text()
    networks = yaml.safe_load(filled(text, {"DOMAIN": "d", "LETSENCRYPT_EMAIL": "e"}))["networks"]
    assert list(networks) == ["default"]
    subnet = networks["default"]["ipam"]["config"][0]["subnet"]
    assert services()["api"]["environment"]["TRUSTED_PROXIES"] == subnet
    assert ip_network(subnet).prefixlen >= 24
    moved = services({"DOCKER_SUBNET": "10.9.8.0/24"})
    assert moved["api"]["environment"]["TRUSTED_PROXIES"] == "10.9.8.0/24"


def test_nobody_is_reached_but_through_nginx() -> None:
    found = services()
    assert found.keys() == {"db", "api", "nginx-proxy", "acme-companion"}
    assert found["nginx-proxy"]["ports"] == ["80:80", "443:443"]
    for name in ("db", "api", "acme-companion"):
        assert "ports" not in found[name]
        assert "network_mode" not in found[name]


def test_the_server_has_no_rights_and_time_to_stop() -> None:
    api = services()["api"]
    assert int(api["stop_grace_period"].removesuffix("s")) > STOP_TIMEOUT
    assert api["read_only"] is True
    assert api["cap_drop"] == ["ALL"]
    assert api["security_opt"] == ["no-new-privileges:true"]
    assert api["volumes"] == ["data:/data"]


def test_every_image_from_elsewhere_is_pinned() -> None:
    for service in services().values():
        if "build" not in service:
            assert re.search(r":[0-9][0-9.]*$", service["image"])


@pytest.mark.parametrize("value", ["on", "off"])
def test_the_switch_for_devices_chooses_a_file(value: str) -> None:
    volumes = services({"DEVICES_OVER_HTTP": value})["nginx-proxy"]["volumes"]
    [switch] = [volume for volume in volumes if isinstance(volume, dict)]
    assert switch["bind"] == {"create_host_path": False}
    text = (ROOT / switch["source"]).read_text()
    assert (INGEST_PATH.removeprefix("/") in text) == (value == "on")
