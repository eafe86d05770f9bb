"""System parts that a test needs: skipped with a line that says what to install."""

import os
import shutil

import pytest


def require(program: str, package: str) -> str:
    """The program's path. Without it the test is skipped, or fails where nothing may be missing."""
    # Debian keeps servers where only root looks for programs.
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is not None:
        return path
    message = f"{program} is not installed; on Debian: apt install {package}"
    if os.environ.get("REQUIRE_SYSTEM_TESTS") == "1":
        pytest.fail(message)
    pytest.skip(message)
