"""The commands of docs/deployment.md, run one after the other on a machine made for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.containers import Engine
from tests.deploy.documented_docker import MACHINE
from tests.deploy.images import Images
from tests.deploy.watchers import make_watchers
from tests.nginx import DOMAIN, ROOT
from tests.requirements import require


@pytest.mark.deploy
def test_what_the_page_says_of_systemd_nginx_and_prometheus_leads_to_https_and_is_watched() -> None:
    for program, package in [
        ("nginx", "nginx-light"),
        ("certbot", "certbot"),
        ("pebble", "pebble"),
        ("systemd-analyze", "systemd"),
        ("curl", "curl"),
        ("ip", "iproute2"),
        ("openssl", "openssl"),
        ("prometheus", "prometheus"),
    ]:
        require(program, package)
    namespaces = ["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
    done = subprocess.run(
        ["unshare", *namespaces, sys.executable, "-m", "tests.deploy.documented"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"--retry-connrefused https://{DOMAIN}/readyz" in done.stderr
    assert '{"status":"ok"}' in done.stdout
    assert "all simulated renewals succeeded" in done.stdout + done.stderr


@pytest.mark.deploy
@pytest.mark.timeout(1500)
def test_what_the_page_says_of_docker_leads_to_servers_that_store(
    engine: Engine, images: Images, tmp_path: Path
) -> None:
    require("ip", "iproute2")
    assert images.server
    assert images.postgres
    assert images.proxy
    make_watchers(engine, images)
    done = subprocess.run(
        [*MACHINE, tmp_path],
        cwd=ROOT,
        env=engine.environment,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
