"""Options of the whole suite."""

import os
import resource
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

HERE = Path(__file__).parent
KINDS = ("deploy", "system", "contract", "integration", "unit")
"""The folders, those whose tests take longest first."""

TOGETHER = {
    "tests/deploy/test_documented_docker.py": "containers",
    "tests/deploy/test_image.py": "containers",
    "tests/deploy/test_lan.py": "containers",
} | {
    path: path
    for path in (
        "tests/deploy/test_certificates.py",
        "tests/system/test_live_examples.py",
        "tests/system/test_nginx.py",
        "tests/system/test_page.py",
        "tests/system/test_server.py",
        "tests/system/test_watch.py",
        "tests/system/test_export.py",
        "tests/contract/test_grafana.py",
    )
}
"""Files whose tests share what takes long to make: one process runs all of a group, in order."""


class Together(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out test by test, but for those groups. The marks of xdist are none to this pytest."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(nodeid.partition("::")[0], nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    return Together(config, log)


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
