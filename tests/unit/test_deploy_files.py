"""What an operator is given beside the program: right by its own rules, and fitting the program."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sensorflow import __version__
from sensorflow.cli.serve import STOP_TIMEOUT

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
COMPOSE = sorted([*ROOT.glob("docker-compose*.yml"), *ROOT.glob("deploy/compose/*.yml")])


def compose(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def test_the_dockerfile_is_clean() -> None:
    done = subprocess.run(
        [PROGRAMS / "hadolint", "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_image_is_labelled_with_the_version() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r'org\.opencontainers\.image\.version="([^"]+)"', text) == [__version__]


def test_what_is_built_from_is_all_that_goes_to_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    taken = [rule[1:] for rule in rules if rule.startswith("!")]
    assert all((ROOT / name).exists() for name in taken)


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_a_compose_file_follows_the_specification(path: Path) -> None:
    done = subprocess.run(
        [PROGRAMS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


SERVING = [path for path in COMPOSE if "api" in compose(path).get("services", {})]


@pytest.mark.parametrize("path", SERVING, ids=lambda path: path.name)
def test_a_compose_file_gives_the_server_time_to_stop_and_no_rights(path: Path) -> None:
    api = compose(path)["services"]["api"]
    assert int(api["stop_grace_period"].removesuffix("s")) > STOP_TIMEOUT
    assert api["read_only"] is True
    assert api["cap_drop"] == ["ALL"]
    assert api["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in api
    assert "privileged" not in api


@pytest.mark.parametrize("path", SERVING, ids=lambda path: path.name)
def test_a_compose_file_publishes_no_database(path: Path) -> None:
    assert "ports" not in compose(path)["services"]["db"]


def test_the_lan_file_is_one_of_them() -> None:
    assert ROOT / "docker-compose.lan.yml" in SERVING


def test_the_site_file_is_changed_to_the_new_way_of_http2_as_documented() -> None:
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    options = re.search(r"`sudo sed -i (.* )/etc/nginx/sites-available/sensorflow\.conf`", page)
    assert options is not None
    site = (ROOT / "deploy/nginx/sensorflow.conf").read_text(encoding="utf-8")
    changed = subprocess.run(
        ["sed", *shlex.split(options[1])], input=site, capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"^ *listen .*443.*$", changed, re.MULTILINE) == [
        "    listen 443 ssl;",
        "    listen [::]:443 ssl;",
    ]
    assert changed.count("\n    http2 on;\n") == 1
