"""The commands of docs/deployment.md, run one after the other on a machine made for it."""

import subprocess
import sys

import pytest

from tests.nginx import DOMAIN, ROOT
from tests.requirements import require


@pytest.mark.deploy
def test_what_the_page_says_of_systemd_and_nginx_leads_to_https() -> None:
    for program, package in [
        ("nginx", "nginx-light"),
        ("certbot", "certbot"),
        ("pebble", "pebble"),
        ("systemd-analyze", "systemd"),
        ("curl", "curl"),
        ("ip", "iproute2"),
        ("openssl", "openssl"),
    ]:
        require(program, package)
    namespaces = ["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
    done = subprocess.run(
        ["unshare", *namespaces, sys.executable, "-m", "tests.deploy.documented"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"--retry-connrefused https://{DOMAIN}/readyz" in done.stderr
    assert '{"status":"ok"}' in done.stdout
    assert "all simulated renewals succeeded" in done.stdout + done.stderr
