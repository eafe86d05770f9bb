"""The compose file for a LAN, started as docs/deployment.md says."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.containers import Container, Engine
from tests.deploy.images import ROOT, Images
from tests.deploy.test_image import count, post
from tests.load import drained, loaded, wait_until
from tests.ports import free_port
from tests.servers import INGEST_KEY, READ_KEY

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(1500),
]

FILE = "docker-compose.lan.yml"


@pytest.fixture
def project(engine: Engine, images: Images, tmp_path: Path) -> Iterator[Path]:
    """A folder with the compose file alone, and the images that it names."""
    assert images.server
    assert images.postgres
    shutil.copy(ROOT / FILE, tmp_path)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")  # the file includes what is there
    yield tmp_path
    engine.compose(tmp_path, "-f", FILE, "down", "--volumes")


def up(engine: Engine, project: Path, port: int) -> tuple[Container, Container]:
    """Both services, started."""
    engine.compose(project, "-f", FILE, "up", "--detach", "--no-build")
    found = {}
    for service in ("api", "db"):
        label = f"--filter=label=com.docker.compose.service={service}"
        found[service] = engine.podman("ps", "--quiet", "--no-trunc", label)
    return Container(engine, found["api"], port), Container(engine, found["db"], port)


def test_a_posted_reading_is_in_postgresql_and_stays_there(engine: Engine, project: Path) -> None:
    port = free_port()
    (project / ".env").write_text(
        f"PORT={port}\nWORKERS=2\nAPI_KEY={INGEST_KEY}\nAPI_KEY_WS={READ_KEY}\nHOST=127.0.0.1\n"
    )
    server, database = up(engine, project, port)
    assert post(server.wait_ready(), INGEST_KEY) in (201, 202)
    log = server.log()
    assert "PostgreSQL at db:5432/sensordb" in log
    assert "workers=2" in log
    with loaded(server) as load:
        load.wait_for(201, more=200)
    assert not load.sent.unanswered
    expected = 1 + len(load.sent.acknowledged)
    wait_until(lambda: count(database) == expected and drained(server))
    assert database.is_healthy()

    inspected = json.loads(engine.podman("inspect", server.identifier))[0]
    assert inspected["HostConfig"]["ReadonlyRootfs"]
    assert not inspected["EffectiveCaps"]
    assert "no-new-privileges" in str(inspected["HostConfig"]["SecurityOpt"])
    published = json.loads(engine.podman("inspect", database.identifier))[0]["HostConfig"]
    assert not published["PortBindings"]

    # The data is the volumes', not the containers'.
    engine.compose(project, "-f", FILE, "down")
    server, database = up(engine, project, port)
    server.wait_ready()
    wait_until(lambda: count(database) == expected)
    assert "sf_" not in server.log()
