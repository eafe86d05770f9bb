"""The program `sensorflow`. Each command imports what it needs, so that `--help` is instant."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sensorflow.errors import DataDirInUse, SettingsError, StorageUnavailable


def main() -> None:
    """Run the program."""
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
