"""The program `sensorflow`. Each command imports what it needs, so that `--help` is instant."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sensorflow.errors import DataDirInUse, SettingsError, StorageUnavailable


def main() -> None:
    """Run the program."""
    if os.getpid() == 1:
        # Of a container's first process the kernel drops each signal that it does not handle, so
        # a stop before the server handles it would be lost.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    from sensorflow.cli.commands import app

    with faults_in_one_line():
        app()


@contextmanager
def faults_in_one_line() -> Iterator[None]:
    """Tell a fault that the user can mend in one line, without a trace, and exit with 2."""
    try:
        yield
    except (SettingsError, DataDirInUse, StorageUnavailable) as error:
        print(f"sensorflow: {error}", file=sys.stderr)
        sys.exit(2)
