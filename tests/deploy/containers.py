"""Containers without a daemon: Debian's buildah and podman, with a storage of their own."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ports import free_port
from tests.requirements import require

PATIENCE = 120.0

PARTS = {
    "buildah": "buildah",
    "podman": "podman",
    "runc": "runc",
    "iptables": "iptables",
    "/usr/lib/podman/netavark": "netavark",
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
    "mmdebstrap": "mmdebstrap",
}

CONTAINERS = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{folder}/run/libpod"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""

STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run/storage"
"""

REGISTRIES = """
unqualified-search-registries = []
"""

HARDENED = (
    "--read-only",
    "--read-only-tmpfs=false",  # as Docker: not even /tmp
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
)


class Engine:
    """podman and buildah in a folder of their own: images, containers, volumes, networks."""

    def __init__(self, folder: Path) -> None:
        for program, package in PARTS.items():
            require(program, package)
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "BUILDAH_ISOLATION": "chroot",
            "BUILDAH_FORMAT": "docker",
        }
        for variable, name, text in (
            ("CONTAINERS_CONF", "containers.conf", CONTAINERS),
            ("CONTAINERS_STORAGE_CONF", "storage.conf", STORAGE),
            ("CONTAINERS_REGISTRIES_CONF", "registries.conf", REGISTRIES),
        ):
            (folder / name).write_text(text.format(folder=folder))
            self.environment[variable] = str(folder / name)

    def run(
        self, *words: str | Path, check: bool = True, cwd: Path | None = None, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the engine; what it wrote, as text."""
        done = subprocess.run(
            words, env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=timeout
        )
        assert not check or done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done

    def podman(self, *words: str | Path) -> str:
        return self.run("podman", *words).stdout.strip()

    def build(self, folder: Path, tag: str, **arguments: str) -> None:
        """What `docker build -t` does, with nothing fetched but by what the build runs."""
        options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        command = ["buildah", "build", "--pull-never", "--layers", "--format", "docker", *options]
        self.run(*command, "--tag", tag, folder, timeout=1200)

    def compose(self, folder: Path, *words: str) -> str:
        """`podman-compose` in a folder, which stands for `docker compose`."""
        program = Path(sys.executable).parent / "podman-compose"
        return self.run(program, *words, cwd=folder).stdout

    @contextmanager
    def network(self) -> Iterator[str]:
        name = f"network-{time.monotonic_ns()}"
        self.podman("network", "create", name)
        try:
            yield name
        finally:
            self.podman("network", "rm", "--force", name)

    @contextmanager
    def volume(self) -> Iterator[str]:
        name = f"volume-{time.monotonic_ns()}"
        self.podman("volume", "create", name)
        try:
            yield name
        finally:
            self.podman("volume", "rm", name)

    @contextmanager
    def container(self, image: str, *options: str, **variables: str) -> Iterator["Container"]:
        """What `docker run -d` does; removed in the end, with volumes that have no name."""
        port = free_port()
        given = [f"--env={name}={value}" for name, value in variables.items()]
        identifier = self.podman(
            *("run", "--detach", f"--publish=127.0.0.1:{port}:8000", *given, *options, image)
        )
        try:
            yield Container(self, identifier, port)
        finally:
            self.podman("rm", "--force", "--volumes", "--time=1", identifier)

    def close(self) -> None:
        """End and remove everything."""
        self.run("podman", "rm", "--all", "--force", "--time=1", check=False)
        self.run("podman", "volume", "prune", "--force", check=False)
        self.run("podman", "network", "prune", "--force", check=False)
        self.run("umount", self.folder / "storage/overlay", check=False)


class Container:
    """A container that runs, or has run; its port 8000 is `port` of this machine."""

    def __init__(self, engine: Engine, identifier: str, port: int) -> None:
        self.engine = engine
        self.identifier = identifier
        self.port = port
        self.base = f"http://127.0.0.1:{port}"

    def state(self) -> Mapping[str, Any]:
        found = json.loads(self.engine.podman("inspect", self.identifier))
        state: Mapping[str, Any] = found[0]["State"]
        return state

    def log(self) -> str:
        """Standard output and standard error, as `docker logs` shows them."""
        done = self.engine.run("podman", "logs", self.identifier)
        return done.stdout + done.stderr

    def execute(self, *words: str) -> str:
        return self.engine.podman("exec", self.identifier, *words)

    def is_healthy(self) -> bool:
        """Run the image's HEALTHCHECK, as Docker does by its clock."""
        done = self.engine.run("podman", "healthcheck", "run", self.identifier, check=False)
        return done.returncode == 0

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def wait_ready(self) -> "Container":
        deadline = time.monotonic() + PATIENCE
        while not self.is_ready():
            assert time.monotonic() < deadline, self.log()
            assert self.state()["Running"], self.log()
            time.sleep(0.05)
        return self

    def stop(self) -> int:
        """What `docker stop` does, with the patience that the docs ask for; the exit code."""
        self.engine.podman("stop", "--time=35", self.identifier)
        return int(self.state()["ExitCode"])
