"""The image that our Dockerfile describes, built and run as option A of the README says."""

import csv
import gzip
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from sensorflow import __version__
from tests import original
from tests.deploy.containers import HARDENED, Container, Engine
from tests.deploy.images import Images
from tests.load import judge, loaded, wait_until
from tests.servers import ADMIN_KEY, INGEST_KEY, PROGRAM, READ_KEY

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(1500),
]

WEATHER = Path(__file__).parents[1] / "data/nyc-weather-2013.csv.gz"
REPLAYED = 5_000
"""Of the file's 23,386 readings; all of them take a minute on a small machine."""

KEYS = {"API_KEY": INGEST_KEY, "API_KEY_WS": READ_KEY, "ADMIN_KEY": ADMIN_KEY}

READING = {"temperature": 25.5, "humidity": 60.2, "pressure": 1012.5, "sensor_id": "sensor-01"}


def post(container: Container, key: str) -> int:
    request = urllib.request.Request(
        f"{container.base}/api/temperature_reading",
        json.dumps(READING).encode(),
        {"X-API-Key": key, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return int(answer.status)


def folder_of(engine: Engine, volume: str) -> Path:
    return Path(engine.podman("volume", "inspect", "--format={{.Mountpoint}}", volume))


def rows(engine: Engine, volume: str, sql: str) -> list[tuple[Any, ...]]:
    """Ask the embedded database itself, through the volume."""
    connection = sqlite3.connect(folder_of(engine, volume) / "sensorflow.db", timeout=10)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@pytest.fixture
def volume(engine: Engine) -> Iterator[str]:
    with engine.volume() as name:
        yield name


def test_the_image_says_how_it_is_to_be_run(engine: Engine, images: Images) -> None:
    inspected = json.loads(engine.podman("image", "inspect", images.server))[0]
    found = inspected["Config"]
    assert found["User"] == "10001:10001"
    assert found["StopSignal"] == "SIGTERM"
    assert found["ExposedPorts"].keys() == {"8000/tcp"}
    assert found["Volumes"].keys() == {"/data"}
    assert (found["Entrypoint"], found["Cmd"]) == (["sensorflow"], ["serve"])
    assert found["Labels"]["org.opencontainers.image.version"] == __version__
    assert inspected["Healthcheck"]["Test"][:2] == ["CMD", "python"]


def test_the_image_holds_nothing_that_only_the_build_needs(engine: Engine, images: Images) -> None:
    script = """set -e
        for tool in cc gcc g++ c++ clang tcc ld as make node npm hatchling; do
            if command -v $tool; then exit 1; fi
        done
        find / -xdev \\( -name .cache -o -name node_modules -o -name .npm -o -name '*.whl' \\
            -o -name tests -path '/app/*/sensorflow*' -o -name .git -o -name .env \\) \\
            -not -path '*/ensurepip/*' 2>/dev/null
        test ! -e /source && test ! -e /wheel
        cd /app/lib/python3*/site-packages/sensorflow && test -s web/page/index.html
    """
    with engine.container(images.server) as container:
        command = ("exec", "--user=0", container.identifier, "/bin/sh", "-c", script)
        assert engine.podman(*command) == ""


def test_it_serves_hardened_and_keeps_everything_over_a_stop_under_load(
    engine: Engine, images: Images, volume: str, tmp_path: Path
) -> None:
    """As nobody, on a read-only root, without any capability."""
    options = (*HARDENED, f"--volume={volume}:/data")
    with engine.container(images.server, *options, **KEYS) as container:
        container.wait_ready()
        assert container.is_healthy()
        users = engine.podman("top", container.identifier, "user", "args").splitlines()[1:]
        assert users
        assert all(line.startswith("10001 ") and "sensorflow" in line for line in users)
        status = container.execute("cat", "/proc/1/status")
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
        replay(container, tmp_path / "weather.csv")
        with loaded(container) as load:
            assert container.stop() == 0
        first = load.sent
    weather = "SELECT count(*) FROM readings WHERE json_extract(extra, '$.serial') IS NULL"
    assert rows(engine, volume, weather) == [(REPLAYED,)]
    judge(serials(engine, volume), first)

    # The data is the volume's, not the container's.
    with engine.container(images.server, *options, **KEYS) as container:
        container.wait_ready()
        sql = "SELECT id, json_extract(extra, '$.serial') FROM readings ORDER BY id DESC LIMIT 1"
        newest = newest_frame(container)
        assert [(newest["id"], newest["serial"])] == rows(engine, volume, sql)
        assert post(container, INGEST_KEY) == 201
        assert container.stop() == 0
    judge(serials(engine, volume), first)


def replay(container: Container, part: Path) -> None:
    """The first of the real weather readings, sent by the real program."""
    with gzip.open(WEATHER, "rt", newline="") as source, part.open("w", newline="") as target:
        lines = csv.reader(source)
        csv.writer(target).writerows(
            line for line, _ in zip(lines, range(REPLAYED + 1), strict=False)
        )
    done = subprocess.run(
        [PROGRAM, "replay", "--url", container.base, "--api-key", INGEST_KEY, part],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"{REPLAYED:,} +201 stored", done.stdout), done.stdout


def serials(engine: Engine, volume: str) -> dict[int, int]:
    """The load's readings that are stored: how many times each."""
    serial = "json_extract(extra, '$.serial')"
    sql = f"SELECT {serial}, count(*) FROM readings WHERE {serial} IS NOT NULL GROUP BY 1"
    return {int(number): times for number, times in rows(engine, volume, sql)}


def newest_frame(container: Container) -> dict[str, object]:
    url = f"ws://127.0.0.1:{container.port}/ws/sensor_updates?api-key={READ_KEY}"
    with connect(url, open_timeout=10) as subscriber:
        frame: dict[str, object] = json.loads(subscriber.recv(timeout=10))
        return frame


def test_the_health_check_follows_the_port_and_tells_a_server_that_is_not_there(
    engine: Engine, images: Images
) -> None:
    with engine.container(images.server, PORT="9123") as container:
        wait_until(container.is_healthy)
        # Frozen: it still listens, and answers nothing.
        main = str(container.state()["Pid"])
        engine.run("kill", "-STOP", main)
        try:
            assert not container.is_healthy()
        finally:
            engine.run("kill", "-CONT", main)
        wait_until(container.is_healthy)


def test_it_can_be_stopped_before_it_serves(engine: Engine, images: Images, volume: str) -> None:
    """It waits for its key file, which is a pipe here."""
    pipe = folder_of(engine, volume) / "keys.json"
    os.mkfifo(pipe)
    for path in (pipe.parent, pipe):
        os.chown(path, 10001, 10001)
    with engine.container(images.server, f"--volume={volume}:/data") as container:
        opened: list[int] = []

        def is_read() -> bool:
            with suppress(OSError):
                opened.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
            return bool(opened)

        wait_until(is_read)
        try:
            assert container.stop() == 128 + signal.SIGTERM
        finally:
            os.close(opened[0])


def test_with_an_empty_env_file_the_keys_are_shown_once(
    engine: Engine, images: Images, volume: str, tmp_path: Path
) -> None:
    (tmp_path / ".env").touch()
    options = (f"--env-file={tmp_path / '.env'}", f"--volume={volume}:/data")
    with engine.container(images.server, *options) as container:
        shown = container.wait_ready().log()
        made = dict(re.findall(r"^ +([A-Z_]+) +(sf_[\w-]{40,})$", shown, re.MULTILINE))
        assert made.keys() == {"API_KEY", "API_KEY_WS", "ADMIN_KEY"}
        assert post(container, made["API_KEY"]) == 201
        # What it says to try is what can be typed outside.
        line = re.search(r"^Try: +(podman exec .*)$", shown, re.MULTILINE)
        assert line is not None, shown
        told = engine.run(*shlex.split(line[1]), "--count=3", "--rate=0")
        assert "3  201 stored" in told.stdout
        stop = re.search(r"^(podman stop \w+) stops the server\.$", shown, re.MULTILINE)
        assert stop is not None, shown
        engine.run(*shlex.split(stop[1]))
        assert not container.state()["Running"]
    with engine.container(images.server, *options) as container:
        assert "sf_" not in container.wait_ready().log()
        assert post(container, made["API_KEY"]) == 201


def test_with_the_originals_env_file_readings_wait_for_a_database_that_comes_later(
    engine: Engine, images: Images, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(original.ENV)
    with engine.network() as network:
        options = (f"--network={network}", f"--env-file={tmp_path / '.env'}")
        with engine.container(images.server, *options, *HARDENED) as container:
            assert post(container.wait_ready(), original.KEY) == 202
            log = container.log()
            assert "PostgreSQL at db:5432/sensordb" in log
            assert "the database is away; readings go to the spool" in log
            assert "the database's host is not known here" in log
            assert re.search("README's example; everybody knows it +variable=API_KEY_WS", log)
            database = engine.container(
                images.postgres,
                f"--network={network}",
                "--network-alias=db",
                POSTGRES_USER="user",
                POSTGRES_PASSWORD="password",
                POSTGRES_DB="sensordb",
            )
            with database as db:
                wait_until(lambda: count(db) == 1)
                assert post(container, original.KEY) == 201
                assert count(db) == 2


def count(database: Container) -> int:
    """Readings in a PostgreSQL in a container; -1 while it has no table for them."""
    words = ("psql", "--host=/tmp", "--username=user", "--dbname=sensordb", "--tuples-only")
    done = database.engine.run(
        *("podman", "exec", database.identifier, *words),
        *("--command", "SELECT count(*) FROM readings"),
        check=False,
    )
    return int(done.stdout) if done.returncode == 0 else -1
