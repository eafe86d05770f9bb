"""The program `sensorflow`. Each command imports what it needs, so that `--help` is instant."""

import sys

from sensorflow.errors import DataDirInUse, SettingsError, StorageUnavailable


def main() -> None:
    """Run the program; a fault that the user can mend is told in one line, without a trace."""
    from sensorflow.cli.commands import app

    try:
        app()
    except (SettingsError, DataDirInUse, StorageUnavailable) as error:
        print(f"sensorflow: {error}", file=sys.stderr)
        sys.exit(2)
