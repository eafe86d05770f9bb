"""Options of the whole suite."""

import os
import resource
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KINDS = ("deploy", "system", "contract", "integration", "unit")
"""The folders, those whose tests take longest first."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="fault and fuzz tests in full counts")
    parser.addoption("--deploy", action="store_true", help="tests in containers and with ACME")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips = {
        "long": pytest.mark.skip(reason="full counts; run `make test-long`"),
        "deploy": pytest.mark.skip(reason="needs what CI installs; run `.ci/run`"),
    }
    for item in items:
        for name, skip in skips.items():
            if item.get_closest_marker(name) and not config.getoption(f"--{name}"):
                item.add_marker(skip)
    # The long ones first, so that no process is left with one when the others have ended.
    items.sort(key=lambda item: KINDS.index(item.path.relative_to(HERE).parts[0]))


def pytest_configure(config: pytest.Config) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if config.getoption("--long"):
        os.environ["ALONE"] = "1"
    # The suite must not depend on who runs it.
    for name in (
        "API_KEY",
        "API_KEY_WS",
        "ADMIN_KEY",
        "DATABASE_URL",
        "DATA_DIR",
        "HOST",
        "PORT",
        "WORKERS",
        "TRUSTED_PROXIES",
        "TIMEZONE",
        "INFLUX_SENSOR_TAG",
        "MAX_WS_CONNECTIONS_PER_KEY",
        "LOG_LEVEL",
        "LOG_FORMAT",
    ):
        os.environ.pop(name, None)
