"""What `serve` prints once it serves: where, and what to do next."""

import os
import shlex
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sensorflow import __version__
from sensorflow.keys.keyring import VARIABLES, Scope
from sensorflow.settings import Settings
from sensorflow.web.edge import INGEST_PATH

PODMAN_MARK: Final = Path("/run/.containerenv")


def greeting(settings: Settings, made: Mapping[Scope, str]) -> str:
    """What to do next. Keys appear only here, and only those made at this start."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    base = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    container = _container()
    lines = [f"SensorFlow Server {__version__}: {base}  ({database_of(settings)})"]
    if container:
        lines.append(f"That is right outside too if port {settings.port} is published as itself.")
    lines.append("")
    if made:
        lines.append("Keys made just now. They are shown this once; keep them:")
        lines += [f"  {VARIABLES[scope]:<11}{key}" for scope, key in made.items()]
        lines.append("")
    if Scope.READ in made:
        lines.append(f"Watch:  {base}/#key={made[Scope.READ]}")
    else:
        lines.append(f"Watch:  {base}/  and sign in with the API_KEY_WS")
    if Scope.INGEST in made:
        body = '{"temperature": 23.5, "humidity": 56.2, "pressure": 1013.2, "sensor_id": "kitchen"}'
        lines += [
            "Send:   " + _curl(f"{base}{INGEST_PATH}", made[Scope.INGEST], body),
            f"Try:    {_program(container, API_KEY=made[Scope.INGEST])} simulate --url {base}",
        ]
    elif settings.api_key is None:
        lines.append(f"Lost the key for devices?  {_program(container)} keys renew API_KEY")
    stop = " stop ".join(container) if container else "Ctrl-C"
    return "\n".join([*lines, "", f"{stop} stops the server."])


def _container() -> tuple[str, str] | None:
    """The engine's program and the container's name there, if this is what a container runs."""
    if os.getpid() != 1:
        return None
    # Unless it was given another, a container's host name is the beginning of its id.
    return "podman" if PODMAN_MARK.exists() else "docker", socket.gethostname()


def database_of(settings: Settings) -> str:
    """Which database, without its user and password."""
    if settings.database_url is None:
        return f"SQLite in {settings.data_dir}"
    before, _, after = settings.database_url.partition("://")[2].rpartition("@")
    if "?" in before:
        # Either the password holds a ? or the query holds an @; part of a secret could follow.
        return "PostgreSQL"
    return f"PostgreSQL at {after.partition('?')[0]}"


def _program(container: tuple[str, str] | None, **variables: str) -> str:
    """How the user can call this program: by its name only where the shell would find it."""
    assignments = [f"{name}={value}" for name, value in variables.items()]
    if container:
        engine, name = container
        return " ".join([engine, "exec", *(f"-e {a}" for a in assignments), name, "sensorflow"])
    found = shutil.which("sensorflow")
    return " ".join([*assignments, "sensorflow" if found else os.path.relpath(sys.argv[0])])


def _curl(url: str, key: str, body: str) -> str:
    words = ["curl", url, "-H", f"X-API-Key: {key}", "-H", "Content-Type: application/json"]
    return shlex.join([*words, "-d", body])
