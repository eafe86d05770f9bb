"""What docs/deployment.md says of a machine without Docker, run one line after the other."""

import subprocess
import sys

import pytest

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
