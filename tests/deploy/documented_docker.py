"""Runs what docs/deployment.md says about Docker, line by line, where no Docker is.

`MACHINE FOLDER` starts it: a network of its own, where all ports are free, processes that end with
it, and a copy of the project that is lost afterwards. podman stands for Docker, podman-compose for
Compose; who builds has the network of the machine, kept as `FOLDER/outside`. The images that the
files name are in the storage of the engine already: see `images.py`.
"""

import json
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from tests import original
from tests.deploy.documented import blocks
from tests.deploy.images import PYTHON
from tests.grafana import View, shortest, sql_of
from tests.nginx import DOMAIN, ROOT

MACHINE = (
    "unshare",
    "--mount",
    "sh",
    "-euc",
    'touch "$0/outside"; mount --bind /proc/self/ns/net "$0/outside";'
    " exec unshare --net --pid --fork --mount-proc --kill-child"
    f' {sys.executable} -m tests.deploy.documented_docker "$0"',
)

SHIMS = {
    "sudo": '#!/bin/sh\nexec "$@"\n',
    "podman": """#!/bin/sh
case "$1" in build) exec nsenter --net=$OUTSIDE /usr/bin/podman "$@" ;; esac
exec /usr/bin/podman "$@"
""",
    "docker": f"""#!/bin/sh
case "$1" in compose) shift; exec {Path(sys.executable).parent}/podman-compose "$@" ;; esac
exec podman "$@"
""",
}
PLAIN = "http://127.0.0.1:8000"
TLS = f"https://{DOMAIN}"
BODY = {
    "temperature": 25.5,
    "humidity": 60.2,
    "pressure": 1012.5,
    "flow": 1.5,
    "sensor_id": "sensor-01",
}
PATIENCE = 120.0
GATEWAY, OUTSIDE = "198.51.100.1", "198.51.100.2"
"""This machine and a device, in a network between the two."""


def run(*command: str | Path) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def make_the_machine(folder: Path) -> None:
    """With the project in the working folder, where files may be written."""
    os.environ["OUTSIDE"] = str(folder / "outside")
    folder /= "machine"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "tmpfs", folder)
    run("ip", "link", "set", "lo", "up")
    project = folder / "project"
    # Docker's socket is mounted by what stands for nginx-proxy and acme-companion.
    for lower, place in ((ROOT, project), (Path("/run"), Path("/run"))):
        upper, work = folder / "upper" / place.name, folder / "work" / place.name
        for path in (upper, work, place):
            path.mkdir(parents=True, exist_ok=True)
        layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, place)
    run("mount", "-t", "tmpfs", "tmpfs", "/srv")
    Path("/run/docker.sock").touch()
    programs = folder / "bin"
    programs.mkdir()
    for name, text in SHIMS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    os.environ["PATH"] = f"{programs}:{os.environ['PATH']}"
    (project / ".env").write_text("")
    os.chdir(project)


def follow(block: str) -> str:
    """Run one block; what it printed."""
    said = run("bash", "-euxo", "pipefail", "-c", block)
    print(said, flush=True)
    return said


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, run("podman", "ps", "--all")
        time.sleep(0.1)


def is_ready(base: str, trusted: ssl.SSLContext | None = None) -> bool:
    try:
        with urllib.request.urlopen(f"{base}/readyz", timeout=5, context=trusted) as answer:
            return bool(json.load(answer) == {"status": "ok"})
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def post(base: str, key: str, trusted: ssl.SSLContext | None = None) -> int:
    """The new reading's id."""
    request = urllib.request.Request(
        f"{base}/api/temperature_reading",
        json.dumps(BODY).encode(),
        {"X-API-Key": key, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:
        assert answer.status == 201
        return int(json.load(answer)["id"])


def ingest_key(log: str) -> str:
    """The key that the log shows once."""
    found = re.search(r"^.*API_KEY +(sf_[\w-]{40,})", log, re.MULTILINE)
    assert found is not None, log
    return found[1]


def forget() -> None:
    """Remove all containers and what they have stored: everything here is the engine's own."""
    run("podman", "rm", "--all", "--force", "--time=1")
    run("podman", "volume", "rm", "--all", "--force")
    run("podman", "network", "prune", "--force")


def docker() -> None:
    first, volume, folder, upgrade, hardened = blocks("Docker")

    def served(block: str) -> str:
        follow(block)
        eventually(lambda: is_ready(PLAIN))
        return follow("docker logs sensorflow-app 2>&1")

    ingest_key(served(first))
    key = ingest_key(served(volume))
    assert post(PLAIN, key) == 1
    assert post(PLAIN, ingest_key(served(folder))) == 1
    assert Path("/srv/sensorflow/sensorflow.db").stat().st_uid == 10001
    # The volume's keys and readings, again.
    assert "sf_" not in served(upgrade)
    assert post(PLAIN, key) == 2
    assert "sf_" not in served(hardened)
    assert post(PLAIN, key) == 3
    assert "TIMEZONE" in follow("docker exec sensorflow-app sensorflow config")
    follow("docker kill --signal=HUP sensorflow-app")
    eventually(lambda: "SIGHUP" in follow("docker logs sensorflow-app 2>&1"))


def readings(options: str = "") -> int:
    """How many are in the database, asked as Grafana's role is made."""
    count = "psql -U user sensordb --tuples-only --command='SELECT count(*) FROM readings'"
    return int(follow(f"docker compose {options} exec -T db {count}"))


def lan() -> None:
    options = "-f docker-compose.lan.yml"
    start, upgrade = blocks("Docker Compose on a LAN")
    key = ingest_key(follow(start + "\n" + wait_for_the_greeting(options)))
    eventually(lambda: is_ready(PLAIN))
    post(PLAIN, key)
    assert readings(options) == 1
    follow(upgrade)
    eventually(lambda: is_ready(PLAIN))
    post(PLAIN, key)
    assert readings(options) == 2
    follow(f"docker compose {options} down --volumes")


def wait_for_the_greeting(options: str = "") -> str:
    logs = f"docker compose {options} logs api 2>&1"
    return f"timeout 120 sh -c 'until {logs} | grep -q sf_; do sleep 1; done'; {logs}"


def https() -> None:
    lines, start, logs = blocks("HTTPS with Docker Compose")
    with Path("/etc/hosts").open() as hosts:
        named = Path.cwd().parent / "hosts"
        named.write_text(f"{hosts.read()}\n127.0.0.1 {DOMAIN}\n")
    run("mount", "--bind", named, "/etc/hosts")
    Path(".env").write_text(lines)
    follow(start)
    key = ingest_key(follow(wait_for_the_greeting() + "\n" + logs))
    trusted = certificate()
    eventually(lambda: is_ready(TLS, trusted))
    post(TLS, key, trusted)
    assert over_http(key) in (301, 308, 403)
    assert readings() == 1
    follow("docker compose down --volumes")
    as_the_original(lines + "DEVICES_OVER_HTTP=on\n", start)


def over_http(key: str) -> int:
    """The status that a device without TLS gets."""
    connection = HTTPConnection(DOMAIN, 80, timeout=30)
    with closing(connection):
        headers = {"X-API-Key": key, "Content-Type": "application/json"}
        connection.request("POST", "/api/temperature_reading", json.dumps(BODY), headers)
        return connection.getresponse().status


def from_outside(key: str) -> str:
    """What a device without TLS gets that has an address of its own; it claims to be another."""
    for words in (
        "netns add device",
        "link add here type veth peer name there netns device",
        f"address add {GATEWAY}/24 dev here",
        "link set here up",
        f"-netns device address add {OUTSIDE}/24 dev there",
        "-netns device link set there up",
    ):
        run("ip", *words.split())
    return run(
        *("ip", "netns", "exec", "device", "curl", "--silent", "--show-error"),
        *("--header", f"Host: {DOMAIN}", "--header", f"X-API-Key: {key}"),
        *("--header", "Content-Type: application/json"),
        *("--header", "X-Forwarded-For: 192.0.2.99", "--data", json.dumps(BODY)),
        f"http://{GATEWAY}/api/temperature_reading",
    )


def certificate() -> ssl.SSLContext:
    """What trusts the one that stands for Let's Encrypt's."""
    show = ("podman", "run", "--rm", "--volume=sensorflow_certs:/certs:ro", "--entrypoint=cat")
    file = Path.cwd().parent / "certificate.pem"
    file.write_text(run(*show, PYTHON, f"/certs/{DOMAIN}/fullchain.pem"))
    return ssl.create_default_context(cafile=str(file))


def as_the_original(lines: str, start: str) -> None:
    """With its `.env`, to which the lines are added: a device, and a screen that sees it."""
    Path(".env").write_text(original.ENV + lines)
    follow(start)
    trusted = certificate()
    eventually(lambda: is_ready(TLS, trusted))
    url = f"wss://{DOMAIN}/ws/sensor_updates?api-key={original.KEY_WS}"
    with connect(url, ssl=trusted, open_timeout=30) as screen:
        number = post(TLS, original.KEY, trusted)
        frame = json.loads(screen.recv(timeout=30))
    assert (frame["id"], frame["temperature"]) == (number, BODY["temperature"])
    # Who sent it, and neither the proxy, which is trusted to tell, nor whom the device names.
    assert json.loads(from_outside(original.KEY))["client_ip"] == OUTSIDE
    assert readings() == 2
    watched()
    said = follow("docker compose --profile prometheus --profile grafana logs 2>&1")
    assert "PostgreSQL at db:5432/sensordb" in said
    assert original.KEY not in said
    assert original.KEY_WS not in said
    (password,) = re.findall("^GRAFANA_DB_PASSWORD=(.+)$", Path(".env").read_text(), re.MULTILINE)
    assert password not in said
    follow("docker compose --profile prometheus --profile grafana down --volumes")


def watched() -> None:
    """By Prometheus and Grafana, beside what is running already; `.env` has the read key."""
    # Of secrets podman-compose knows files only.
    services = Path("deploy/compose/monitoring.yml")
    text = services.read_text()
    assert text.count("environment: API_KEY_WS") == 1
    services.write_text(text.replace("environment: API_KEY_WS", "file: ./read_key"))
    Path("read_key").write_text(original.KEY_WS)
    follow(blocks("Watching it")[1])
    eventually(lambda: all(rows_of(panel) for panel in panels()))
    eventually(lambda: '"1"]' in asked("http://127.0.0.1:9090/api/v1/query?query=up"))
    alerts = json.loads(asked("http://127.0.0.1:9090/api/v1/rules"))["data"]["groups"][0]["rules"]
    assert len(alerts) == 10


def panels() -> list[dict[str, Any]]:
    """Of all dashboards that Grafana has; none while it is not there."""
    dashboards = json.loads(asked("http://127.0.0.1:3000/") or "[]")
    return [panel for dashboard in dashboards for panel in dashboard["panels"]] or [{}]


def rows_of(panel: dict[str, Any]) -> list[Any]:
    """What Grafana gets from the database for a panel of the last hour."""
    if not panel:
        return []
    now = datetime.now(UTC)
    interval = max(shortest(panel), timedelta(seconds=30))
    view = View(now - timedelta(hours=1), now, interval, "sensor-01", "flow")
    sql = view.expand(sql_of(panel)).encode()
    rows: list[Any] = json.loads(asked("http://127.0.0.1:3000/", sql) or "[]")
    return rows


def asked(url: str, body: bytes | None = None) -> str:
    """What is answered; nothing while there is no answer but an error."""
    try:
        with urllib.request.urlopen(url, body, timeout=30) as answer:
            told: str = answer.read().decode()
            return told
    except (OSError, HTTPException):
        return ""


def main() -> None:
    make_the_machine(Path(sys.argv[1]))
    for part in (docker, lan, https):
        forget()
        part()
    forget()


if __name__ == "__main__":
    main()
