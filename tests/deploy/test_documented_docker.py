"""What docs/deployment.md says of Docker, run one line after the other on a machine made for it."""

import subprocess
from pathlib import Path

import pytest

from tests.deploy.containers import Engine
from tests.deploy.documented_docker import MACHINE
from tests.deploy.images import Images
from tests.deploy.watchers import make_watchers
from tests.nginx import ROOT
from tests.requirements import require


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
